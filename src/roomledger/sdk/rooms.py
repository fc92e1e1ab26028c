"""The services ``conference`` and ``controller``: arguments and replies, and clients for them."""

from typing import Annotated, Any, Final

import msgspec
from nats.aio.client import Client

from roomledger.runtime.calls import Caller, Nothing, Request, RequestMeta
from roomledger.sdk.arguments import PreferenceArgument, Word
from roomledger_events.identifiers import Id
from roomledger_events.rooms import Permission
from roomledger_events.tasks import Preference

CONFERENCE: Final = "rpc.conference"
CONTROLLER: Final = "rpc.controller"

User = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
Reason = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]


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
    """Asks the controller of a room, on a node. Methods raise `Refusal`."""

    def __init__(self, broker: Client, *, actor: str) -> None:
        self._caller = Caller(broker, actor=actor)

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

    async def get_participants(self, node: str, room: str) -> tuple[ParticipantView, ...]:
        """Return who is in a room."""
        reply = await self._caller.call(
            f"{CONTROLLER}.{node}.get_participants", OfRoom(room=room), Participants
        )
        return reply.participants
