"""Calls between processes: NATS micro services with JSON bodies (ADR-32), and those who call them.

A request is an object of named arguments, a reply an object.  A refusal has the headers of the micro
convention and a body ``{"code", "message", "detail"}``.  Every request may carry ``meta``: who wants it, the
command's id, and what it belongs to.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Any, Final, NamedTuple, TypeVar

import msgspec
import nats.errors
import nats.micro
import structlog
from nats.aio.client import Client
from nats.micro.request import Request as Incoming

from roomledger.domain.errors import Code, Refusal
from roomledger.runtime.commands import Meta
from roomledger_events.identifiers import new_id

ERROR: Final = "Nats-Service-Error"
ERROR_CODE: Final = "Nats-Service-Error-Code"
MAX_REQUEST_BYTES: Final = 256 * 1024
TIME_LIMIT_S: Final = 5.0
_RECONNECT_S: Final = 1.0
_ATTEMPT_S: Final = 2.0
_Short = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
_AGAIN: Final = frozenset({Code.NOT_READY})

Reply = TypeVar("Reply")
log = structlog.get_logger(__name__)


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


class _Error(msgspec.Struct, kw_only=True):
    code: str
    message: str
    detail: dict[str, Any] = {}


class Method(NamedTuple):
    """One method of a service.

    Attributes:
        request: What its body has to look like.
        answer: Does it; raises `Refusal` where it cannot.
    """

    request: type[Request]
    answer: Callable[[Any, Meta], Awaitable[Any]]


class Service:
    """Answers the requests of one micro service, any number of them side by side."""

    def __init__(self, service: "nats.micro.service.Service", tasks: set[asyncio.Task[None]]) -> None:
        self._service = service
        self._tasks = tasks

    async def stop(self) -> None:
        """Take no more requests, and answer those that are being worked on."""
        await self._service.stop()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=TIME_LIMIT_S)
        for task in self._tasks:
            task.cancel()


async def serve(
    broker: Client, *, name: str, version: str, prefix: str, methods: Mapping[str, Method]
) -> Service:
    """Answer requests on ``<prefix>.<method>``, as the micro service `name`."""
    tasks: set[asyncio.Task[None]] = set()
    service = await nats.micro.add_service(broker, name=name, version=version)
    group = service.add_group(name=prefix)
    for method_name, method in methods.items():
        await group.add_endpoint(name=method_name, handler=_endpoint(method_name, method, tasks))
    return Service(service, tasks)


def _endpoint(
    name: str, method: Method, tasks: set[asyncio.Task[None]]
) -> Callable[[Incoming], Awaitable[None]]:
    decoder = msgspec.json.Decoder(method.request)
    anonymous = Meta(actor="nats")

    async def work(incoming: Incoming) -> None:
        try:
            request = _decoded(decoder, incoming.data)
            meta = anonymous if request.meta is None else _meta(request.meta)
            body = msgspec.json.encode(await method.answer(request, meta))
        except Refusal as refusal:
            await _refuse(incoming, refusal)
        except Exception:
            log.exception("a request failed", method=name)
            await _refuse(
                incoming, Refusal(Code.INTERNAL, "something went wrong here; the log lines say what")
            )
        else:
            await incoming.respond(body)

    async def on_request(incoming: Incoming) -> None:
        task = asyncio.create_task(work(incoming))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    return on_request


def _decoded(decoder: "msgspec.json.Decoder[Request]", body: bytes) -> Request:
    if len(body) > MAX_REQUEST_BYTES:
        raise Refusal(Code.INVALID_ARGUMENT, f"{len(body)} bytes: a request has at most {MAX_REQUEST_BYTES}")
    try:
        return decoder.decode(body or b"{}")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refusal(Code.INVALID_ARGUMENT, str(error)) from error


def _meta(meta: RequestMeta) -> Meta:
    return Meta(meta.actor or "nats", meta.command, meta.correlation, meta.causation, meta.traceparent)


async def _refuse(incoming: Incoming, refusal: Refusal) -> None:
    detail = dict(refusal.detail)
    if refusal.retry_after_ms is not None:
        detail["retry_after_ms"] = refusal.retry_after_ms
    error = _Error(code=refusal.code, message=refusal.message, detail=detail)
    headline = " ".join(refusal.message.split())[:200]
    await incoming.respond(msgspec.json.encode(error), headers={ERROR: headline, ERROR_CODE: refusal.code})


class Caller:
    """Calls services; a request that meets nobody is sent again until its time is over.

    Args:
        broker: The connection.
        actor: On whose behalf, where a call does not say it.
        time_limit: Seconds that a call may take.
    """

    def __init__(self, broker: Client, *, actor: str, time_limit: float = TIME_LIMIT_S) -> None:
        self._broker = broker
        self._actor = actor
        self._time_limit = time_limit

    async def call(
        self,
        subject: str,
        request: Request,
        reply: type[Reply],
        *,
        time_limit: float | None = None,
        absent: Code | None = None,
    ) -> Reply:
        """Send a request and return its reply.

        A request without a command id gets one, so that sending it again has no second effect.

        Args:
            subject: Where the service listens.
            request: What is asked.
            reply: What its answer has to look like.
            time_limit: Seconds that it may take in all.
            absent: The code of the refusal where nobody listens; None to wait for somebody who does.

        Raises:
            Refusal: The service refused; or nobody answered in time (``not_ready``), or the broker is out of
                reach (``log_unavailable``).
        """
        limit = self._time_limit if time_limit is None else time_limit
        loop = asyncio.get_running_loop()
        end = loop.time() + limit
        body = msgspec.json.encode(self._complete(request))
        pause = 0.01
        last: Refusal | None = None
        while (left := end - loop.time()) > 0 or last is None:
            if not self._broker.is_connected and not await self._connected(min(_RECONNECT_S, left)):
                raise Refusal(Code.LOG_UNAVAILABLE, "the broker is out of reach")
            try:
                message = await self._broker.request(subject, body, timeout=max(0.01, min(_ATTEMPT_S, left)))
            except nats.errors.NoRespondersError:
                if absent is not None:
                    raise Refusal(absent, f"nobody answers {subject}") from None
                last = Refusal(Code.NOT_READY, f"nobody answers {subject} at the moment")
            except (nats.errors.TimeoutError, nats.errors.Error) as error:
                last = Refusal(Code.NOT_READY, f"no answer from {subject} in time ({type(error).__name__})")
            else:
                if not message.headers or ERROR_CODE not in message.headers:
                    return msgspec.json.decode(message.data, type=reply)
                last = _refusal(message.data)
                if last.code not in _AGAIN:
                    raise last
            await asyncio.sleep(min(pause, max(0.0, end - loop.time())))
            pause = min(pause * 2, 0.25)
        raise last

    def _complete(self, request: Request) -> Request:
        meta = request.meta or RequestMeta()
        if meta.command is None or meta.actor is None:
            meta = msgspec.structs.replace(
                meta, command=meta.command or new_id(), actor=meta.actor or self._actor
            )
            return msgspec.structs.replace(request, meta=meta)
        return request

    async def _connected(self, seconds: float) -> bool:
        end = asyncio.get_running_loop().time() + seconds
        while not self._broker.is_connected:
            if self._broker.is_closed or asyncio.get_running_loop().time() >= end:
                return False
            await asyncio.sleep(0.02)
        return True


def _refusal(body: bytes) -> Refusal:
    error = msgspec.json.decode(body, type=_Error)
    error.detail.pop("retry_after_ms", None)
    return Refusal(Code(error.code), error.message, **error.detail)
