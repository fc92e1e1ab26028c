"""A client's attendance in a room, which outlives its connections; without any I/O.

    state        input      next state   what follows
    outside      connect    connecting   a portal is tried; if nothing answers, others are
    connecting   opened     connected    whoever waits for it is told
    connecting   nobody     outside      the same
    connected    joined     inside       the same; a new ticket is due at half the ticket's life
    connected    closed     over         what is asked fails
    inside       closed     away         told: lost; a portal is tried soon; without a ticket: over
    inside       out        over         told why: dropped, or another connection has the session
    inside       logged out leaving      whoever asked is told; the portal closes the connection
    leaving      closed     over
    away         time       returning    a portal is tried
    returning    back       inside       told: back, and what was missed; what waited is asked
    returning    failed     away         others are tried, and then all again, later and later
    returning    denied     over         told why
    away, returning  late   over         told so: the ticket has expired, or the user's patience is at its end
    all          close      over         what is asked fails

Rules beside the table
    What is asked while the client is away waits until it is back.  What was asked and not answered when the
    connection was lost is asked again if that does no harm, and fails otherwise: nobody knows whether it was
    done.
    A notification is handed out once, in the order of the log: what stands there no later than one that was
    handed out has been handed out, too.
    After a relogin without an answer, "another connection has the session" may mean that very relogin.  Then
    the client takes its session back, for as long as that can be.

Each method takes one input and returns its effects, in order, for the shell to carry out.
"""

from collections.abc import Iterable
from enum import Enum, auto
from typing import Any, Final

import msgspec

from roomledger.sdk import portal_messages
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
    Write,
)
from roomledger.sdk.errors import (
    ConnectionEnded,
    PortalFailure,
    PortalUnreachable,
    RequestRefused,
    ReturnFailed,
    ReturnRefused,
)
from roomledger.sdk.portal_messages import (
    DROP,
    DROPPED,
    LOGGED_OUT,
    NONSENSE,
    TAKEN_OVER,
    Incoming,
    LoggedIn,
    NewTicket,
    Notification,
    TakenBack,
)
from roomledger.sdk.questions import LOGOUT, REFRESH, RELOGIN, Question, Questions
from roomledger.sdk.route import Route
from roomledger_events.envelope import Address

ATTEMPT_S: Final = 12.0
"""How long a portal has to take a client back, from the first attempt to connect."""
REFRESH_AT: Final = 0.5
"""The share of a ticket's life after which a new one is asked for."""
REFRESH_AGAIN_S: Final = 10.0
"""How long to wait before asking for a ticket again; no longer than a tenth of the ticket's life."""
DOUBT_S: Final = 60.0
"""For how long a relogin that was given up may still be carried out."""
INTERNAL: Final = frozenset({"internal", "-32603"})
"""Refusals that say nothing of the session, beside those that say when to try again."""


class State(Enum):
    """Where an attendance stands."""

    OUTSIDE = auto()
    CONNECTING = auto()
    CONNECTED = auto()
    INSIDE = auto()
    LEAVING = auto()
    AWAY = auto()
    RETURNING = auto()
    OVER = auto()


