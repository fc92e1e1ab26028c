"""A client for portals, by their own protocol: JSON-RPC 2.0 over WebSocket.

    async with Client(token) as client:
        login = await client.login()
        await client.text("all", "hello")
        async for told in client:
            ...

A connection that is lost comes back by itself, at the same portal or at another one, and nothing is missed.
The rules are in `attendance`; here they meet sockets and the clock.
"""

import asyncio
import random
import ssl
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, Final, Self

import structlog
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.connection import broadcast
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidURI
from websockets.typing import Subprotocol

from roomledger import __version__
from roomledger.domain import signed_token
from roomledger.runtime.ending import end
from roomledger.sdk.attendance import Attendance
from roomledger.sdk.attendance_effects import (
    ConnectionBack,
    ConnectionLost,
    Deliver,
    Effect,
    Find,
    Finish,
    HangUp,
    Moment,
    Open,
    Settle,
    Told,
    Write,
)
from roomledger.sdk.errors import NoAnswer, PortalFailure
from roomledger.sdk.portal_messages import LOST, TOO_MANY, LoggedIn, Notification
from roomledger.sdk.questions import LOGIN, LOGOUT, PARTICIPANTS, TEXT
from roomledger.sdk.rooms import ParticipantView

__all__ = ["SUBPROTOCOL", "Client", "ConnectionBack", "ConnectionLost", "LoggedIn", "Notification", "Told"]

SUBPROTOCOL: Final = Subprotocol("roomledger.v1")
TIME_LIMIT_S: Final = 15.0
"""How long an answer may take: longer than a portal works on a login."""
FAREWELL_S: Final = 2.0
"""How long a logout may take that nobody asked for, when the client is closed."""
OPEN_S: Final = 5.0
"""How long a portal has to accept a connection."""
FIND_S: Final = 5.0
"""How long it may take to see which other portals there are."""
PING_S: Final = 15.0
PING_LIMIT_S: Final = 10.0
"""A portal that does not answer a ping by then is gone: well within the time that a session waits."""
CLOSE_S: Final = 2.0
MAX_MESSAGE: Final = 16 * 1024 * 1024
"""The longest message that is taken: a login's answer lists all who are in the room."""
WAITING: Final = 10_000
"""How many notifications may wait to be taken, before the client gives up."""
_REASON_BYTES: Final = 123
"""How much of a reason goes into a close frame (RFC 6455, section 5.5)."""

Portals = Sequence[str] | Callable[[], Awaitable[Iterable[str]]]
"""The urls of other portals, or what returns them when they are needed."""

log = structlog.get_logger(__name__)


