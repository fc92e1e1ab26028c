"""What can be asked of a room. Each may be asked twice without a second effect.

What a refusal is for stands with the rules, in `room` and `admission`.
"""

import msgspec

from roomledger_events.rooms import Permission, RoomSettings
from roomledger_events.tasks import Preference


class _Command(msgspec.Struct, frozen=True, gc=False):
    """A wish; who wants it and when comes with the context."""


# -- The room itself: by the management API


class CreateRoom(_Command, frozen=True):
    """Let a room be. Answered with its settings as they are."""

    room: str
    service: str
    settings: RoomSettings


class ChangeRoom(_Command, frozen=True):
    """Replace the settings. Answered with them; who is in already stays in, with the same permission."""

    settings: RoomSettings


class DeleteRoom(_Command, frozen=True):
    """Let everybody leave, and nobody join any more."""


class RevokeToken(_Command, frozen=True):
    """Make a token void that was not used yet; one that was used has done all that it could."""

    token: str


# -- Its controller: by nodes, and by the time


class TakeOverController(_Command, frozen=True):
    """Decide for the room from here on. Answered with the `Controller`."""

    worker: str
    node: str


class ReleaseController(_Command, frozen=True):
    """Stop deciding for an empty room. Answered with whether the node is released."""

    node: str


# -- Its participants: by portals, and by the management API for `Drop` and `SetPermission`


class Join(_Command, frozen=True):
    """Let somebody in who shows a token. Answered with an `Admission`.

    Attributes:
        participant: The id that the portal made for this join; the same one with the same token is the same
            join, however often it is asked for.
        portal: Where the session is.
        token: The token's id.
        user: Who it claims to be; None leaves it to the token.
        role: What it claims to be; None leaves it to the token.
        origin: Where it comes from; None leaves it to the token.
        incarnation: Which run of the portal; empty where the session shall not end with it.
    """

    participant: str
    portal: str
    token: str
    user: str | None = None
    role: str | None = None
    origin: Preference | None = None
    incarnation: str = ""


class Leave(_Command, frozen=True):
    """Let somebody out. Answered with whether there was somebody to leave.

    Attributes:
        participant: Who it is.
        reason: ``logout``, ``disconnected`` or ``not_back``.
        portal: The portal that says so: nothing happens if the session has moved to another; None for
            wherever it is.
    """

    participant: str
    reason: str
    portal: str | None = None


class Drop(_Command, frozen=True):
    """Throw somebody out. Answered with whether there was somebody."""

    participant: str
    message: str | None = None


class MediaChange(_Command, frozen=True):
    """What is to change of which media somebody may send or receive; None leaves it as it is."""

    audio: bool | None = None
    video: bool | None = None


class PermissionChange(_Command, frozen=True):
    """What is to change of what somebody may do."""

    publish: MediaChange = MediaChange()
    subscribe: MediaChange = MediaChange()


class SetPermission(_Command, frozen=True):
    """Change what somebody may do, all of it or in part. Answered with the `Participant`."""

    participant: str
    permission: Permission | PermissionChange


class SendText(_Command, frozen=True):
    """Say something to one participant, or to ``all``."""

    sender: str
    to: str
    message: str


class LoseConnection(_Command, frozen=True):
    """Take note that somebody's connection to a portal was lost.

    Attributes:
        participant: Who it is.
        portal: Where the connection was: nothing happens if the session has moved to another.
        grace_ms: How long the room waits for the participant to come back, 1 ms to 24 h.
        epoch: Which connection it was: nothing happens if the session has come back since; None for any.
        told: The address of the last event that the client is known to have been told of; empty if none is.
    """

    participant: str
    portal: str
    grace_ms: int = 60_000
    epoch: int | None = None
    told: str = ""


class LosePortal(_Command, frozen=True):
    """Take note that a run of a portal is over, with the connections of these participants to it.

    Attributes:
        portal: Its worker's id.
        running: The run of it that is not over; None if there is none.
        participants: Who may have been there, at most `room.MAX_LOST`; those who were not stay as they are.
        grace_ms: How long the room waits for each of them to come back.
    """

    portal: str
    running: str | None
    participants: tuple[str, ...]
    grace_ms: int = 60_000


class Return(_Command, frozen=True):
    """Take note that somebody is connected again, perhaps elsewhere. Answered with the `Participant`.

    Attributes:
        participant: Who it is.
        portal: Where.
        incarnation: Which run of the portal; empty where the session shall not end with it.
    """

    participant: str
    portal: str
    incarnation: str = ""


class EndAbsence(_Command, frozen=True):
    """Let somebody out who was to be back by now. This one comes from the room's own deadlines."""

    participant: str


RoomCommand = (
    CreateRoom
    | ChangeRoom
    | DeleteRoom
    | RevokeToken
    | TakeOverController
    | ReleaseController
    | Join
    | Leave
    | Drop
    | SetPermission
    | SendText
    | LoseConnection
    | LosePortal
    | Return
    | EndAbsence
)
