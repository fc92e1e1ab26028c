"""What a method of a service is, and what requests, replies and refusals look like on the wire.

A request is an object of named arguments, a reply an object.  A refusal has the headers of the micro
convention (ADR-32) and a body ``{"code", "message", "detail"}``.  Every request may carry ``meta``: who wants
it, the command's id, and what it belongs to.
"""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Final, NamedTuple

import msgspec

from roomledger.domain.errors import Refusal
from roomledger.runtime.commands import Meta

ERROR: Final = "Nats-Service-Error"
ERROR_CODE: Final = "Nats-Service-Error-Code"
MAX_REQUEST_BYTES: Final = 256 * 1024
_Short = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]


class RequestMeta(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a request says about itself; all of it may be left out."""

    command: _Short | None = None
    correlation: _Short | None = None
    causation: _Short | None = None
    actor: _Short | None = None
    traceparent: _Short | None = None


class Request(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What all requests have in common."""

    meta: RequestMeta | None = None


class Nothing(msgspec.Struct, kw_only=True, frozen=True):
    """A reply that says no more than that it is done."""


class ErrorBody(msgspec.Struct, kw_only=True):
    """The body of a refusal."""

    code: str
    message: str
    detail: dict[str, Any] = {}

    @classmethod
    def of(cls, refusal: Refusal) -> "ErrorBody":
        """Return what is told of a refusal, and when to ask again."""
        detail = dict(refusal.detail)
        if refusal.retry_after_ms is not None:
            detail["retry_after_ms"] = refusal.retry_after_ms
        return cls(code=refusal.code, message=refusal.message, detail=detail)


class Method(NamedTuple):
    """One method of a service.

    Attributes:
        request: What its body has to look like.
        answer: Does it; raises `Refusal` where it cannot. It is called in the order of the requests and must
            not block. A coroutine goes on in a task of its own; a `Pending` needs none, which is what a
            method returns that is called very often.
        reply: Makes the reply of what was awaited, where that is not the reply itself.
    """

    request: type[Request]
    answer: Callable[[Any, Meta], Awaitable[Any]]
    reply: Callable[[Any], Any] | None = None