class Attendance:
    """One client's attendance.

    Args:
        url: Of the portal that is tried first.
        patience_s: How long to try to come back, in seconds; by default as long as the ticket is good.

    Attributes:
        state: Where it stands.
        due: When `tick` is to be called.
        after: Where the last notification stands that was handed out.
    """

    def __init__(self, url: str, *, patience_s: float | None = None) -> None:
        self.state = State.OUTSIDE
        self.due: float | None = None
        self.after: Address | None = None
        self._route = Route(url)
        self._patience_s = patience_s
        self._questions = Questions()
        self._ticket: str | None = None
        self._life_s = 0.0
        self._good_until = 0.0
        self._lost_at = 0.0
        self._give_up_at = 0.0
        self._why = ""
        self._unreachable: PortalUnreachable | None = None
        self._connect: Any = None
        self._put_out: str | None = None
        self._doubt_until = 0.0
        self._failure: PortalFailure = ConnectionEnded(LOGGED_OUT, "the client is closed")

    @property
    def url(self) -> str:
        """The portal where the client is, or which it tries."""
        return self._route.url

    @property
    def is_in(self) -> bool:
        """Whether the client is in the room, be it that it is on its way back."""
        return self.state in {State.INSIDE, State.AWAY, State.RETURNING}

    # -- What the user wants

    def connect(self, asked: Any) -> list[Effect]:  # noqa: ANN401  - the shell's own
        """Connect for the first time."""
        if self.state is not State.OUTSIDE:
            raise RuntimeError("a client connects once")
        self.state = State.CONNECTING
        self._connect = asked
        return [Open(self.url)]

    def asked(self, asked: Any, method: str, params: dict[str, Any]) -> list[Effect]:  # noqa: ANN401  - as above
        """Ask the portal for something.

        Args:
            asked: What the answer is to be settled with.
            method: Of the wire protocol.
            params: As that has them.
        """
        question = Question(asked, method, params)
        if self.state in {State.CONNECTED, State.INSIDE}:
            return [Write(self._questions.frame(question))]
        if self.state in {State.AWAY, State.RETURNING}:
            self._questions.waiting.append(question)
            return []
        if self.state in {State.LEAVING, State.OVER}:
            return [Settle(asked, self._failure)]
        raise RuntimeError("the client is not connected: use it as a context manager, or call connect()")

    def forget(self, asked: Any) -> None:  # noqa: ANN401  - as above
        """Take note that the user does not wait for an answer any more."""
        self._questions.forget(asked)

    def close(self, code: int = LOGGED_OUT, reason: str = "the client is closed") -> list[Effect]:
        """End it, whatever it is at; the room is not asked."""
        if self.state is State.OVER:
            return []
        failure = None if code == LOGGED_OUT else ConnectionEnded(code, reason)
        return [HangUp(code, reason), *self._over(failure)]

    # -- What comes of connections

    def opened(self) -> list[Effect]:
        """Take it that the connection is there."""
        if self.state is State.CONNECTING:
            self.state = State.CONNECTED
            self._route.arrived()
            return [Settle(self._connect, None)]
        if self.state is not State.RETURNING:
            return []
        params = {"ticket": self._ticket}
        if self.after is not None:
            params["after"] = str(self.after)
        return [Write(self._questions.frame(Question(None, RELOGIN, params)))]

    def unopened(self, why: str, at: Moment) -> list[Effect]:
        """Take it that nothing answers there as a portal does."""
        if self.state not in {State.CONNECTING, State.RETURNING}:
            return []
        if self.state is State.CONNECTING and self._unreachable is None:
            self._unreachable = PortalUnreachable(self.url, why)
        return self._next(why, at)

    def found(self, urls: Iterable[str], at: Moment) -> list[Effect]:
        """Take note of the portals that there are."""
        if self.state not in {State.CONNECTING, State.AWAY}:
            return []
        self._route.found(urls)
        return self._next(self._why, at)

    def received(self, frame: str | bytes, at: Moment) -> list[Effect]:
        """Take a frame."""
        try:
            return self._take(portal_messages.read(frame), at)
        except (msgspec.DecodeError, ValueError) as error:
            why = f"no message of this protocol: {error}"
            return [HangUp(NONSENSE, why), *self.closed(NONSENSE, why, at)]

    def closed(self, code: int, reason: str, at: Moment) -> list[Effect]:
        """Take it that the connection is gone."""
        if self.state is State.RETURNING:
            return self._fail(reason or f"the connection ended ({code})", at)
        if self.state is State.INSIDE and self._may_return(code, at):
            return self._lose(code, reason, at)
        if self.state is State.LEAVING:
            return self._over(None)
        if self.state not in {State.CONNECTED, State.INSIDE}:
            return []
        if self._put_out is not None:
            return self._over(ConnectionEnded(DROPPED, self._put_out))
        return self._over(ConnectionEnded(code, reason))

    def tick(self, at: Moment) -> list[Effect]:
        """Take note of the time."""
        if self.due is None or at.now < self.due:
            return []
        self.due = None
        if self.state is State.INSIDE:
            return self._refresh(at)
        if self.state not in {State.AWAY, State.RETURNING}:
            return []
        if at.now >= self._give_up_at:
            seconds = self._give_up_at - self._lost_at
            return [
                HangUp(LOGGED_OUT, "given up"),
                *self._over(ReturnFailed(seconds, self._why or "nothing answers")),
            ]
        if self.state is State.RETURNING:
            why = "the portal does not answer"
            return [HangUp(LOGGED_OUT, why), *self._fail(why, at)]
        self.state = State.RETURNING
        self.due = min(at.now + ATTEMPT_S, self._give_up_at)
        return [Open(self.url)]

    # -- Messages

    def _take(self, message: Incoming, at: Moment) -> list[Effect]:
        if message.method is not None:
            return self._told(Notification(message.method, message.params))
        question = None if message.id is None else self._questions.open(message.id)
        if message.id is None or question is None:
            return []
        answer = None if message.error is not None else question.answer(message)
        self._questions.close(message.id)
        if message.error is not None:
            return self._refused(question, message.error.refusal(question.method), at)
        return self._answered(question, answer, at)

    def _told(self, notification: Notification) -> list[Effect]:
        address = notification.address
        if address is not None:
            if self.after is not None and address <= self.after:
                return []
            self.after = address
        if notification.method == DROP:
            self._put_out = str(notification.params.get("reason", ""))
        return [Deliver(notification)]

    def _answered(self, question: Question, answer: Any, at: Moment) -> list[Effect]:  # noqa: ANN401  - by method
        match answer:
            case LoggedIn(ticket=ticket, seq=seq):
                self.after = Address.parse(seq)
                self.state = State.INSIDE
                self._take_ticket(ticket, at)
            case TakenBack():
                return self._back(answer, at)
            case NewTicket(ticket=ticket):
                self._take_ticket(ticket, at)
        if question.method == LOGOUT:
            self.state, self.due = State.LEAVING, None
        return [] if question.asked is None else [Settle(question.asked, answer)]

    def _refused(self, question: Question, refusal: RequestRefused, at: Moment) -> list[Effect]:
        if question.method == REFRESH:
            return []  # it is asked for again when it is due
        if question.method != RELOGIN:
            return [Settle(question.asked, refusal)]
        retry_after_ms = refusal.retry_after_ms
        if retry_after_ms is None and refusal.code not in INTERNAL:
            logged_out = self._logged_out()
            failure = None if logged_out else ReturnRefused(refusal.code, refusal.reason)
            return [HangUp(LOGGED_OUT, "there is no way back"), *logged_out, *self._over(failure)]
        return [
            HangUp(LOGGED_OUT, "coming again"),
            *self._fail(str(refusal), at, (retry_after_ms or 0) / 1000),
        ]

    # -- Tickets

    def _take_ticket(self, ticket: str | None, at: Moment) -> None:
        self._ticket = ticket
        if ticket is None:
            return
        self._life_s = portal_messages.life_of(ticket)
        self._good_until = at.now + self._life_s
        self.due = at.now + self._life_s * REFRESH_AT

    def _refresh(self, at: Moment) -> list[Effect]:
        self.due = at.now + min(REFRESH_AGAIN_S, self._life_s / 10)
        if self._questions.is_open(REFRESH):
            return []
        return [Write(self._questions.frame(Question(None, REFRESH, {})))]

    # -- Away and back

    def _may_return(self, code: int, at: Moment) -> bool:
        if self._put_out is not None or code == DROPPED:
            return False
        if code == TAKEN_OVER and at.now >= self._doubt_until:
            return False
        return self._ticket is not None and at.now < self._good_until

    def _lose(self, code: int, reason: str, at: Moment) -> list[Effect]:
        self.state = State.AWAY
        self._why = reason
        self._lost_at = at.now
        patience = self._good_until if self._patience_s is None else at.now + self._patience_s
        self._give_up_at = min(patience, self._good_until)
        self._pause(at)
        return [Deliver(ConnectionLost(code, reason)), *self._unanswered(code, reason)]

    def _unanswered(self, code: int, reason: str) -> list[Effect]:
        failure = ConnectionEnded(code, reason)
        return [Settle(each.asked, failure) for each in self._questions.lost() if each.asked is not None]

    def _fail(self, why: str, at: Moment, pause_s: float = 0.0) -> list[Effect]:
        """Take it that an attempt to come back failed."""
        if self._questions.is_open(RELOGIN):
            self._doubt_until = at.now + DOUBT_S
        self._questions.lost()
        self.state = State.AWAY
        return self._next(why, at, pause_s)

    def _next(self, why: str, at: Moment, pause_s: float = 0.0) -> list[Effect]:
        """Turn to the next portal."""
        self._why = why
        if self.state is State.RETURNING:
            self.state = State.AWAY
        if not self._route.asked:
            self.due = self._give_up_at if self.state is State.AWAY else None
            return [Find()]
        if not self._route.is_over:
            self._route.turn()
        elif self.state is State.CONNECTING:
            self.state = State.OUTSIDE
            return [Settle(self._connect, self._unreachable)]
        else:
            self._route.again()
        if self.state is State.CONNECTING:
            return [Open(self.url)]
        self._pause(at, pause_s)
        return []

    def _pause(self, at: Moment, pause_s: float = 0.0) -> None:
        self.due = min(at.now + max(pause_s, self._route.pause(at.chance)), self._give_up_at)

    def _back(self, back: TakenBack, at: Moment) -> list[Effect]:
        self.state = State.INSIDE
        self._route.arrived()
        self._take_ticket(back.ticket, at)
        missed = [
            effect for each in back.missed for effect in self._told(Notification(each.method, each.params))
        ]
        waiting, self._questions.waiting = self._questions.waiting, []
        return [
            Deliver(ConnectionBack(self.url, len(missed), at.now - self._lost_at)),
            *missed,
            *[Write(self._questions.frame(each)) for each in waiting],
        ]

    # -- The end

    def _logged_out(self) -> list[Effect]:
        """Settle a logout that waits: who is not in the room any more is logged out."""
        waiting = [each for each in self._questions.waiting if each.method == LOGOUT]
        for each in waiting:
            self._questions.waiting.remove(each)
        return [Settle(each.asked, portal_messages.Done()) for each in waiting]

    def _over(self, failure: PortalFailure | None) -> list[Effect]:
        if failure is not None:
            self._failure = failure
        connecting, self.state = self.state is State.CONNECTING, State.OVER
        self.due = None
        settled: list[Effect] = [Settle(self._connect, self._failure)] if connecting else []
        settled += [
            Settle(each.asked, self._failure) for each in self._questions.all() if each.asked is not None
        ]
        return [*settled, Finish(failure)]
