"""The arguments and replies of the services ``conference`` and ``controller``."""

from typing import Annotated, Any, Final

import msgspec

from roomledger.runtime.calls import Request
from roomledger.sdk.arguments import Milliseconds, PreferenceArgument, Word
from roomledger.sdk.listings import Change, ListingView, ParticipantView
from roomledger_events.identifiers import Id
from roomledger_events.rooms import Permission

CONFERENCE: Final = "rpc.conference"
CONTROLLER: Final = "rpc.controller"

User = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
Reason = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
Message = Annotated[str, msgspec.Meta(min_length=1, max_length=1024)]
Text = Annotated[str, msgspec.Meta(max_length=65_536)]
Place = Annotated[str, msgspec.Meta(pattern=r"^[0-9]{1,19}\.[0-9]{1,3}\Z")]
"""An address in the log, such as ``1042.3``."""
ListName = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]

# -- The conference worker


class GetNode(Request, kw_only=True, frozen=True):
    """``conference.get_node``: which node runs, or shall run, a room."""

    room: Id
    task: Id


class NodeFound(msgspec.Struct, kw_only=True, frozen=True):
    """The reply to ``conference.get_node``."""

    node: str


class OfNode(Request, kw_only=True, frozen=True):
    """``conference.recycle_node``."""

    node: Id


class Moved(msgspec.Struct, kw_only=True, frozen=True):
    """The reply to ``conference.recycle_node``: how many rooms other nodes take over."""

    rooms: int


class QueryNode(Request, kw_only=True, frozen=True):
    """``conference.query_node``: a node, or the one that a room was given to; one of the two is named."""

    node: Id | None = None
    room: Id | None = None


class NodeView(msgspec.Struct, kw_only=True, frozen=True):
    """The reply to ``conference.query_node``.

    Attributes:
        node: Its id.
        state: ``starting``, ``warm``, ``assigned`` or ``recycling``.
        pid: Its process.
        rooms: The rooms that it was given.
    """

    node: str
    state: str
    pid: int | None
    rooms: tuple[str, ...]


class GetNodes(Request, kw_only=True, frozen=True):
    """``conference.get_nodes``."""


class Nodes(msgspec.Struct, kw_only=True, frozen=True):
    """The reply to ``conference.get_nodes``: the oldest first."""

    nodes: tuple[NodeView, ...]


# -- Controllers: requests


