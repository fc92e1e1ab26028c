"""What every request passes on its way in, and every answer on its way out.

In: who is it, is it one too many, what must be known before it is answered, and is the body of a size that is
read at all. Out: the sequence that the answer reflects, and a problem instead of an error that nobody took
care of. It stands outside of the application, so that no body is read before its sender is known, and so that
this holds for paths that do not exist as well.
"""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, MutableMapping
from http import HTTPStatus
from typing import Any, Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from roomledger.domain.errors import Code
from roomledger.processes.management_api.authentication import Authentication
from roomledger.processes.management_api.errors import Problem
from roomledger.processes.management_api.metrics import NO_PATH, Metrics
from roomledger.processes.management_api.problems import answer, problem_of
from roomledger.processes.management_api.rates import Rates

SEQUENCE: Final = "Ledger-Sequence"
MAX_SEQUENCE: Final = 2**63 - 1
GUARDED: Final = re.compile(r"/(v1|services)(/|\Z)").match
"""Paths like these are for services only."""
BODY_S: Final = 10.0
"""How long a body may take to arrive."""
DRAINED_BYTES: Final = 1024 * 1024
"""What is read of a body that is too large, so that its sender gets to reading the answer."""
METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_digits: Final = re.compile(r"[0-9]{1,19}\Z").match
_TYPE: Final = b"content-type"
_JSON: Final = b"application/json"
_SEQUENCE: Final = SEQUENCE.lower().encode()


class Doorway:
    """The application's outside.

    Args:
        app: The application.
        authentication: Who may come in.
        rates: How often.
        metrics: Counts them.
        known: The sequence of the log that an answer reflects which does not say so itself.
        know: Waits until what is known reflects a sequence.
        max_bytes: The largest body.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        authentication: Authentication,
        rates: Rates,
        metrics: Metrics,
        known: Callable[[], int],
        know: Callable[[int], Awaitable[None]],
        max_bytes: int,
    ) -> None:
        self._app = app
        self._authentication = authentication
        self._rates = rates
        self._metrics = metrics
        self._known = known
        self._know = know
        self._max_bytes = max_bytes
        self._written: dict[str, int] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request in and its answer out (ASGI)."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        state = scope.setdefault("state", {})
        begin = time.perf_counter()
        status = 0

        async def send_on(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (_SEQUENCE, b"%d" % self._reflected(scope))]
            await send(message)

        self._metrics.begin()
        try:
            headers = dict(scope["headers"])
            if GUARDED(scope["path"]):
                await self._admit(scope["method"], headers, state)
                _take_for_json(scope, headers)
            receive = await self._read(headers, receive)
            await self._app(scope, receive, send_on)
        except Exception as error:  # noqa: BLE001  - the last one who can answer at all; it is logged
            # Where an answer has begun, the application has answered and logged the error already.
            if not status:
                await answer(problem_of(error))(scope, receive, send_on)
        finally:
            route = scope.get("route")
            method = scope["method"] if scope["method"] in METHODS else "OTHER"
            path = state.get("path") or (NO_PATH if route is None else route.path)
            self._metrics.end(method, path, status, time.perf_counter() - begin)

    async def _admit(self, method: str, headers: dict[bytes, bytes], state: MutableMapping[str, Any]) -> None:
        """Find out who it is, and know what has to be known for the answer.

        Raises:
            Problem: Nobody is proven (401), it is one too many (429), or no such sequence is there (400).
            Refusal: What has to be known is not known in time.
            EventStoreError: The log, or who the services are, cannot be read.
        """
        header = headers.get(b"authorization")
        service = (
            await self._authentication.service(None if header is None else header.decode("latin-1"))
        ).id
        state["service"] = service
        await self._rates.count(service)
        given = headers.get(_SEQUENCE)
        wanted = 0 if given is None else _sequence(given)
        if method == "GET":
            # What a service has changed by this process it sees by this process.
            wanted = max(wanted, self._written.get(service, 0))
        if wanted > self._known():
            await self._know(wanted)

    def _reflected(self, scope: Scope) -> int:
        """Return the sequence that the answer reflects."""
        sequence: int | None = scope["state"].get("sequence")
        if sequence is None:
            return self._known()
        service = scope["state"].get("service")
        if scope["method"] != "GET" and service is not None:
            self._written[service] = max(sequence, self._written.get(service, 0))
        return sequence

    async def _read(self, headers: dict[bytes, bytes], receive: Receive) -> Receive:
        """Read the body, and return what hands it on.

        Raises:
            Problem: It is too large (413), does not arrive (408), or ends early (400).
        """
        declared = headers.get(b"content-length", b"0")
        too_large = not declared.isdigit() or int(declared) > self._max_bytes
        chunks: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(BODY_S):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise Problem(HTTPStatus.BAD_REQUEST, "malformed", "the body ended early")
                    size += len(message.get("body", b""))
                    too_large = too_large or size > self._max_bytes
                    if not too_large:
                        chunks.append(message.get("body", b""))
                    if not message.get("more_body", False) or size > self._max_bytes + DRAINED_BYTES:
                        break
        except TimeoutError:
            raise Problem(
                HTTPStatus.REQUEST_TIMEOUT,
                "request_timeout",
                f"the body did not arrive within {BODY_S:.0f} s",
                headers={"Connection": "close"},
            ) from None
        if too_large:
            raise Problem(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                "too_large",
                f"a body has at most {self._max_bytes} bytes",
                headers={"Connection": "close"},
            )
        body: Message | None = {"type": "http.request", "body": b"".join(chunks), "more_body": False}

        async def receive_read() -> Message:
            nonlocal body
            message, body = body, None
            return await receive() if message is None else message

        return receive_read


def _take_for_json(scope: Scope, headers: dict[bytes, bytes]) -> None:
    """Take a body for JSON, whatever its sender calls it: nothing else is understood here."""
    if headers.get(_TYPE, _JSON) != _JSON:
        scope["headers"] = [*(header for header in scope["headers"] if header[0] != _TYPE), (_TYPE, _JSON)]


def _sequence(given: bytes) -> int:
    sequence = int(given) if _digits(given.decode("latin-1")) else MAX_SEQUENCE + 1
    if sequence > MAX_SEQUENCE:
        raise Problem(HTTPStatus.BAD_REQUEST, Code.INVALID_ARGUMENT, f"{SEQUENCE}: a sequence of the log")
    return sequence
