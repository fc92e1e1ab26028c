"""What the doorway has found out about a request, for the paths that answer it."""

import hashlib
import re
from typing import Annotated, Final, NamedTuple

from fastapi import Depends, Request

from roomledger.runtime.calls import RequestMeta
from roomledger.runtime.commands import Meta
from roomledger_events.identifiers import new_id

TOTAL: Final = "Total-Count"
LINK: Final = "Link"
_traceparent: Final = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}").fullmatch


class Once(NamedTuple):
    """A request that may be sent again, and is to have one effect.

    Attributes:
        seed: What all ids are made from that the request leads to, the same each time.
        again: Whether it may have been carried out before.
    """

    seed: str
    again: bool

    def id(self, of: str) -> str:
        """Return the id of one thing that the request makes."""
        return hashlib.sha256(f"{of}:{self.seed}".encode()).hexdigest()[:32]


def service_of(request: Request) -> str:
    """Return the service that a request comes from."""
    return str(request.state.service)


def once_of(request: Request) -> Once | None:
    """Return what goes with a request that has an ``Idempotency-Key``."""
    once: Once | None = getattr(request.state, "once", None)
    return once


def traceparent_of(request: Request) -> str | None:
    """Return the W3C trace context of a request, if it has one."""
    given = request.headers.get("traceparent", "")
    return given if _traceparent(given) else None


def meta_of(request: Request) -> Meta:
    """Return what goes with a command of a request."""
    once = once_of(request)
    command = new_id() if once is None else once.id("command")
    return Meta(f"service:{service_of(request)}", command=command, traceparent=traceparent_of(request))


def sent_meta_of(request: Request) -> RequestMeta:
    """Return what goes with a command of a request that is sent on to another process."""
    meta = meta_of(request)
    return RequestMeta(command=meta.command, actor=meta.actor, traceparent=meta.traceparent)


# Coroutines, though they wait for nothing: FastAPI runs plain functions in threads.
async def _service(request: Request) -> str:
    return service_of(request)


async def _meta(request: Request) -> Meta:
    return meta_of(request)


Caller = Annotated[str, Depends(_service)]
"""The service that a request comes from."""
Wanted = Annotated[Meta, Depends(_meta)]
"""What goes with a command of a request."""


def pages(request: Request, *, page: int, per_page: int, count: int) -> dict[str, str]:
    """Return the headers that say how long a list is, and where its other pages are (RFC 8288)."""
    last = max(1, -(-count // per_page))
    others = {"first": 1, "prev": page - 1, "next": page + 1, "last": last}
    links = [
        f'<{_page(request, number, per_page)}>; rel="{name}"'
        for name, number in others.items()
        if 1 <= number <= last and number != page
    ]
    headers = {TOTAL: str(count)}
    return headers | {LINK: ", ".join(links)} if links else headers


def _page(request: Request, page: int, per_page: int) -> str:
    url = request.url.include_query_params(page=page, per_page=per_page)
    return f"{url.path}?{url.query}"
