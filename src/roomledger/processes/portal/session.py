"""The session of one client, without any I/O: what it may ask when, and what follows.

    state          input           next state     what follows
    initialized    login           connecting     the room is asked to let the client in
    initialized    login failed    left           the error, close 1008
    initialized    too late        left           close 1008
    initialized    gone            left
    connecting     joined          connected      the answer; the room is followed; the token's task picked up
    connecting     login failed    left           the error, close 1008; leave, if the room may have let the
                                                  client in all the same
    connecting     gone            left
    connected      logout          left           the answer, close 1000; leave (logout)
    connected      out             left           why, close 4001; the task is laid down
    connected      gone            left           leave (disconnected)
    left           joined          left           leave (disconnected): the client hung up while it was let in
    left           login failed    left           leave, if the room may have let the client in all the same

Rules beside the table
    A second login is refused with ``already_logged_in`` and changes nothing.
    Everything but a login is refused with ``not_logged_in`` until the client is let in.
    "gone" is a lost connection, or one that the portal ends: then there is a close code.
    Who has left hears and gets nothing any more.
    Ids, time and randomness come from outside; a session is for one participant.

Each method takes one input and returns its effects, in order, for the shell to carry out.
"""

from enum import Enum, auto
from typing import Any, Final

from roomledger.domain import signed_token
from roomledger.domain.errors import Refusal
from roomledger.domain.signed_token import Claims
from roomledger.processes.portal.notifications import News, Presence, RoomClosed
from roomledger.processes.portal.session_effects import (
    Answer,
    Close,
    CloseCode,
    Depart,
    Effect,
    Follow,
    Join,
    ListParticipants,
    Login,
    Notify,
    Participants,
    PickUp,
    Problem,
    Refuse,
    Request,
    TellDropped,
)
from roomledger.sdk.rooms import JoinedRoom, ParticipantView

# -- States and transitions


class State(Enum):
    """Where a session stands."""

    INITIALIZED = auto()
    CONNECTING = auto()
    CONNECTED = auto()
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
    },
    State.LEFT: {
        Input.JOINED: State.LEFT,
        Input.LOGIN_FAILED: State.LEFT,
    },
}
"""What each state reacts to, and what comes then; anything else changes nothing."""

_NOT_LOGGED_IN: Final = Problem("not_logged_in", "log in first")
_ALREADY: Final = Problem("already_logged_in", "this connection has logged in, or is about to")

# -- The session


class Session:
    """One client's presence at a portal.

    Args:
        participant: The id that the client has in the room if it is let in.
    """

    __slots__ = ("_claims", "_to", "participant", "state")

    def __init__(self, participant: str) -> None:
        self.participant = participant
        self.state = State.INITIALIZED
        self._claims: Claims | None = None
        self._to: Any = None

    @property
    def claims(self) -> Claims:
        """The claims of the token that it logged in with."""
        if self._claims is None:
            raise ValueError("there was no login")
        return self._claims

    # -- The client's requests

    def asked(self, to: Any, request: Request) -> list[Effect]:  # noqa: ANN401  - the gateway's own
        """Take a request.

        Args:
            to: What its sender knows it by.
            request: What is wanted.
        """
        if self.state is State.LEFT:
            return []
        if isinstance(request, Login):
            return self._login(to, request)
        if self.state is not State.CONNECTED:
            return [Refuse(to, _NOT_LOGGED_IN)]
        if isinstance(request, Participants):
            return [ListParticipants(to, self.claims.room)]
        self._move(Input.LOGOUT)
        return [Answer(to, None), Depart(self.claims, "logout"), Close(CloseCode.LOGOUT, "logged out")]

    def login_unfit(self) -> list[Effect]:
        """Take a login that was refused by the gateway, because it was not one."""
        if self.state is not State.INITIALIZED:
            return []
        self._move(Input.LOGIN_FAILED)
        return [Close(CloseCode.POLICY, "the login failed")]

    def _login(self, to: Any, login: Login) -> list[Effect]:  # noqa: ANN401  - the gateway's own
        if not self._takes(Input.LOGIN):
            return [Refuse(to, _ALREADY)]
        try:
            claims, signature = signed_token.read(login.token)
        except Refusal as refusal:
            self._move(Input.LOGIN_FAILED)
            return [Refuse(to, Problem.of(refusal)), Close(CloseCode.POLICY, "the login failed")]
        self._move(Input.LOGIN)
        self._claims, self._to = claims, to
        return [Join(to, claims, signature)]

    # -- The room's answers

    def joined(self, room: JoinedRoom) -> list[Effect]:
        """Take it that the room let the participant in."""
        gone = self.state is State.LEFT
        self._move(Input.JOINED)
        if gone:
            return [Depart(self.claims, "disconnected")]
        return [Answer(self._to, room), Follow(room), PickUp(self.claims)]

    def refused(self, refusal: Refusal, *, unsure: bool) -> list[Effect]:
        """Take it that the room did not let the participant in, or that it is not known to have.

        Args:
            refusal: Why.
            unsure: Whether the participant may be in all the same.
        """
        gone = self.state is State.LEFT
        self._move(Input.LOGIN_FAILED)
        departure: list[Effect] = [Depart(self.claims, "disconnected", lay_down=False)] if unsure else []
        if gone:
            return departure
        return [
            Refuse(self._to, Problem.of(refusal)),
            Close(CloseCode.POLICY, "the login failed"),
            *departure,
        ]

    def listed(self, to: Any, found: tuple[ParticipantView, ...] | Refusal) -> list[Effect]:  # noqa: ANN401  - the gateway's own
        """Take the answer to who is in."""
        if self.state is State.LEFT:
            return []
        if isinstance(found, Refusal):
            return [Refuse(to, Problem.of(found))]
        return [Answer(to, found)]

    # -- What happens meanwhile

    def told(self, news: News) -> list[Effect]:
        """Take what happened in the room."""
        if self.state is not State.CONNECTED:
            return []
        match news.notification:
            case RoomClosed():
                return self._out("room_deleted")
            case Presence(participant=who) as presence if who.id == self.participant:
                if presence.action == "join":
                    return []
                return self._out(presence.message or presence.reason or "left")
        return [Notify(news)]

    def too_late(self) -> list[Effect]:
        """Take it that the time for a login is over."""
        if not self._takes(Input.TOO_LATE):
            return []
        self._move(Input.TOO_LATE)
        return [Close(CloseCode.POLICY, "no login in time")]

    def lost(self) -> list[Effect]:
        """Take it that the connection is lost."""
        return self._gone()

    def ended(self, code: CloseCode, reason: str) -> list[Effect]:
        """End the connection for a reason that is the portal's."""
        if self.state is State.LEFT:
            return []
        return [*self._gone(), Close(code, reason)]

    def _out(self, reason: str) -> list[Effect]:
        self._move(Input.OUT)
        return [TellDropped(reason), Close(CloseCode.DROPPED, _short(reason)), Depart(self.claims, None)]

    def _gone(self) -> list[Effect]:
        if not self._takes(Input.GONE):
            return []
        was_in = self.state is State.CONNECTED
        self._move(Input.GONE)
        return [Depart(self.claims, "disconnected")] if was_in else []

    def _takes(self, what: Input) -> bool:
        return what in TRANSITIONS[self.state]

    def _move(self, what: Input) -> None:
        self.state = TRANSITIONS[self.state][what]


def _short(reason: str) -> str:
    """Return as much of a reason as goes into a close frame (RFC 6455, section 5.5: 125 bytes)."""
    return reason.encode()[:120].decode(errors="ignore")
