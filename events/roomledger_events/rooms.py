"""Events of rooms and their participants."""

from datetime import datetime
from typing import ClassVar

import msgspec

from roomledger_events.envelope import Payload
from roomledger_events.subjects import Kind
from roomledger_events.tasks import Preference


class Media(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Which media a participant may send or receive."""

    audio: bool = False
    video: bool = False


class Permission(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a participant may do."""

    publish: Media = Media()
    subscribe: Media = Media()


class Role(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A name with what it may publish and subscribe."""

    role: str
    publish: Media = Media()
    subscribe: Media = Media()


class View(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A composed picture of a room."""

    label: str


class RoomSettings(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What can be set of a room.

    Attributes:
        name: What people call it.
        participant_limit: How many may be in it at once; 0 or less means no limit.
        roles: The roles that tokens can be issued for.
        views: Its composed pictures.
    """

    name: str
    participant_limit: int = -1
    roles: tuple[Role, ...] = ()
    views: tuple[View, ...] = ()


class RoomCreated(Payload, frozen=True, kw_only=True):
    """A service created a room.

    Attributes:
        room: Its id.
        service: Whose it is.
        settings: How it begins.
        generation: How many rooms of this id there have been, with this one. Tokens name it, so that one for
            a room that was deleted does not open a later room of the same id.
    """

    kind: ClassVar[Kind] = Kind.ROOM
    room: str
    service: str
    settings: RoomSettings
    generation: int = 1


class RoomChanged(Payload, frozen=True, kw_only=True):
    """The settings of a room were replaced."""

    kind: ClassVar[Kind] = Kind.ROOM
    room: str
    settings: RoomSettings


class RoomDeleted(Payload, frozen=True, kw_only=True):
    """A room was deleted: nobody can join it, its tokens are void, and whoever was in it is out.

    It stands for the leaving of everybody who was in, with the reason ``room_deleted``: no `ParticipantLeft`
    follows, for a room of thousands would not go into one commit, and half a deletion must not be seen.
    """

    kind: ClassVar[Kind] = Kind.ROOM
    room: str


class ControllerTakenOver(Payload, frozen=True, kw_only=True):
    """A node became the controller of a room: it alone decides from here on."""

    kind: ClassVar[Kind] = Kind.ROOM
    room: str
    worker: str
    node: str
    epoch: int


class ControllerReleased(Payload, frozen=True, kw_only=True):
    """The controller of an empty room was released."""

    kind: ClassVar[Kind] = Kind.ROOM
    room: str
    node: str
    epoch: int


class ParticipantJoined(Payload, frozen=True, kw_only=True):
    """A participant joined, and used up the token.

    Attributes:
        portal: The worker that the session is at.
        incarnation: Which run of that worker, as its `WorkerJoined` has it among its properties; empty where
            nobody sees to it that the session ends with the portal.
    """

    kind: ClassVar[Kind] = Kind.ROOM
    participant: str
    user: str
    role: str
    permission: Permission
    portal: str
    token: str
    origin: Preference = Preference()
    incarnation: str = ""


class JoinRefused(Payload, frozen=True, kw_only=True):
    """A participant was not let in; the token is not used up by it."""

    kind: ClassVar[Kind] = Kind.ROOM
    participant: str
    token: str
    reason: str


class ParticipantAway(Payload, frozen=True, kw_only=True):
    """A participant's connection was lost; the session waits for it.

    Attributes:
        participant: Who is away.
        portal: Where the connection was.
        back_by: Who is not back by then leaves, with the reason ``not_back``.
        told: The address of the last event that the client is known to have been told of, such as ``1042.3``;
            empty where that is not known, because the portal itself is gone.
    """

    kind: ClassVar[Kind] = Kind.ROOM
    participant: str
    portal: str
    back_by: datetime | None = None
    told: str = ""


class ParticipantBack(Payload, frozen=True, kw_only=True):
    """A participant came back after a lost connection, perhaps at another portal.

    Attributes:
        participant: Who is back.
        portal: Where the session is from here on; at any other portal it is over.
        incarnation: Which run of that portal, as in `ParticipantJoined`.
        epoch: How many times the session has been begun or come back, 1 at the join; 0 where it was not told.
    """

    kind: ClassVar[Kind] = Kind.ROOM
    participant: str
    portal: str
    incarnation: str = ""
    epoch: int = 0


class ParticipantLeft(Payload, frozen=True, kw_only=True):
    """A participant is out.

    Attributes:
        participant: Who it is.
        reason: ``logout``, ``disconnected``, ``not_back`` or ``dropped``; see also `RoomDeleted`.
        message: What the one who dropped the participant said.
        user: Who it was, for those who did not see the join; empty in events of before.
        role: The role at the join; empty in events of before.
    """

    kind: ClassVar[Kind] = Kind.ROOM
    participant: str
    reason: str
    message: str | None = None
    user: str = ""
    role: str = ""


class PermissionChanged(Payload, frozen=True, kw_only=True):
    """What a participant may do was changed."""

    kind: ClassVar[Kind] = Kind.ROOM
    participant: str
    permission: Permission


class TextSent(Payload, frozen=True, kw_only=True):
    """A text message in a room, to one participant or to ``all``; this event expires."""

    kind: ClassVar[Kind] = Kind.TEXT
    sender: str
    to: str
    message: str
