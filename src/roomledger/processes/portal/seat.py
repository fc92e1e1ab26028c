"""One client's seat: its session, and what has done what the session wants.

Gateways differ in what they hear and how they say it; the rest is the same for all of them, and is here. How
to use it is told in `session_effects`.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any, Final, Protocol

import structlog

from roomledger.domain.errors import Code, Refusal
from roomledger.domain.signed_token import Claims
from roomledger.processes.portal.errands import Errand, LayingDown, Leaving, Losing, Returning, Step
from roomledger.processes.portal.inquiries import Denied
from roomledger.processes.portal.lobby import Lobby
from roomledger.processes.portal.notifications import News
from roomledger.processes.portal.recollection import Told
from roomledger.processes.portal.room_feed import Listener
from roomledger.processes.portal.session import Session, State
from roomledger.processes.portal.session_effects import (
    Answer,
    Close,
    CloseCode,
    ComeBack,
    Depart,
    Effect,
    Follow,
    Join,
    LayDown,
    ListParticipants,
    Lose,
    Notify,
    PickUp,
    Problem,
    Refuse,
    Request,
    Resume,
    Say,
    Sent,
    TellDropped,
    Value,
)
from roomledger.sdk.rooms import ParticipantView
from roomledger_events.envelope import Address
from roomledger_events.identifiers import new_id

QUESTIONS: Final = 8
"""How many requests of one client may wait for an answer of another process."""

log = structlog.get_logger(__name__)


class Outlet(Protocol):
    """How a gateway says things to one client. Nothing here waits, and nothing raises."""

    def answer(self, to: Any, value: Value, ticket: str | None) -> None:  # noqa: ANN401  - the gateway's own
        """Answer a request; with a ticket for a login of who may come back, a relogin and a refresh."""

    def refuse(self, to: Any, problem: Problem) -> None:  # noqa: ANN401  - the gateway's own
        """Answer a request with an error."""

    def notify(self, told: Told) -> None:
        """Tell what happened in the room."""

    def dropped(self, reason: str) -> None:
        """Tell the client that it is out."""

    def close(self, code: CloseCode, reason: str) -> None:
        """Close the connection, once all that was said before is said."""


class Seat:
    """One client.

    Args:
        lobby: Has done what the session wants.
        outlet: Says what it wants said.
        login_s: A client that has not logged in by then is sent away, in seconds.
    """

    __slots__ = (
        "__weakref__",
        "_listening",
        "_lobby",
        "_outlet",
        "_picking",
        "_questions",
        "_session",
        "_timer",
    )

    def __init__(self, lobby: Lobby, outlet: Outlet, login_s: float) -> None:
        self._lobby = lobby
        self._outlet = outlet
        self._session = Session(new_id(), lobby.here)
        self._picking: asyncio.Task[None] | None = None
        self._listening: Listener | None = None
        self._questions = 0
        self._timer = asyncio.get_running_loop().call_later(login_s, self._too_late)

    @property
    def state(self) -> State:
        """Where its session stands."""
        return self._session.state

    @property
    def participant(self) -> str:
        """The id that the client has in the room."""
        return self._session.participant

    @property
    def surely_told_to(self) -> Address:
        """Up to where the client is known to have been told."""
        return self._session.surely_told_to

    # -- In

    def ask(self, to: Any, request: Request) -> None:  # noqa: ANN401  - the gateway's own
        """Take a request.

        Args:
            to: What the gateway knows it by; None if no answer is wanted.
            request: What is wanted.
        """
        self._do(self._session.asked(to, request))

    def unfit(self) -> None:
        """Take a login or relogin that was refused by the gateway, because it was not one."""
        self._do(self._session.unfit())

    def lost(self) -> None:
        """Take it that the connection is gone."""
        self._timer.cancel()
        self._do(self._session.lost())

    def end(self, code: CloseCode, reason: str) -> None:
        """End the connection for a reason that is the portal's."""
        self._do(self._session.ended(code, reason))

    def pinged(self) -> None:
        """Take it that the client was asked whether it is there."""
        self._session.pinged()

    def ponged(self) -> None:
        """Take it that the client answered the last ping."""
        self._session.ponged()

    def taken_over(self) -> None:
        """Take it that another seat here has the session now."""
        self._do(self._session.taken_over())

    def _too_late(self) -> None:
        self._do(self._session.too_late())

    def _told(self, news: News) -> None:
        self._do(self._session.told(news))

    # -- Out

    def _do(self, effects: list[Effect]) -> None:
        """Carry out what the session wants, in order."""
        for effect in effects:
            if not self._said(effect) and not self._noted(effect):
                self._done(effect)
        if self._session.state is State.LEFT:
            self._timer.cancel()
            if self._listening is not None:
                self._listening.stop()
                self._listening = None
                self._lobby.stand_up(self)

    def _said(self, effect: Effect) -> bool:
        """Tell the client, if the effect is for it."""
        outlet = self._outlet
        match effect:
            case Notify(told):
                outlet.notify(told)
            case Answer(to, value, holding):
                if to is not None:
                    outlet.answer(to, value, None if holding is None else self._lobby.issue(holding))
            case Refuse(to, problem):
                if to is not None:
                    outlet.refuse(to, problem)
            case TellDropped(reason):
                outlet.dropped(reason)
            case Close(code, reason):
                outlet.close(code, reason)
            case _:
                return False
        return True

    def _noted(self, effect: Effect) -> bool:
        """See to it that the room or the cluster knows, if the effect is for these."""
        match effect:
            case LayDown():
                self._errand(LayingDown())
            case Depart(reason, lay_down):
                self._errand(Leaving(reason), *([LayingDown()] if lay_down else []))
            case Lose(epoch, told):
                self._errand(Losing(epoch, told))
            case ComeBack():
                self._errand(Returning(self._is_back))
            case _:
                return False
        return True

    def _done(self, effect: Effect) -> None:
        """Have done what the effect wants of others, and tell the session what they say."""
        lobby, session = self._lobby, self._session
        match effect:
            case Join(claims, signature):
                lobby.spawn(self._join(claims, signature))
            case Resume():
                lobby.spawn(self._resume(effect))
            case Follow(after):
                self._timer.cancel()
                former = lobby.sit_down(self)
                self._listening = lobby.follow(session.right.room, session.participant, after, self._told)
                if former is not None:
                    former.taken_over()
            case PickUp():
                self._picking = lobby.spawn(lobby.pick_up(session.right, session.participant))
            case ListParticipants(to):
                self._ask(to, lobby.participants(session.right, session.participant))
            case Say(to, receiver, message):
                self._ask(to, lobby.say(session.right, session.participant, receiver, message))

    def _errand(self, *steps: Step) -> None:
        session = self._session
        self._lobby.send(Errand(session.participant, session.right, steps, self._picking))

    def _is_back(self, epoch: int) -> None:
        self._do(self._session.is_back(epoch))

    async def _join(self, claims: Claims, signature: str) -> None:
        outcome = await self._lobby.enter(claims, signature, self._session.participant)
        if isinstance(outcome, Denied):
            self._denied(outcome)
        else:
            self._do(self._session.joined(outcome))

    async def _resume(self, resume: Resume) -> None:
        outcome = await self._lobby.take_back(resume.ticket, resume.signature, resume.after)
        if isinstance(outcome, Denied):
            self._denied(outcome)
        else:
            self._do(self._session.resumed(outcome))

    def _denied(self, denied: Denied) -> None:
        right = self._session.right
        log.info(
            "a client was not let in",
            token=right.token,
            room=right.room,
            code=denied.refusal.code.value,
            why=str(denied.refusal),
        )
        self._do(self._session.refused(denied.refusal, unsure=denied.unsure))

    def _ask(
        self,
        to: Any,  # noqa: ANN401  - the gateway's own
        asking: Coroutine[Any, Any, tuple[ParticipantView, ...] | Sent | Refusal],
    ) -> None:
        if self._questions >= QUESTIONS:
            asking.close()
            problem = Problem("rate_limited", f"{QUESTIONS} requests wait for their answers already", 100)
            self._do([Refuse(to, problem)])
            return
        self._questions += 1
        self._lobby.spawn(self._answered(to, asking))

    async def _answered(
        self,
        to: Any,  # noqa: ANN401  - the gateway's own
        asking: Coroutine[Any, Any, tuple[ParticipantView, ...] | Sent | Refusal],
    ) -> None:
        found: tuple[ParticipantView, ...] | Sent | Refusal
        try:
            found = await asking
        except Exception:
            log.exception("a request failed", participant=self._session.participant)
            found = Refusal(Code.INTERNAL, "something went wrong here; the log lines say what")
        self._questions -= 1
        self._do(self._session.answered(to, found))
