"""The session of one client, without any I/O: what it may ask when, and what follows.

    state          input           next state     what follows
    initialized    login           connecting     the room is asked to let the client in, or to take it back
    initialized    login failed    left           the error, close 1008
    initialized    too late        left           close 1008
    initialized    gone            left
    connecting     joined          connected      the answer; the token's task picked up, the room followed
    connecting     login failed    left           the error, close 1008; leave, or lost, if the room may
                                                  have let the client in all the same
    connecting     gone            left
    connected      logout          left           the answer, close 1000; leave (logout)
    connected      out             left           why, close 4001; the task is laid down
    connected      gone            left           leave (disconnected)
    connected      lost            waiting        the room is told that the connection is lost
    connected      taken over      left           close 4002
    waiting        out             left           the task is laid down
    waiting        taken over      left
    left           joined          left           leave (disconnected), or connection lost: the client hung up
                                                  while it was let in, or taken back
    left           login failed    left           the same, if the room may have let the client in

"Waiting" is `waiting_for_reconnecting`: how long is for the room to say, whose state has the deadline; the
session hears that the participant left, or is back somewhere. A client that comes back has a new session,
which takes the old one over, wherever that was.

Rules beside the table
    A second login is refused with ``already_logged_in`` and changes nothing.
    Everything but a login is refused with ``not_logged_in`` until the client is let in.
    "gone" is the lost connection, ended by whichever side, of a client that has no right to come back; "lost"
    is that of one which has.
    Taken over elsewhere: the task is laid down as well. Found away by the room although the connection is
    there (the cluster had given the portal up): the room is told that it is back.
    Who has left hears and gets nothing any more.
    Ids, time and randomness come from outside; a session is for one participant.

Each method takes one input and returns its effects, in order, for the shell to carry out.
"""

from enum import Enum, auto
from typing import Any, Final, NamedTuple

from roomledger.domain import signed_token
from roomledger.domain import ticket as tickets
from roomledger.domain.errors import Refusal
from roomledger.processes.portal.notifications import COUNTED, Moved, News, Presence, RoomClosed, is_for
from roomledger.processes.portal.recollection import Told
from roomledger.processes.portal.session_effects import (
    NATIVE,
    Answer,
    Close,
    CloseCode,
    ComeBack,
    Depart,
    Effect,
    Follow,
    Holding,
    Join,
    LayDown,
    ListParticipants,
    Login,
    Logout,
    Lose,
    Notify,
    Participants,
    PickUp,
    Problem,
    Refreshed,
    RefreshTicket,
    Refuse,
    Relogin,
    Request,
    Resume,
    Resumption,
    Returned,
    Right,
    Say,
    SendText,
    Sent,
    TellDropped,
)
from roomledger.sdk.rooms import JoinedRoom, ParticipantView
from roomledger_events.envelope import Address

# -- States and transitions


class State(Enum):
    """Where a session stands."""

    INITIALIZED = auto()
    CONNECTING = auto()
    CONNECTED = auto()
    WAITING = auto()
    LEFT = auto()


class Input(Enum):
    """What moves a session on."""

    LOGIN = auto()
    LOGIN_FAILED = auto()
    TOO_LATE = auto()
    JOINED = auto()
    LOGOUT = auto()
    OUT = auto()
    GONE = auto()
    LOST = auto()
    TAKEN_OVER = auto()


TRANSITIONS: Final[dict[State, dict[Input, State]]] = {
    State.INITIALIZED: {
        Input.LOGIN: State.CONNECTING,
        Input.LOGIN_FAILED: State.LEFT,
        Input.TOO_LATE: State.LEFT,
        Input.GONE: State.LEFT,
    },
    State.CONNECTING: {
        Input.JOINED: State.CONNECTED,
        Input.LOGIN_FAILED: State.LEFT,
        Input.GONE: State.LEFT,
    },
    State.CONNECTED: {
        Input.LOGOUT: State.LEFT,
        Input.OUT: State.LEFT,
        Input.GONE: State.LEFT,
        Input.LOST: State.WAITING,
        Input.TAKEN_OVER: State.LEFT,
    },
    State.WAITING: {
        Input.OUT: State.LEFT,
        Input.TAKEN_OVER: State.LEFT,
    },
    State.LEFT: {
        Input.JOINED: State.LEFT,
        Input.LOGIN_FAILED: State.LEFT,
    },
}
"""What each state reacts to, and what comes then; anything else changes nothing."""

_NOT_LOGGED_IN: Final = Problem("not_logged_in", "log in first")
_ALREADY: Final = Problem("already_logged_in", "this connection has logged in, or is about to")
_NO_TICKET: Final = Problem("invalid_ticket", "this session began without the right to come back")
_FAILED: Final = Close(CloseCode.POLICY, "the login failed")
_START: Final = Address(0)

# -- The session


class Here(NamedTuple):
    """The portal that a session is at, and which run of it."""

    portal: str
    incarnation: str