class Client:
    """One participant; use it as an asynchronous context manager, which logs out at the end.

    Iterate over it for what the portal tells, each once and in order, and for what becomes of the connection.
    The iteration ends with the logout. What is asked while the connection is lost waits until it is back.

    Args:
        token: The token's text.
        url: The portal to begin with; by default the one that the token names.
        urls: Other portals, for when that one cannot be reached.
        reconnect: Whether to come back after a lost connection; otherwise one leaves the room by it.
        patience_s: For how many seconds to try; by default for as long as the portal's ticket is good.
        tls: Whom to trust where a url is ``wss://``; by default whom the system trusts.

    Raises:
        Refusal: The token is none (``invalid_token``).
    """

    def __init__(
        self,
        token: str,
        *,
        url: str | None = None,
        urls: Portals = (),
        reconnect: bool = True,
        patience_s: float | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        claims, _ = signed_token.read(token)
        self._token = token
        self._urls = urls
        self._reconnect = reconnect
        self._tls = tls
        self._attendance = Attendance(url or claims.url, patience_s=patience_s)
        self._told: asyncio.Queue[Told | None] = asyncio.Queue(WAITING)
        self._failure: PortalFailure | None = None
        self._line: _Line | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        """The portal where it is, or which it tries."""
        return self._attendance.url

    # -- Its life

    async def __aenter__(self) -> Self:
        await self.connect()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def connect(self) -> None:
        """Connect to the portal, or to another one if that is not to be reached.

        Raises:
            PortalUnreachable: Nothing answers there as a portal does.
        """
        connected: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._carry_out(self._attendance.connect(connected))
        if isinstance(outcome := await connected, PortalFailure):
            raise outcome

    async def close(self) -> None:
        """Log out if need be, and close the connection."""
        if self._attendance.is_in:
            with suppress(PortalFailure):
                await self._ask(LOGOUT, seconds=FAREWELL_S)
        self._carry_out(self._attendance.close())
        _, late = await asyncio.wait(self._tasks, timeout=2 * CLOSE_S) if self._tasks else (None, ())
        await end(*late)

    # -- Requests

    async def login(self) -> LoggedIn:
        """Log in with the token.

        Raises:
            RequestRefused: The portal or the room did not let it.
            NoAnswer: There was no answer in time.
            ConnectionEnded: The connection ended before the answer.
        """
        client = {"type": "roomledger", "version": __version__}
        params = {"token": self._token, "client": client, "reconnect": self._reconnect}
        login: LoggedIn = await self._ask(LOGIN, params)
        return login

    async def text(self, to: str, message: str) -> None:
        """Send a message to ``all`` who are in the room, oneself too, or to a participant by its id.

        Raises:
            RequestRefused: The room did not take it.
            NoAnswer: There was no answer in time.
            ConnectionEnded: The connection ended before the answer: it may have been sent or not.
        """
        await self._ask(TEXT, {"to": to, "message": message})

    async def participants(self) -> tuple[ParticipantView, ...]:
        """Return who is in the room.

        Raises:
            RequestRefused: The room could not be asked.
            NoAnswer: There was no answer in time.
            ConnectionEnded: It is over.
            ReturnRefused: The connection was lost, and there was no way back.
            ReturnFailed: The connection was lost, and no portal could be reached in time.
        """
        present: tuple[ParticipantView, ...] = (await self._ask(PARTICIPANTS)).participants
        return present

    async def logout(self) -> None:
        """Leave the room; the portal closes the connection then.

        Raises:
            RequestRefused: There was no login.
            NoAnswer: There was no answer in time.
            ConnectionEnded: It is over for another reason.
            ReturnFailed: The connection was lost, and no portal could be reached in time.
        """
        await self._ask(LOGOUT)

    async def _ask(self, method: str, params: dict[str, Any] | None = None, *, seconds: float = 0) -> Any:  # noqa: ANN401  - by method
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        limit = seconds or TIME_LIMIT_S
        self._carry_out(self._attendance.asked(answer, method, params or {}))
        try:
            async with asyncio.timeout(limit):
                outcome = await answer
        except TimeoutError:
            raise NoAnswer(method, limit) from None
        finally:
            self._attendance.forget(answer)
        if isinstance(outcome, PortalFailure):
            raise outcome
        return outcome

    # -- What it is told

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Told:
        """Return what the portal told next, or what became of the connection.

        Raises:
            StopAsyncIteration: The client logged out, and there is nothing more.
            ConnectionEnded: It was put out (4001), another connection has its session (4002), or the
                connection ended otherwise and it is not to come back.
            ReturnRefused: The connection was lost, and no portal gives the session back.
            ReturnFailed: The connection was lost, and no portal could be reached in time.
        """
        told = await self._told.get()
        if told is not None:
            return told
        self._told.put_nowait(None)  # for whoever asks again
        if self._failure is None:
            raise StopAsyncIteration
        raise self._failure

    # -- Carrying out what the attendance says

    def _carry_out(self, effects: Sequence[Effect]) -> None:
        for effect in effects:
            match effect:
                case Open(url):
                    self._line = line = _Line()
                    line.attending = self._spawn(self._attend(line, url))
                case Find():
                    self._spawn(self._find())
                case Write(frame):
                    self._write(frame)
                case HangUp(code, reason):
                    self._hang_up(code, reason)
                case Deliver(told):
                    self._deliver(told)
                case Settle(asked, outcome):
                    if not asked.done():
                        asked.set_result(outcome)
                case Finish(failure):
                    self._finish(failure)
        self._set_timer()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _write(self, frame: bytes) -> None:
        if self._line is not None and self._line.socket is not None:
            broadcast((self._line.socket,), frame, text=True)

    def _hang_up(self, code: int, reason: str) -> None:
        line, self._line = self._line, None
        if line is None:
            return
        if line.socket is not None:
            short = reason.encode()[:_REASON_BYTES].decode(errors="ignore")
            self._spawn(line.socket.close(code, short))
        elif line.attending is not None:
            line.attending.cancel()

    def _deliver(self, told: Told) -> None:
        # One place is left for the end.
        if self._told.qsize() < WAITING - 1:
            self._told.put_nowait(told)
        else:
            self._carry_out(self._attendance.close(TOO_MANY, f"{WAITING} notifications were not taken"))

    def _finish(self, failure: PortalFailure | None) -> None:
        self._failure = failure
        self._told.put_nowait(None)

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._attendance.due is not None:
            self._timer = asyncio.get_running_loop().call_at(self._attendance.due, self._tick)

    def _tick(self) -> None:
        self._carry_out(self._attendance.tick(_moment()))

    async def _find(self) -> None:
        urls: Iterable[str] = ()
        if callable(self._urls):
            try:
                async with asyncio.timeout(FIND_S):
                    urls = await self._urls()
            except Exception:
                log.exception("no other portals could be found")
        else:
            urls = self._urls
        self._carry_out(self._attendance.found(urls, _moment()))

    # -- Connections

    async def _attend(self, line: "_Line", url: str) -> None:
        """Open a connection and take what comes of it, until it ends or counts no more."""
        try:
            # What the environment says of proxies is for the way out, not for one's own cluster.
            line.socket = await connect(
                url,
                subprotocols=[SUBPROTOCOL],
                compression=None,
                max_size=MAX_MESSAGE,
                proxy=None,
                open_timeout=OPEN_S,
                ping_interval=PING_S,
                ping_timeout=PING_LIMIT_S,
                close_timeout=CLOSE_S,
                ssl=(self._tls or True) if url.lower().startswith("wss:") else None,
            )
        except (OSError, TimeoutError, ValueError, InvalidHandshake, InvalidURI) as error:
            why = str(error) or type(error).__name__
            self._on(line, lambda: self._attendance.unopened(why, _moment()))
            return
        self._on(line, self._attendance.opened)
        try:
            while self._line is line:
                frame = await line.socket.recv()
                self._on(line, lambda: self._attendance.received(frame, _moment()))  # noqa: B023  - called at once
        except ConnectionClosed:
            code, reason = line.socket.close_code or LOST, line.socket.close_reason or ""
            self._on(line, lambda: self._attendance.closed(code, reason, _moment()))

    def _on(self, line: "_Line", take: Callable[[], Sequence[Effect]]) -> None:
        """Take what came of a connection, unless it counts no more."""
        if self._line is line:
            self._carry_out(take())


class _Line:
    """A connection, or the attempt to make one."""

    socket: ClientConnection | None = None
    attending: asyncio.Task[None] | None = None


def _moment() -> Moment:
    return Moment(asyncio.get_running_loop().time(), random.random())  # noqa: S311  - spreads out, keeps no secret
