"""Answers the requests of a NATS micro service: what it takes in, whom it calls, what it sends back."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from time import perf_counter_ns
from typing import Any, Final

import msgspec
import structlog
from nats.aio.client import Client

from roomledger.domain.errors import Code, Refusal
from roomledger.event_store.line import LineBroken
from roomledger.runtime import micro
from roomledger.runtime.commands import Meta
from roomledger.runtime.method import ERROR, ERROR_CODE, MAX_REQUEST_BYTES, ErrorBody, Method, RequestMeta
from roomledger.runtime.pending import Pending
from roomledger.runtime.reception import ByBroker, Listened, reception
from roomledger_events.identifiers import new_secret_id

STOP_S: Final = 5.0
"""How long a service that stops waits for the answers to what it has begun."""

MOST_AT_ONCE: Final = 64 * 1024 * 1024
"""The most that requests may weigh which are not answered yet; further ones are refused as busy."""

_WEIGHT: Final = 1024
"""What a request weighs beside its bytes."""
_HEADERS_BYTES: Final = 1024
_SHOWN: Final = 64
_ANONYMOUS: Final = Meta(actor="nats")
_encode: Final = msgspec.json.Encoder().encode

log = structlog.get_logger(__name__)


class Service:
    """One micro service on one connection; made by `serve`."""

    def __init__(
        self, broker: Client, *, name: str, version: str, prefix: str, methods: Mapping[str, Method]
    ) -> None:
        self.weight = 0
        self.tasks: set[asyncio.Task[Any]] = set()
        self._broker = broker
        self._prefix = prefix.encode() + b"."
        self._endpoints = {
            f"{prefix}.{each}".encode(): _Endpoint(self, each, f"{prefix}.{each}", method)
            for each, method in methods.items()
        }
        self._identity = micro.Identity(name, new_secret_id(), version, datetime.now(UTC))
        questions = dict(micro.subjects(self._identity))
        self._questions = {subject.encode(): verb for subject, verb in questions.items()}
        self._listened = [Listened(f"{prefix}.*", micro.QUEUE), *map(Listened, questions)]
        self._reception = reception(broker, self._listened, self._receive)
        self._all_answered = asyncio.Event()

    async def start(self) -> None:
        """Return when requests are taken in.

        Raises:
            nats.errors.Error: The connection is closed.
        """
        try:
            await self._reception.open()
        except LineBroken as error:
            log.warning("requests come in by the slower way", why=str(error))
            self._reception = ByBroker(self._broker, self._listened, self._receive)
            await self._reception.open()

    async def stop(self) -> None:
        """Take no more requests, and answer those that are being worked on."""
        await self._reception.listen_no_more()
        try:
            async with asyncio.timeout(STOP_S):
                while self.weight:
                    self._all_answered.clear()
                    await self._all_answered.wait()
        except TimeoutError:
            log.warning("requests are left without an answer", service=self._identity.name)
        for task in self.tasks:
            task.cancel()
        await self._reception.close()

    def take_off(self, weight: int) -> None:
        """Take note that a request is answered."""
        self.weight -= weight
        if not self.weight:
            self._all_answered.set()

    @property
    def max_reply(self) -> int:
        """The largest body that the server takes, in bytes."""
        return self._broker.max_payload - _HEADERS_BYTES

    def send(self, subject: bytes, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        """Send a reply to whoever waits for one."""
        if subject:
            self._reception.send(subject, body, headers)

    def _receive(self, subject: bytes, reply: bytes, _header: bytes, body: bytes) -> None:
        endpoint = self._endpoints.get(subject)
        if endpoint is not None:
            endpoint.take(reply, body)
        elif subject in self._questions:
            self.send(reply, micro.tell(self._questions[subject], self._identity, self._endpoints.values()))
        else:
            name = subject.removeprefix(self._prefix)[:_SHOWN].decode(errors="replace")
            known = ", ".join(each.name for each in self._endpoints.values())
            refusal = Refusal(Code.INVALID_ARGUMENT, f"there is no method {name!r}; there are {known}")
            self.send(reply, *_told(refusal))


async def serve(
    broker: Client, *, name: str, version: str, prefix: str, methods: Mapping[str, Method]
) -> Service:
    """Answer requests on ``<prefix>.<method>``, as the micro service `name`.

    Any number of requests are worked on side by side. One for a method that there is not is refused.

    Raises:
        nats.errors.Error: The connection is closed.
    """
    service = Service(broker, name=name, version=version, prefix=prefix, methods=methods)
    await service.start()
    return service


class _Endpoint(micro.Endpoint):
    """Takes the requests for one method, and sees each to its answer."""

    def __init__(self, service: Service, name: str, subject: str, method: Method) -> None:
        super().__init__(name, subject)
        self._service = service
        self._decode = msgspec.json.Decoder(method.request).decode
        self._answer = method.answer
        self._reply = method.reply

    def take(self, reply: bytes, body: bytes) -> None:
        """Work on a request; its answer goes to the reply subject, where there is one."""
        begun = perf_counter_ns()
        self.requests += 1
        weight = _WEIGHT + len(body)
        try:
            future = self._begin(body, weight)
        except Exception as error:  # noqa: BLE001  - whatever it is, the caller is told
            self._fail(reply, begun, error)
        else:
            self._service.weight += weight
            future.add_done_callback(partial(self._finish, reply, begun, weight))

    def _begin(self, body: bytes, weight: int) -> "Pending[Any] | asyncio.Future[Any]":
        if self._service.weight + weight > MOST_AT_ONCE:
            raise Refusal(Code.BUSY, "too many requests are being worked on")
        if len(body) > MAX_REQUEST_BYTES:
            raise Refusal(
                Code.INVALID_ARGUMENT, f"{len(body)} bytes: a request has at most {MAX_REQUEST_BYTES}"
            )
        try:
            request = self._decode(body or b"{}")
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise Refusal(Code.INVALID_ARGUMENT, str(error)) from error
        answer = self._answer(request, _ANONYMOUS if request.meta is None else _meta(request.meta))
        if isinstance(answer, Pending | asyncio.Future):
            return answer
        task = asyncio.ensure_future(answer)
        self._service.tasks.add(task)
        task.add_done_callback(self._service.tasks.discard)
        return task

    def _finish(
        self, reply: bytes, begun: int, weight: int, future: "Pending[Any] | asyncio.Future[Any]"
    ) -> None:
        if not future.cancelled():
            error = future.exception()
            if error is not None:
                self._fail(reply, begun, error)
            else:
                try:
                    self._send(reply, future.result())
                    self.nanoseconds += perf_counter_ns() - begun
                except Exception as fault:  # noqa: BLE001  - as above
                    self._fail(reply, begun, fault)
        self._service.take_off(weight)

    def _send(self, reply: bytes, value: object) -> None:
        body = _encode(value if self._reply is None else self._reply(value))
        if len(body) > self._service.max_reply:
            raise Refusal(Code.INTERNAL, f"the server does not take a reply of {len(body)} bytes")
        self._service.send(reply, body)

    def _fail(self, reply: bytes, begun: int, error: BaseException) -> None:
        refusal = error
        if not isinstance(refusal, Refusal):
            log.error("a request failed", method=self.name, exc_info=error)
            refusal = Refusal(Code.INTERNAL, "something went wrong here; the log lines say what")
        body, headers = _told(refusal)
        if len(body) > self._service.max_reply:
            body, headers = _told(Refusal(refusal.code, "there is more to say than the server takes"))
        self.errors += 1
        self.last_error = f"{headers[ERROR_CODE]}:{headers[ERROR]}"
        self._service.send(reply, body, headers)
        self.nanoseconds += perf_counter_ns() - begun


def _told(refusal: Refusal) -> tuple[bytes, dict[str, str]]:
    """Return the body and the headers of a refusal."""
    headline = " ".join(refusal.message.split())[:200]
    return _encode(ErrorBody.of(refusal)), {ERROR: headline, ERROR_CODE: refusal.code}


def _meta(meta: RequestMeta) -> Meta:
    return Meta(meta.actor or "nats", meta.command, meta.correlation, meta.causation, meta.traceparent)
