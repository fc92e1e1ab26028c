"""One client's connection: frames come and go, and what its session wants done is done."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final

import structlog
from websockets.asyncio.server import ServerConnection, broadcast
from websockets.exceptions import ConnectionClosed
from websockets.protocol import OPEN

from roomledger.domain.errors import Code, Refusal
from roomledger.domain.signed_token import Claims
from roomledger.processes.portal import native
from roomledger.processes.portal.departures import Departure
from roomledger.processes.portal.entrance import Denied
from roomledger.processes.portal.errors import Fault
from roomledger.processes.portal.lobby import Lobby
from roomledger.processes.portal.notifications import News
from roomledger.processes.portal.session import Session, State
from roomledger.processes.portal.session_effects import (
    Answer,
    Close,
    CloseCode,
    Depart,
    Effect,
    Follow,
    Join,
    ListParticipants,
    Notify,
    PickUp,
    Problem,
    Refuse,
    TellDropped,
)
from roomledger.sdk.rooms import ParticipantView
from roomledger_events.identifiers import new_id

CLOSE_LIMIT_S: Final = 3.0
"""How long a client has to take note that its connection is closed."""
BUFFER: Final = 1024 * 1024
"""How many bytes may wait for a client that reads slowly, beside what the system buffers."""
QUESTIONS: Final = 8
"""How many requests of one client may wait for an answer of another process."""

Spawn = Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]]

log = structlog.get_logger(__name__)


class ClientConnection:
    """One client.

    Args:
        socket: Its WebSocket.
        lobby: Has done what the session wants.
        spawn: Carries something out beside the connection.
    """

    __slots__ = ("_lobby", "_picking", "_questions", "_session", "_socket", "_spawn")

    def __init__(self, socket: ServerConnection, lobby: Lobby, spawn: Spawn) -> None:
        self._socket = socket
        self._lobby = lobby
        self._spawn = spawn
        self._session = Session(new_id())
        self._picking: asyncio.Task[None] | None = None
        self._questions = 0

    # -- In

    async def run(self, login_s: float) -> None:
        """Serve the client until its connection is gone."""
        timer = asyncio.get_running_loop().call_later(login_s, self._too_late)
        try:
            async for frame in self._socket:
                self._receive(frame)
        except ConnectionClosed:
            pass  # however it ended, the session is told below
        finally:
            timer.cancel()
            self.do(self._session.lost())

    def end(self, code: CloseCode, reason: str) -> None:
        """End the connection for a reason that is the portal's."""
        self.do(self._session.ended(code, reason))

    def _receive(self, frame: str | bytes) -> None:
        if self._session.state is State.LEFT:
            return
        if isinstance(frame, bytes):
            self.end(CloseCode.UNSUPPORTED, "text frames only")
            return
        try:
            asked = native.read(frame)
        except Fault as fault:
            self._send(native.fault(fault))
            if fault.method == native.LOGIN:
                self.do(self._session.login_unfit())
            return
        self.do(self._session.asked(asked.id, asked.request))

    def _too_late(self) -> None:
        self.do(self._session.too_late())

    def _told(self, news: News) -> None:
        self.do(self._session.told(news))

    # -- Out

    def do(self, effects: list[Effect]) -> None:
        """Carry out what the session wants, in order."""
        for effect in effects:
            if not self._said(effect):
                self._done(effect)

    def _said(self, effect: Effect) -> bool:
        """Tell the client, if the effect is for it."""
        match effect:
            case Notify(news):
                self._send(news.written(native.notification))
            case Answer(to, value):
                self._send(None if to is None else native.answer(to, value))
            case Refuse(to, problem):
                self._send(None if to is None else native.problem(to, problem))
            case TellDropped(reason):
                self._send(native.dropped(reason))
            case Close(code, reason):
                self._spawn(self._close(code, reason))
            case _:
                return False
        return True

    def _done(self, effect: Effect) -> None:
        """Have done what the effect wants of others."""
        match effect:
            case Join(_, claims, signature):
                self._spawn(self._join(claims, signature))
            case ListParticipants(to, _):
                self._ask(to)
            case Follow(joined):
                self._lobby.follow(joined, self._told)
            case PickUp(claims):
                self._picking = self._spawn(self._lobby.pick_up(claims, self._session.participant))
            case Depart(claims, reason, lay_down):
                self._depart(claims, reason, lay_down=lay_down)

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

    def _depart(self, claims: Claims, reason: str | None, *, lay_down: bool) -> None:
        participant = self._session.participant
        self._lobby.unfollow(claims.room, participant)
        self._lobby.depart(Departure(participant, claims, reason, lay_down, self._picking))

    async def _join(self, claims: Claims, signature: str) -> None:
        outcome = await self._lobby.enter(claims, signature, self._session.participant)
        if isinstance(outcome, Denied):
            log.info(
                "a login was refused",
                token=claims.token,
                room=claims.room,
                code=outcome.refusal.code.value,
                why=str(outcome.refusal),
            )
            self.do(self._session.refused(outcome.refusal, unsure=outcome.unsure))
        else:
            self.do(self._session.joined(outcome))

    def _ask(self, to: Any) -> None:  # noqa: ANN401  - a JSON-RPC id as it was written
        if self._questions >= QUESTIONS:
            problem = Problem("rate_limited", f"{QUESTIONS} requests wait for their answers already", 100)
            self.do([Refuse(to, problem)])
            return
        self._questions += 1
        self._spawn(self._list(to))

    async def _list(self, to: Any) -> None:  # noqa: ANN401  - as above
        found: tuple[ParticipantView, ...] | Refusal
        try:
            session = self._session
            found = await self._lobby.participants(session.claims, session.participant)
        except Refusal as refusal:
            found = refusal
        except Exception:
            log.exception("a request failed", participant=self._session.participant)
            found = Refusal(Code.INTERNAL, "something went wrong here; the log lines say what")
        self._questions -= 1
        self.do(self._session.listed(to, found))
