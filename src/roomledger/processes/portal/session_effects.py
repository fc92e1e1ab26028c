"""What a session is asked, and what it wants done: no matter by which protocol.

How a gateway uses a session. It makes a `seat.Seat` for each connection, with an *outlet* of its own (the
protocol `seat.Outlet`: how answers, refusals and notifications are said), and then

    tells it of requests       ``seat.ask(to, request)`` with `Login`, `Relogin`, `RefreshTicket`, `Logout`,
                               `SendText` or `Participants`; ``to`` is what the gateway knows the request by,
                               and the outlet gets it back with the answer or the refusal; None wants neither
    of what was no request     ``seat.unfit()``, after it has answered a login or relogin that cannot be read
    of signs of life           ``seat.pinged()`` when it pings, ``seat.ponged()`` when the answer has come
    of the connection's end    ``seat.lost()``, however it ended
    and ends the connection    ``seat.end(code, reason)``, where that is the gateway's own wish

All that the session wants of others (rooms, the cluster, the log) the seat has done. A session is for one
participant: who logs out and then in again on one connection gets a new seat.

Whether a client may come back, and what it speaks, is for the gateway to say, in `Login`; it stands in the
ticket, and comes back with `Resumption`.
"""

from enum import IntEnum
from typing import Any, Final, NamedTuple

from roomledger.domain.errors import Refusal
from roomledger.domain.signed_token import Claims
from roomledger.domain.ticket import Ticket
from roomledger.processes.portal.recollection import Told
from roomledger.sdk.rooms import JoinedRoom, ParticipantView
from roomledger_events.envelope import Address

NATIVE: Final = "native"
"""The protocol of the native gateway, as tickets have it."""

# -- Requests


class Login(NamedTuple):
    """Wants to be let in.

    Attributes:
        token: Its text.
        reconnect: Whether the client may come back after a lost connection: then there is a ticket.
        protocol: What the client speaks, for its ticket.
    """

    token: str
    reconnect: bool = False
    protocol: str = NATIVE


class Relogin(NamedTuple):
    """Wants its session back.

    Attributes:
        ticket: Its text.
        after: Up to where the client was told; None if it does not know.
    """

    ticket: str
    after: Address | None = None


class RefreshTicket(NamedTuple):
    """Wants another ticket; the ones before stay good."""


class Logout(NamedTuple):
    """Wants to leave."""


class SendText(NamedTuple):
    """Wants to say something to one participant, or to ``all``."""

    receiver: str
    message: str


class Participants(NamedTuple):
    """Wants to know who is in."""


Request = Login | Relogin | RefreshTicket | Logout | SendText | Participants

# -- Answers


class Resumption(NamedTuple):
    """The answer to a relogin.

    Attributes:
        participant: The participant's id.
        protocol: What the client spoke when it logged in.
        seq: Up to where in the log the client is told with this answer.
        missed: What it missed, in order.
    """

    participant: str
    protocol: str
    seq: Address
    missed: tuple[Told, ...]


class Refreshed(NamedTuple):
    """The answer to a wish for another ticket, which comes with it."""


class Sent(NamedTuple):
    """The answer to a text: where it stands in the log."""

    seq: str


Value = JoinedRoom | Resumption | Refreshed | Sent | tuple[ParticipantView, ...] | None
"""What requests are answered with: in the order of `Request`, and None for a logout."""


class Right(NamedTuple):
    """What a session goes back to: the token that was used up by its join.

    Attributes:
        token: Its id.
        code: Its task.
        room: The room that it opened.
    """

    token: str
    code: str
    room: str


class Holding(NamedTuple):
    """What a ticket is to say of a session; see `Ticket`."""

    right: Right
    participant: str
    epoch: int
    joined: Address
    told: Address
    number: int
    protocol: str


class Returned(NamedTuple):
    """A room's answer to somebody who came back.

    Attributes:
        epoch: How many times the session has been begun or come back.
        seq: Up to where in the log `missed` goes.
        since: Up to where the client had been told.
        had: How many notifications its session had had by then.
        missed: What it missed, in order.
        number: How many notifications its session has had with these.
    """

    epoch: int
    seq: Address
    since: Address
    had: int
    missed: tuple[Told, ...]
    number: int


# -- Effects


class CloseCode(IntEnum):
    """Why a connection is closed (RFC 6455, section 7.4; from 4000 on our own)."""

    LOGOUT = 1000
    GOING_AWAY = 1001
    UNSUPPORTED = 1003
    POLICY = 1008
    RESTART = 1012
    DROPPED = 4001
    TAKEN_OVER = 4002


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
        value: The answer.
        holding: What the ticket is to say that goes with it; None if there is none.
    """

    to: Any
    value: Value
    holding: Holding | None = None


class Refuse(NamedTuple):
    """Answer a request with an error."""

    to: Any
    problem: Problem


class Notify(NamedTuple):
    """Tell the client what happened in the room."""

    told: Told


class TellDropped(NamedTuple):
    """Tell the client that it is out, and why."""

    reason: str


class Close(NamedTuple):
    """Close the connection."""

    code: CloseCode
    reason: str


class Join(NamedTuple):
    """Have the room let the participant in, and come back with `Session.joined` or `Session.refused`."""

    claims: Claims
    signature: str


class Resume(NamedTuple):
    """Have the room take the participant back; come back with `Session.resumed` or `Session.refused`.

    Attributes:
        ticket: What the ticket says.
        signature: Its signature, which is still to be verified.
        after: Up to where the client says it was told.
    """

    ticket: Ticket
    signature: str
    after: Address | None


class Follow(NamedTuple):
    """Follow the room, and tell the session of all that comes after this (`Session.told`)."""

    after: Address


class PickUp(NamedTuple):
    """Pick the token's task up."""


class LayDown(NamedTuple):
    """Lay the token's task down, which is no concern of this portal any more."""


class Depart(NamedTuple):
    """See to it that the participant is out, however long it takes, and that the token's task is laid down.

    Attributes:
        reason: Why the participant leaves.
        lay_down: Whether the token was used for certain; otherwise its task stays with the portal.
    """

    reason: str
    lay_down: bool = True


class Lose(NamedTuple):
    """See to it that the room knows that the connection is lost, however long it takes.

    Attributes:
        epoch: Which connection; None if that is not known.
        told: Up to where the client is known to have been told; None if that is not known.
    """

    epoch: int | None
    told: Address | None


class ComeBack(NamedTuple):
    """See to it that the room knows that the connection is there; come back with `Session.is_back`."""


class Say(NamedTuple):
    """Have the room say something, and come back with `Session.answered`."""

    to: Any
    receiver: str
    message: str


class ListParticipants(NamedTuple):
    """Ask the room who is in, and come back with `Session.answered`."""

    to: Any


Effect = (
    Answer
    | Refuse
    | Notify
    | TellDropped
    | Close
    | Join
    | Resume
    | Follow
    | PickUp
    | LayDown
    | Depart
    | Lose
    | ComeBack
    | Say
    | ListParticipants
)
