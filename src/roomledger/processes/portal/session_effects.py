"""What a session is asked, and what it wants done: no matter by which protocol.

A request carries what its sender knows it by, which is the gateway's own; the answer gives it back.
"""

from enum import IntEnum
from typing import Any, NamedTuple

from roomledger.domain.errors import Refusal
from roomledger.domain.signed_token import Claims
from roomledger.processes.portal.notifications import News
from roomledger.sdk.rooms import JoinedRoom, ParticipantView

# -- Requests


class Login(NamedTuple):
    """Wants to be let in.

    Attributes:
        token: Its text.
        reconnect: Whether the client could come back after a lost connection.
    """

    token: str
    reconnect: bool = False


class Logout(NamedTuple):
    """Wants to leave."""


class Participants(NamedTuple):
    """Wants to know who is in."""


Request = Login | Logout | Participants

# -- Effects


class CloseCode(IntEnum):
    """Why a connection is closed (RFC 6455, section 7.4; from 4000 on our own)."""

    LOGOUT = 1000
    GOING_AWAY = 1001
    UNSUPPORTED = 1003
    POLICY = 1008
    RESTART = 1012
    DROPPED = 4001


class Problem(NamedTuple):
    """Why a request is refused.

    Attributes:
        code: A word of the wire protocol.
        message: What is wrong, for people.
        retry_after_ms: When to ask again, where waiting may help.
    """

    code: str
    message: str
    retry_after_ms: int | None = None

    @classmethod
    def of(cls, refusal: Refusal) -> "Problem":
        """Return a refusal of another process as the client gets it."""
        return cls(refusal.code.value, refusal.message, refusal.retry_after_ms)


class Answer(NamedTuple):
    """Answer a request.

    Attributes:
        to: What its sender knows it by; None if no answer is wanted.
        value: `JoinedRoom` for a login, the participants for a request of these, None for a logout.
    """

    to: Any
    value: JoinedRoom | tuple[ParticipantView, ...] | None


class Refuse(NamedTuple):
    """Answer a request with an error."""

    to: Any
    problem: Problem


class Notify(NamedTuple):
    """Tell the client what happened in the room."""

    news: News


class TellDropped(NamedTuple):
    """Tell the client that it is out, and why."""

    reason: str


class Close(NamedTuple):
    """Close the connection."""

    code: CloseCode
    reason: str


class Join(NamedTuple):
    """Have the room let the participant in, and come back with `Session.joined` or `Session.refused`."""

    to: Any
    claims: Claims
    signature: str


class Follow(NamedTuple):
    """Follow the room from the join on, and tell the session of it (`Session.told`)."""

    room: JoinedRoom


class PickUp(NamedTuple):
    """Pick the token's task up."""

    claims: Claims


class Depart(NamedTuple):
    """See to it that the participant is out, however long it takes, and that the token's task is laid down.

    Attributes:
        claims: The token's.
        reason: Why the participant leaves; None if the room knows already.
        lay_down: Whether the token was used for certain; otherwise its task stays with the portal.
    """

    claims: Claims
    reason: str | None
    lay_down: bool = True


class ListParticipants(NamedTuple):
    """Ask the room who is in, and come back with `Session.listed`."""

    to: Any
    room: str


Effect = Answer | Refuse | Notify | TellDropped | Close | Join | Follow | PickUp | Depart | ListParticipants
