"""Clients of the services ``conference`` and ``controller``; what goes over the wire is in `room_shapes`."""

from typing import TypeVar

import msgspec
from nats.aio.client import Client

from roomledger.domain.errors import Code
from roomledger.runtime.calls import TIME_LIMIT_S, Caller, Nothing, Request, RequestMeta
from roomledger.sdk.arguments import PreferenceArgument
from roomledger.sdk.listings import Change, Listings, ListingView, ParticipantView
from roomledger.sdk.room_shapes import (
    CONFERENCE,
    CONTROLLER,
    Changes,
    ComeBack,
    DropParticipant,
    Dropped,
    GetChanges,
    GetNode,
    GetNodes,
    IsBack,
    JoinedRoom,
    Joining,
    JoinRoom,
    LeaveRoom,
    LoseConnection,
    MediaWish,
    Moved,
    NodeFound,
    Nodes,
    NodeView,
    OfNode,
    OfRoom,
    Participants,
    PermissionSet,
    PermissionWish,
    QueryNode,
    RoomView,
    SendText,
    SetPermission,
    ShownRoom,
    TextStored,
)
from roomledger_events.tasks import Preference

__all__ = [
    "CONFERENCE",
    "CONTROLLER",
    "Conference",
    "Controller",
    "DropParticipant",
    "Dropped",
    "GetNode",
    "IsBack",
    "JoinRoom",
    "JoinedRoom",
    "LeaveRoom",
    "MediaWish",
    "NodeFound",
    "NodeView",
    "OfRoom",
    "ParticipantView",
    "Participants",
    "PermissionSet",
    "PermissionWish",
    "RoomView",
    "SetPermission",
    "ShownRoom",
]

Reply = TypeVar("Reply")


class Conference:
    """Asks a conference worker. Methods raise `Refusal`; with ``no_node`` where the worker is not there.

    Args:
        broker: The connection.
        actor: On whose behalf, where a call does not say it.
        time_limit: Seconds that a call may take.
    """

    def __init__(self, broker: Client, *, actor: str, time_limit: float = TIME_LIMIT_S) -> None:
        self._caller = Caller(broker, actor=actor, time_limit=time_limit)

    async def get_node(self, worker: str, room: str, meta: RequestMeta | None = None) -> str:
        """Return the id of the node that runs the room, started if need be."""
        return (
            await self._call(worker, "get_node", GetNode(room=room, task=room, meta=meta), NodeFound)
        ).node

    async def recycle_node(self, worker: str, node: str, meta: RequestMeta | None = None) -> int:
        """End a node; other nodes take over its rooms, and how many these are is returned."""
        return (await self._call(worker, "recycle_node", OfNode(node=node, meta=meta), Moved)).rooms

    async def query_node(self, worker: str, *, node: str | None = None, room: str | None = None) -> NodeView:
        """Return a node, or the one that a room was given to."""
        return await self._call(worker, "query_node", QueryNode(node=node, room=room), NodeView)

    async def get_nodes(self, worker: str) -> tuple[NodeView, ...]:
        """Return all nodes of a worker, the oldest first."""
        return (await self._call(worker, "get_nodes", GetNodes(), Nodes)).nodes

    async def _call(self, worker: str, method: str, request: Request, reply: type[Reply]) -> Reply:
        subject = f"{CONFERENCE}.{worker}.{method}"
        return await self._caller.call(subject, request, reply, absent=Code.NO_NODE)