class Joining(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Who wants to join; user and role are the token's.

    Attributes:
        id: The id that the portal made for the join.
        portal: The portal's worker.
        incarnation: Which run of the portal; without it the session does not end with the portal.
        user: Who it claims to be.
        role: What it claims to be.
        origin: Where it comes from.
    """

    id: Id
    portal: Id
    incarnation: Id | None = None
    user: User | None = None
    role: Word | None = None
    origin: PreferenceArgument | None = None


class JoinRoom(Request, kw_only=True, frozen=True):
    """``controller.join``."""

    room: Id
    token: Id
    participant: Joining


class LeaveRoom(Request, kw_only=True, frozen=True):
    """``controller.leave``."""

    room: Id
    participant: Id
    reason: Reason = "logout"
    portal: Id | None = None


class DropParticipant(Request, kw_only=True, frozen=True):
    """``controller.drop``; the reason is what the participant is told."""

    room: Id
    participant: Id
    reason: Message | None = None


class MediaWish(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What is to change of one direction; what is left out stays."""

    audio: bool | None = None
    video: bool | None = None


class PermissionWish(
    msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True, omit_defaults=True
):
    """What is to change of a permission; what is left out stays."""

    publish: MediaWish = MediaWish()
    subscribe: MediaWish = MediaWish()


class SetPermission(Request, kw_only=True, frozen=True):
    """``controller.set_permission``."""

    room: Id
    participant: Id
    permission: PermissionWish


class SendText(Request, kw_only=True, frozen=True):
    """``controller.text``: to a participant, or to ``all``."""

    room: Id
    sender: Id = msgspec.field(name="from")
    to: Id
    message: Text


class LoseConnection(Request, kw_only=True, frozen=True):
    """``controller.lose_connection``: who is not back within the grace leaves.

    Attributes:
        room: Which room.
        participant: Who it is.
        portal: Where the connection was.
        grace_ms: The grace.
        epoch: Which connection it was; nothing happens if the session has come back since.
        told: The address of the last event that the client is known to have been told of.
    """

    room: Id
    participant: Id
    portal: Id
    grace_ms: Milliseconds = 60_000
    epoch: Annotated[int, msgspec.Meta(ge=1)] | None = None
    told: Place | None = None


class ComeBack(Request, kw_only=True, frozen=True):
    """``controller.come_back``: somebody is connected again, perhaps at another portal.

    Attributes:
        room: Which room.
        participant: Who it is.
        portal: The portal's worker.
        incarnation: Which run of the portal; without it the session does not end with the portal.
    """

    room: Id
    participant: Id
    portal: Id
    incarnation: Id | None = None


class GetChanges(Request, kw_only=True, frozen=True):
    """``controller.get_changes``: of a list that a reply named, from one on."""

    room: Id
    list: ListName
    start: Annotated[int, msgspec.Meta(ge=0)]


class OfRoom(Request, kw_only=True, frozen=True):
    """``controller.get_participants`` and ``controller.get_room``."""

    room: Id


# -- Controllers: replies


class RoomView(msgspec.Struct, kw_only=True, frozen=True):
    """A room, as who joins it gets it."""

    id: str
    name: str
    views: tuple[str, ...]
    participants: tuple[ParticipantView, ...]
    streams: tuple[Any, ...] = ()


class JoinedRoom(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True):
    """The reply to ``controller.join``.

    Attributes:
        id: The participant's.
        user: What the token says.
        role: What the token says.
        permission: What the participant may do.
        room: The room; of a large one the participants are in the listing instead.
        seq: Where the join stands in the log, such as ``1042.3``.
        listing: Where the participants of a large room are to be had (`Listings`), with the one who joined.
    """

    id: str
    user: str
    role: str
    permission: Permission
    room: RoomView
    seq: str
    listing: ListingView | None = None


class ShownRoom(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True):
    """The reply to ``controller.get_room``.

    Attributes:
        room: The room; of a large one the participants are in the listing instead.
        participant_limit: How many may be in it; 0 or less means no limit.
        present: How many are in it.
        seq: Up to where in the log that is.
        listing: Where the participants of a large room are to be had.
    """

    room: RoomView
    participant_limit: int
    present: int
    seq: str
    listing: ListingView | None = None


class Dropped(msgspec.Struct, kw_only=True, frozen=True):
    """The reply to ``controller.drop``: whether there was somebody, and what that reflects of the log."""

    dropped: bool
    seq: str


class PermissionSet(msgspec.Struct, kw_only=True, frozen=True):
    """The reply to ``controller.set_permission``: the whole of it, and where it stands in the log."""

    permission: Permission
    seq: str


class TextStored(msgspec.Struct, kw_only=True, frozen=True):
    """The reply to ``controller.text``: where it stands in the log."""

    seq: str


class IsBack(msgspec.Struct, kw_only=True, frozen=True):
    """The reply to ``controller.come_back``: who it is, what is allowed now, and where the return stands.

    Attributes:
        user: Who it is.
        role: The role at the join.
        permission: What is allowed now.
        seq: Up to where in the log that is; nothing of the room before it is still to come.
        epoch: How many times the session has been begun or come back.
    """

    user: str
    role: str
    permission: Permission
    seq: str
    epoch: int = 1


class Participants(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True):
    """The reply to ``controller.get_participants``; those of a large room are in the listing instead."""

    participants: tuple[ParticipantView, ...]
    seq: str
    listing: ListingView | None = None


class Changes(msgspec.Struct, kw_only=True, frozen=True):
    """The reply to ``controller.get_changes``: as many as go into one page."""

    changes: tuple[Change, ...]