class Session:
    """One client's presence at a portal.

    Args:
        participant: The id that the client has in the room if it is let in.
        here: Where that is.

    Attributes:
        participant: The id that the client has in the room.
        state: Where it stands.
        told_to: Up to where the client has been told.
    """

    __slots__ = (
        "_confirmed",
        "_count",
        "_epoch",
        "_here",
        "_joined",
        "_pinged",
        "_protocol",
        "_returning",
        "_right",
        "_stays",
        "_to",
        "participant",
        "state",
        "told_to",
    )

    def __init__(self, participant: str, here: Here) -> None:
        self.participant = participant
        self.state = State.INITIALIZED
        self.told_to = _START
        self._here = here
        self._right: Right | None = None
        self._to: Any = None
        self._stays = False
        self._returning = False
        self._protocol = NATIVE
        self._epoch = 1
        self._joined = _START
        self._count = 0
        self._pinged = self._confirmed = _START

    @property
    def right(self) -> Right:
        """What it goes back to."""
        if self._right is None:
            raise ValueError("there was no login")
        return self._right

    @property
    def surely_told_to(self) -> Address:
        """Up to where the client is known to have been told.

        Native clients say themselves how far they were told, and else want what was not sent; the others
        acknowledge nothing, so that counts what was sent before a ping that was answered.
        """
        return self.told_to if self._protocol == NATIVE else self._confirmed

    # -- The client's requests

    def asked(self, to: Any, request: Request) -> list[Effect]:  # noqa: ANN401, PLR0911  - the gateway's own; a way out for each request
        """Take a request.

        Args:
            to: What its sender knows it by.
            request: What is wanted.
        """
        if self.state in {State.LEFT, State.WAITING}:
            return []
        if isinstance(request, Login | Relogin):
            return self._login(to, request)
        if self.state is not State.CONNECTED:
            return [Refuse(to, _NOT_LOGGED_IN)]
        match request:
            case Participants():
                return [ListParticipants(to)]
            case SendText(receiver, message):
                return [Say(to, receiver, message)]
            case RefreshTicket():
                return [Answer(to, Refreshed(), self._holding()) if self._stays else Refuse(to, _NO_TICKET)]
            case Logout():
                self._move(Input.LOGOUT)
                return [Answer(to, None), Depart("logout"), Close(CloseCode.LOGOUT, "logged out")]

    def unfit(self) -> list[Effect]:
        """Take a login or relogin that was refused by the gateway, because it was not one."""
        if self.state is not State.INITIALIZED:
            return []
        self._move(Input.LOGIN_FAILED)
        return [_FAILED]

    def _login(self, to: Any, request: Login | Relogin) -> list[Effect]:  # noqa: ANN401  - the gateway's own
        if not self._takes(Input.LOGIN):
            return [Refuse(to, _ALREADY)]
        try:
            begin = self._enter(request) if isinstance(request, Login) else self._return(request)
        except Refusal as refusal:
            self._move(Input.LOGIN_FAILED)
            return [Refuse(to, Problem.of(refusal)), _FAILED]
        self._move(Input.LOGIN)
        self._to = to
        return [begin]

    def _enter(self, login: Login) -> Join:
        claims, signature = signed_token.read(login.token)
        self._right = Right(claims.token, claims.code, claims.room)
        self._stays, self._protocol = login.reconnect, login.protocol
        return Join(claims, signature)

    def _return(self, relogin: Relogin) -> Resume:
        ticket, signature = tickets.read(relogin.ticket)
        self.participant = ticket.participant
        self._right = Right(ticket.token, ticket.code, ticket.room)
        self._joined = Address.parse(ticket.joined)
        self._protocol = ticket.protocol
        self._stays = self._returning = True
        return Resume(ticket, signature, relogin.after)

    # -- The room's answers

    def joined(self, room: JoinedRoom) -> list[Effect]:
        """Take it that the room let the participant in."""
        gone = self.state is State.LEFT
        self._move(Input.JOINED)
        if gone:
            return [Depart("disconnected")]
        self._joined = self.told_to = self._pinged = self._confirmed = Address.parse(room.seq)
        holding = self._holding() if self._stays else None
        return [Answer(self._to, room, holding), PickUp(), Follow(self.told_to)]

    def resumed(self, returned: Returned) -> list[Effect]:
        """Take it that the room took the participant back."""
        gone = self.state is State.LEFT
        self._move(Input.JOINED)
        self._epoch = returned.epoch
        if gone:
            return [Lose(returned.epoch, returned.since)]
        self.told_to, self._count = returned.seq, returned.number
        self._pinged = self._confirmed = returned.since
        answer = Resumption(self.participant, self._protocol, returned.seq, returned.missed)
        # Some get what they missed after their ticket, so that to have this is not to have had that.
        holding = self._holding()._replace(told=returned.since, number=returned.had)
        return [Answer(self._to, answer, holding), PickUp(), Follow(self.told_to)]

    def refused(self, refusal: Refusal, *, unsure: bool) -> list[Effect]:
        """Take it that the room did not let the participant in, or that it is not known to have.

        Args:
            refusal: Why.
            unsure: Whether the participant may be in, or back, all the same.
        """
        gone = self.state is State.LEFT
        self._move(Input.LOGIN_FAILED)
        amends: list[Effect] = []
        if unsure:
            amends = [Lose(None, None) if self._returning else Depart("disconnected", lay_down=False)]
        if gone:
            return amends
        return [Refuse(self._to, Problem.of(refusal)), _FAILED, *amends]

    def answered(self, to: Any, found: tuple[ParticipantView, ...] | Sent | Refusal) -> list[Effect]:  # noqa: ANN401  - the gateway's own
        """Take the room's answer to a request."""
        if self.state is not State.CONNECTED:
            return []
        if isinstance(found, Refusal):
            return [Refuse(to, Problem.of(found))]
        return [Answer(to, found)]

    def is_back(self, epoch: int) -> list[Effect]:
        """Take it that the room knows that the connection is there; if it is not any more, it is to know."""
        if self.state is State.CONNECTED:
            self._epoch = epoch
        elif self.state is State.WAITING:
            self._epoch = epoch
            return [Lose(epoch, self.surely_told_to)]
        return []

    # -- What happens meanwhile

    def told(self, news: News) -> list[Effect]:  # noqa: PLR0911  - a way out for each kind of news
        """Take what happened in the room."""
        if self.state not in {State.CONNECTED, State.WAITING}:
            return []
        notification = news.notification
        match notification:
            case RoomClosed():
                return self._out("room_deleted")
            case Presence(participant=who) as presence if who.id == self.participant:
                if presence.action == "join":
                    return []
                return self._out(presence.message or presence.reason or "left")
            case Moved() as moved if moved.participant == self.participant:
                return self._moved(moved)
        if self.state is State.WAITING or not is_for(notification, self.participant):
            return []
        self._count += isinstance(notification, COUNTED)
        self.told_to = notification.address
        return [Notify(Told(self._count, news))]

    def pinged(self) -> None:
        """Take it that the client was asked whether it is there."""
        self._pinged = self.told_to

    def ponged(self) -> None:
        """Take it that the client answered the last ping, so that it has got what was sent before that."""
        self._confirmed = self._pinged

    def too_late(self) -> list[Effect]:
        """Take it that the time for a login is over."""
        if not self._takes(Input.TOO_LATE):
            return []
        self._move(Input.TOO_LATE)
        return [Close(CloseCode.POLICY, "no login in time")]

    def lost(self) -> list[Effect]:
        """Take it that the connection is lost."""
        if self._stays and self._takes(Input.LOST):
            self._move(Input.LOST)
            return [Lose(self._epoch, self.surely_told_to)]
        if not self._takes(Input.GONE):
            return []
        was_in = self.state is State.CONNECTED
        self._move(Input.GONE)
        return [Depart("disconnected")] if was_in else []

    def ended(self, code: CloseCode, reason: str) -> list[Effect]:
        """End the connection for a reason that is the portal's."""
        if self.state in {State.LEFT, State.WAITING}:
            return []
        return [*self.lost(), Close(code, reason)]

    def taken_over(self) -> list[Effect]:
        """Take it that another connection to this portal has the session now."""
        if not self._takes(Input.TAKEN_OVER):
            return []
        connected = self.state is State.CONNECTED
        self._move(Input.TAKEN_OVER)
        return [Close(CloseCode.TAKEN_OVER, "a newer connection has the session")] if connected else []

    def _moved(self, moved: Moved) -> list[Effect]:
        connected = self.state is State.CONNECTED
        if moved.away:
            return [ComeBack()] if connected and moved.portal == self._here.portal else []
        if (moved.portal, moved.incarnation) != self._here:
            return [*self.taken_over(), LayDown()]
        if connected:
            self._epoch = moved.epoch or self._epoch
        return []

    def _out(self, reason: str) -> list[Effect]:
        connected = self.state is State.CONNECTED
        self._move(Input.OUT)
        if not connected:
            return [LayDown()]
        return [TellDropped(reason), Close(CloseCode.DROPPED, _short(reason)), LayDown()]

    def _holding(self) -> Holding:
        return Holding(
            self.right,
            self.participant,
            self._epoch,
            self._joined,
            self.told_to,
            self._count,
            self._protocol,
        )

    def _takes(self, what: Input) -> bool:
        return what in TRANSITIONS[self.state]

    def _move(self, what: Input) -> None:
        self.state = TRANSITIONS[self.state][what]


def _short(reason: str) -> str:
    """Return as much of a reason as goes into a close frame (RFC 6455, section 5.5: 125 bytes)."""
    return reason.encode()[:120].decode(errors="ignore")
