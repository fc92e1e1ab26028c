"""One native client's connection: frames come and go, and its seat does the rest."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final

import msgspec
from websockets.asyncio.server import ServerConnection, broadcast
from websockets.exceptions import ConnectionClosed
from websockets.protocol import OPEN

from roomledger.processes.portal import jsonrpc, native
from roomledger.processes.portal.errors import Fault
from roomledger.processes.portal.lobby import Lobby
from roomledger.processes.portal.rates import Allowance
from roomledger.processes.portal.recollection import Told
from roomledger.processes.portal.seat import Seat
from roomledger.processes.portal.session import State
from roomledger.processes.portal.session_effects import CloseCode, Problem, Value

CLOSE_LIMIT_S: Final = 3.0
"""How long a client has to take note that its connection is closed."""
BUFFER: Final = 1024 * 1024
"""How many bytes may wait for a client that reads slowly, beside what the system buffers."""
EXCESS: Final = 1000
"""How many messages beyond its rate are refused before a client is sent away."""

Spawn = Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]]


class NativeConnection:
    """One client; the outlet of its seat.

    Args:
        socket: Its WebSocket.
        lobby: Has done what the session wants.
        login_s: A client that has not logged in by then is sent away, in seconds.
        rate: How many messages it may send in a second.
    """

    __slots__ = ("_allowance", "_excess", "_lobby", "_now", "_seat", "_socket")

    def __init__(self, socket: ServerConnection, lobby: Lobby, *, login_s: float, rate: float) -> None:
        self._socket = socket
        self._lobby = lobby
        self._now = asyncio.get_running_loop().time
        self._allowance = Allowance(rate, self._now())
        self._excess = 0
        self._seat = Seat(lobby, self, login_s)

    # -- In

    async def run(self) -> None:
        """Serve the client until its connection is gone."""
        try:
            async for frame in self._socket:
                self._receive(frame)
        except ConnectionClosed:
            pass  # however it ended, the session is told below
        finally:
            self._seat.lost()

    def end(self, code: CloseCode, reason: str) -> None:
        """End the connection for a reason that is the portal's."""
        self._seat.end(code, reason)

    def _receive(self, frame: str | bytes) -> None:
        if self._seat.state in {State.LEFT, State.WAITING}:
            return
        if isinstance(frame, bytes):
            self.end(CloseCode.UNSUPPORTED, "text frames only")
            return
        wait_ms = self._allowance.take(self._now())
        if wait_ms is not None:
            self._refuse_excess(frame, wait_ms)
            return
        try:
            asked = native.read(frame)
        except Fault as fault:
            self._send(native.fault(fault))
            if fault.method in native.LOGINS:
                self._seat.unfit()
            return
        self._seat.ask(asked.id, asked.request)

    def _refuse_excess(self, frame: str, wait_ms: int) -> None:
        self._excess += 1
        if self._excess > EXCESS:
            self.end(CloseCode.POLICY, "too many messages")
            return
        try:
            id_ = jsonrpc.read(frame).id
        except Fault as fault:
            id_ = fault.id
        if id_ is not None:
            self.refuse(id_, Problem("rate_limited", "too many messages", wait_ms))

    # -- Out

    def answer(self, to: msgspec.Raw, value: Value, ticket: str | None) -> None:
        """Answer a request."""
        self._send(native.answer(to, value, ticket))

    def refuse(self, to: msgspec.Raw, problem: Problem) -> None:
        """Answer a request with an error."""
        self._send(native.problem(to, problem))

    def notify(self, told: Told) -> None:
        """Tell what happened in the room."""
        self._send(told.news.written(native.notification))

    def dropped(self, reason: str) -> None:
        """Tell the client that it is out."""
        self._send(native.dropped(reason))

    def close(self, code: CloseCode, reason: str) -> None:
        """Close the connection, once all that was said before is said."""
        self._lobby.spawn(self._close(code, reason))

    def _send(self, frame: bytes | None) -> None:
        if frame is None:
            return
        broadcast((self._socket,), frame, text=True)
        if self._socket.transport.get_write_buffer_size() > BUFFER:
            self.end(CloseCode.POLICY, "too slow: more waits to be read than this portal keeps")

    async def _close(self, code: CloseCode, reason: str) -> None:
        if self._socket.state is not OPEN:
            return
        try:
            async with asyncio.timeout(2 * CLOSE_LIMIT_S):
                await self._socket.close(code, reason)
        except TimeoutError:
            self._socket.transport.abort()  # the client does not even read what there was before