class Controller:
    """Asks the controller of a room, on a node. Methods raise `Refusal`.

    It is ``no_such_node`` where the node is not there, and ``wrong_controller`` where the room is elsewhere:
    then the room has to be looked for anew.

    Args:
        broker: The connection.
        actor: On whose behalf, where a call does not say it.
        time_limit: Seconds that a call may take.
    """

    def __init__(self, broker: Client, *, actor: str, time_limit: float = TIME_LIMIT_S) -> None:
        self._caller = Caller(broker, actor=actor, time_limit=time_limit)
        self._listings = Listings()

    async def join(
        self,
        node: str,
        room: str,
        token: str,
        *,
        participant: str,
        portal: str,
        incarnation: str | None = None,
        origin: Preference | None = None,
        meta: RequestMeta | None = None,
    ) -> JoinedRoom:
        """Join a room with a token, which is used up by it; all participants are in the answer."""
        argument = (
            None if origin is None else msgspec.convert(origin, PreferenceArgument, from_attributes=True)
        )
        joining = Joining(id=participant, portal=portal, incarnation=incarnation, origin=argument)
        request = JoinRoom(room=room, token=token, participant=joining, meta=meta)
        joined = await self._call(node, "join", request, JoinedRoom)
        if joined.listing is None:
            return joined
        participants = await self._listed(node, room, joined.listing)
        shown = msgspec.structs.replace(joined.room, participants=participants)
        return msgspec.structs.replace(joined, room=shown, listing=None)

    async def leave(
        self,
        node: str,
        room: str,
        participant: str,
        *,
        reason: str,
        portal: str | None = None,
        meta: RequestMeta | None = None,
    ) -> None:
        """Leave a room; nothing happens to one who is not in, or whose session is not at this portal."""
        request = LeaveRoom(room=room, participant=participant, reason=reason, portal=portal, meta=meta)
        await self._call(node, "leave", request, Nothing)

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
        return await self._call(node, "drop", request, Dropped)

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
        return await self._call(node, "set_permission", request, PermissionSet)

    async def text(
        self,
        node: str,
        room: str,
        sender: str,
        *,
        to: str,
        message: str,
        meta: RequestMeta | None = None,
    ) -> str:
        """Say something to one participant, or to ``all``; return where it stands in the log."""
        request = SendText(room=room, sender=sender, to=to, message=message, meta=meta)
        return (await self._call(node, "text", request, TextStored)).seq

    async def lose_connection(
        self,
        node: str,
        room: str,
        participant: str,
        *,
        portal: str,
        grace_ms: int,
        epoch: int | None = None,
        told: str | None = None,
        meta: RequestMeta | None = None,
    ) -> None:
        """Say that somebody's connection to a portal was lost; who is not back in time leaves."""
        request = LoseConnection(
            room=room,
            participant=participant,
            portal=portal,
            grace_ms=grace_ms,
            epoch=epoch,
            told=told,
            meta=meta,
        )
        await self._call(node, "lose_connection", request, Nothing)

    async def come_back(
        self,
        node: str,
        room: str,
        participant: str,
        *,
        portal: str,
        incarnation: str | None = None,
        meta: RequestMeta | None = None,
    ) -> IsBack:
        """Say that somebody is connected again, perhaps at another portal."""
        request = ComeBack(
            room=room, participant=participant, portal=portal, incarnation=incarnation, meta=meta
        )
        return await self._call(node, "come_back", request, IsBack)

    async def get_participants(self, node: str, room: str) -> tuple[ParticipantView, ...]:
        """Return who is in a room, in the order of joining."""
        reply = await self._call(node, "get_participants", OfRoom(room=room), Participants)
        if reply.listing is None:
            return reply.participants
        return await self._listed(node, room, reply.listing)

    async def get_room(self, node: str, room: str) -> ShownRoom:
        """Return a room with all who are in it."""
        shown = await self._call(node, "get_room", OfRoom(room=room), ShownRoom)
        if shown.listing is None:
            return shown
        participants = await self._listed(node, room, shown.listing)
        full = msgspec.structs.replace(shown.room, participants=participants)
        return msgspec.structs.replace(shown, room=full, listing=None)

    async def _listed(self, node: str, room: str, listing: ListingView) -> tuple[ParticipantView, ...]:
        async def fetch(name: str, start: int) -> tuple[Change, ...]:
            request = GetChanges(room=room, list=name, start=start)
            return (await self._call(node, "get_changes", request, Changes)).changes

        return await self._listings.participants(room, listing, fetch)

    async def _call(self, node: str, method: str, request: Request, reply: type[Reply]) -> Reply:
        subject = f"{CONTROLLER}.{node}.{method}"
        return await self._caller.call(subject, request, reply, absent=Code.NO_SUCH_NODE)
