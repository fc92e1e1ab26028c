"""The services ``conference`` and ``controller``: arguments and replies, and clients for them."""

from typing import Annotated, Any, Final

import msgspec
from nats.aio.client import Client

from roomledger.runtime.calls import TIME_LIMIT_S, Caller, Nothing, Request, RequestMeta
from roomledger.sdk.arguments import PreferenceArgument, Word
from roomledger_events.identifiers import Id
from roomledger_events.rooms import Permission
from roomledger_events.tasks import Preference

CONFERENCE: Final = "rpc.conference"
CONTROLLER: Final = "rpc.controller"

User = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
Reason = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
Message = Annotated[str, msgspec.Meta(min_length=1, max_length=1024)]


class GetNode(Request, kw_only=True, frozen=True):
    """``conference.get_node``: which node runs, or shall run, a room."""

    room: Id
    task: Id


class NodeFound(msgspec.Struct, kw_only=True, frozen=True):
    """The reply to ``conference.get_node``."""

    node: str


class Joining(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """Who wants to join; user and role are the token's."""

    id: Id
    portal: Id
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


class OfRoom(Request, kw_only=True, frozen=True):
    """``controller.get_participants`` and ``controller.get_room``."""

    room: Id


class ParticipantView(msgspec.Struct, kw_only=True, frozen=True):
    """A participant, as others in the room see it."""

    id: str
    user: str
    role: str


class RoomView(msgspec.Struct, kw_only=True, frozen=True):
    """A room, as who joins it gets it."""

    id: str
    name: str
    views: tuple[str, ...]
    participants: tuple[ParticipantView, ...]
    streams: tuple[Any, ...] = ()


class JoinedRoom(msgspec.Struct, kw_only=True, frozen=True):
    """The reply to ``controller.join``; `seq` is where the join stands in the log, such as ``1042.3``."""

    id: str
    user: str
    role: str
    permission: Permission
    room: RoomView
    seq: str


class Dropped(msgspec.Struct, kw_only=True, frozen=True):
    """The reply to ``controller.drop``: whether there was somebody, and what that reflects of the log."""

    dropped: bool
    seq: str


class PermissionSet(msgspec.Struct, kw_only=True, frozen=True):
    """The reply to ``controller.set_permission``: the whole of it, and where it stands in the log."""

    permission: Permission
    seq: str


class Participants(msgspec.Struct, kw_only=True, frozen=True):
    """The reply to ``controller.get_participants``."""

    participants: tuple[ParticipantView, ...]
    seq: str


class Conference:
    """Asks a conference worker for the node of a room. Methods raise `Refusal`."""

    def __init__(self, broker: Client, *, actor: str) -> None:
        self._caller = Caller(broker, actor=actor)

    async def get_node(self, worker: str, room: str, meta: RequestMeta | None = None) -> str:
        """Return the id of the node that runs the room, started if need be."""
        request = GetNode(room=room, task=room, meta=meta)
        return (await self._caller.call(f"{CONFERENCE}.{worker}.get_node", request, NodeFound)).node


class Controller:
    """Asks the controller of a room, on a node. Methods raise `Refusal`.

    Args:
        broker: The connection.
        actor: On whose behalf, where a call does not say it.
        time_limit: Seconds that a call may take.
    """

    def __init__(self, broker: Client, *, actor: str, time_limit: float = TIME_LIMIT_S) -> None:
        self._caller = Caller(broker, actor=actor, time_limit=time_limit)

    async def join(
        self,
        node: str,
        room: str,
        token: str,
        *,
        participant: str,
        portal: str,
        origin: Preference | None = None,
        meta: RequestMeta | None = None,
    ) -> JoinedRoom:
        """Join a room with a token, which is used up by it."""
        argument = (
            None if origin is None else msgspec.convert(origin, PreferenceArgument, from_attributes=True)
        )
        joining = Joining(id=participant, portal=portal, origin=argument)
        request = JoinRoom(room=room, token=token, participant=joining, meta=meta)
        return await self._caller.call(f"{CONTROLLER}.{node}.join", request, JoinedRoom)

    async def leave(
        self, node: str, room: str, participant: str, *, reason: str, meta: RequestMeta | None = None
    ) -> None:
        """Leave a room; leaving one that one is not in does nothing."""
        request = LeaveRoom(room=room, participant=participant, reason=reason, meta=meta)
        await self._caller.call(f"{CONTROLLER}.{node}.leave", request, Nothing)

    async def drop(
        self,
        node: str,
        room: str,
        participant: str,
        *,
        reason: str | None = None,
        meta: RequestMeta | None = None,
    ) -> Dropped:
        """Throw somebody out of a room; nothing happens if there is nobody such."""
        request = DropParticipant(room=room, participant=participant, reason=reason, meta=meta)
        return await self._caller.call(f"{CONTROLLER}.{node}.drop", request, Dropped)

    async def set_permission(
        self,
        node: str,
        room: str,
        participant: str,
        permission: PermissionWish,
        *,
        meta: RequestMeta | None = None,
    ) -> PermissionSet:
        """Change what somebody may do, and return all that is allowed then."""
        request = SetPermission(room=room, participant=participant, permission=permission, meta=meta)
        return await self._caller.call(f"{CONTROLLER}.{node}.set_permission", request, PermissionSet)

    async def get_participants(self, node: str, room: str) -> tuple[ParticipantView, ...]:
        """Return who is in a room."""
        reply = await self._caller.call(
            f"{CONTROLLER}.{node}.get_participants", OfRoom(room=room), Participants
        )
        return reply.participants
