"""What every request passes on its way in, and every answer on its way out.

In: who is it, and is the body of a size that is read at all. Out: the sequence that the answer reflects, and
a problem instead of an error that nobody took care of. It stands outside of the application, so that no body
is read before its sender is known, and so that this holds for paths that do not exist as well.
"""

import asyncio
from collections.abc import Callable
from http import HTTPStatus
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from roomledger.processes.management_api.authentication import Authentication
from roomledger.processes.management_api.errors import Problem
from roomledger.processes.management_api.problems import answer, problem_of

SEQUENCE: Final = "Ledger-Sequence"
GUARDED: Final = ("/v1/",)
"""Paths that begin like this are for services only."""
BODY_S: Final = 10.0
"""How long a body may take to arrive."""
DRAINED_BYTES: Final = 1024 * 1024
"""What is read of a body that is too large, so that its sender gets to reading the answer."""


class Doorway:
    """The application's outside.

    Args:
        app: The application.
        authentication: Who may come in.
        sequence: The sequence that an answer reflects which does not say so itself.
        max_bytes: The largest body.
    """

    def __init__(
        self, app: ASGIApp, *, authentication: Authentication, sequence: Callable[[], int], max_bytes: int
    ) -> None:
        self._app = app
        self._authentication = authentication
        self._sequence = sequence
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request in and its answer out (ASGI)."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        state = scope.setdefault("state", {})
        begun = False

        async def send_on(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                sequence = state.get("sequence")
                headers = MutableHeaders(scope=message)
                headers[SEQUENCE] = str(self._sequence() if sequence is None else sequence)
            await send(message)

        try:
            if scope["path"].startswith(GUARDED):
                header = Headers(scope=scope).get("authorization")
                state["service"] = (await self._authentication.service(header)).id
            await self._app(scope, await self._read(scope, receive), send_on)
        except Exception as error:  # noqa: BLE001  - the last one who can answer at all; it is logged
            if begun:  # it was answered and logged by the application already
                return
            await answer(problem_of(error))(scope, receive, send_on)

    async def _read(self, scope: Scope, receive: Receive) -> Receive:
        """Read the body, and return what hands it on.

        Raises:
            Problem: It is too large (413), does not arrive (408), or ends early (400).
        """
        declared = Headers(scope=scope).get("content-length", "0")
        too_large = not declared.isdecimal() or int(declared) > self._max_bytes
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
