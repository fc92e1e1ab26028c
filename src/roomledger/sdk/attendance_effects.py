"""What a client's attendance wants done: of its connection, and for its user."""

from typing import Any, NamedTuple

from roomledger.sdk.errors import PortalFailure
from roomledger.sdk.portal_messages import Notification


class Moment(NamedTuple):
    """When something happens.

    Attributes:
        now: Seconds of a monotonic clock.
        chance: A random number from 0 to 1.
    """

    now: float
    chance: float


# -- What the user is told, beside notifications


class ConnectionLost(NamedTuple):
    """The connection is lost; the client is on its way back, and the room does not know yet.

    Attributes:
        code: The close code (RFC 6455, section 7.4); 1006 where there was none.
        reason: What the portal said, or what went wrong.
    """

    code: int
    reason: str


class ConnectionBack(NamedTuple):
    """The client is back; next come the notifications that it missed.

    Attributes:
        url: The portal where it is now.
        missed: How many notifications it missed.
        seconds: How long it was away.
    """

    url: str
    missed: int
    seconds: float


Told = Notification | ConnectionLost | ConnectionBack
"""What comes out of the iteration over a client."""

# -- Effects


class Open(NamedTuple):
    """Connect to a portal, and come back with `Attendance.opened` or `Attendance.unopened`."""

    url: str


class Find(NamedTuple):
    """See which other portals there are, and come back with `Attendance.found`."""


class Write(NamedTuple):
    """Send a frame."""

    frame: bytes


class HangUp(NamedTuple):
    """Close the connection, or give up opening it; nothing that comes of it counts any more."""

    code: int
    reason: str


class Deliver(NamedTuple):
    """Tell the user something."""

    told: Told


class Settle(NamedTuple):
    """Answer what the user asked for.

    Attributes:
        asked: What the user's question is known by.
        outcome: The answer, or why there is none.
    """

    asked: Any
    outcome: Any | PortalFailure


class Finish(NamedTuple):
    """End the iteration: it is over.

    Attributes:
        failure: Why; None if the client logged out.
    """

    failure: PortalFailure | None


Effect = Open | Find | Write | HangUp | Deliver | Settle | Finish
