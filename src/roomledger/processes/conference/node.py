"""A node: runs the controllers of rooms, and answers for them."""

import asyncio
from typing import NamedTuple

import structlog
from nats.aio.client import Client

from roomledger import __version__
from roomledger.domain import room_commands
from roomledger.domain.admission import Admission, Present
from roomledger.domain.errors import Code, Refusal
from roomledger.domain.room_commands import Join, Leave, MediaChange, PermissionChange
from roomledger.event_store.errors import Conflict, LogUnavailable
from roomledger.event_store.store import EventStore
from roomledger.processes.conference.controller import RoomController
from roomledger.runtime.calls import Method, Nothing, Service, serve
from roomledger.runtime.commands import Meta, Query
from roomledger.sdk.rooms import (
    CONTROLLER,
    DropParticipant,
    Dropped,
    JoinedRoom,
    JoinRoom,
    LeaveRoom,
    OfRoom,
    Participants,
    ParticipantView,
    PermissionSet,
    RoomView,
    SetPermission,
)
from roomledger_events.subjects import Subjects

log = structlog.get_logger(__name__)


class Ended(NamedTuple):
    """A room that is run no more.

    Attributes:
        room: Which one.
        deleted: Whether there is no such room any more.
    """

    room: str
    deleted: bool


class Node:
    """Runs rooms.

    Args:
        broker: The connection that it answers on.
        store: The log.
        subjects: The cluster's subjects.
        node: Its id.
        worker: The conference worker that it belongs to.
    """

    def __init__(
        self, broker: Client, store: EventStore, subjects: Subjects, *, node: str, worker: str
    ) -> None:
        self.id = node
        self.ended: asyncio.Queue[Ended] = asyncio.Queue()
        self._broker = broker
        self._store = store
        self._subjects = subjects
        self._worker = worker
        self._controllers: dict[str, RoomController] = {}
        self._starting: dict[str, asyncio.Task[RoomController]] = {}
        self._service: Service | None = None

    @property
    def rooms(self) -> int:
        """How many rooms it runs."""
        return len(self._controllers)

    def runs(self, room: str) -> bool:
        """Whether it runs a room, or is about to."""
        return room in self._controllers or room in self._starting

    async def start(self) -> None:
        """Answer on ``rpc.controller.<node>``."""
        self._service = await serve(
            self._broker,
            name="controller",
            version=__version__,
            prefix=f"{CONTROLLER}.{self.id}",
            methods={
                "join": Method(JoinRoom, self._join),
                "leave": Method(LeaveRoom, self._leave),
                "drop": Method(DropParticipant, self._drop),
                "set_permission": Method(SetPermission, self._set_permission),
                "get_participants": Method(OfRoom, self._get_participants),
            },
        )

    async def stop(self) -> None:
        """Answer no more; the rooms stay as they are for the next node."""
        if self._service is not None:
            await self._service.stop()
        await asyncio.gather(*self._starting.values(), return_exceptions=True)
        await asyncio.gather(*(controller.stop() for controller in self._controllers.values()))
        self._controllers.clear()

    async def run(self, room: str, meta: Meta) -> bool:
        """Run a room; return whether it was not run here before.

        Raises:
            Refusal: There is no such room, or the log is out of reach.
        """
        if room in self._controllers:
            return False
        starting = self._starting.get(room)
        if starting is None:
            starting = asyncio.create_task(self._take_over(room, meta))
            self._starting[room] = starting
            starting.add_done_callback(lambda _: self._starting.pop(room, None))
            await asyncio.shield(starting)
            return True
        await asyncio.shield(starting)
        return False

    async def _take_over(self, room: str, meta: Meta) -> RoomController:
        controller = RoomController(
            self._broker,
            self._store,
            self._subjects,
            room=room,
            worker=self._worker,
            node=self.id,
            ended=self._forget,
        )
        try:
            await controller.start(meta)
        except (LogUnavailable, Conflict) as error:
            raise Refusal(Code.LOG_UNAVAILABLE, str(error)) from error
        self._controllers[room] = controller
        return controller

    def _forget(self, controller: RoomController) -> None:
        if self._controllers.get(controller.room) is controller:
            del self._controllers[controller.room]
            self.ended.put_nowait(Ended(controller.room, controller.deleted))

    def _controller(self, room: str) -> RoomController:
        controller = self._controllers.get(room)
        if controller is None:
            raise Refusal(Code.WRONG_CONTROLLER, f"node {self.id} does not run room {room}")
        return controller

    async def _join(self, request: JoinRoom, meta: Meta) -> JoinedRoom:
        controller = self._controller(request.room)
        await controller.learn_of_token(request.token)
        who = request.participant
        command = Join(
            participant=who.id,
            portal=who.portal,
            token=request.token,
            user=who.user,
            role=who.role,
            origin=None if who.origin is None else who.origin.plain(),
        )
        answer = await controller.decide(command, meta)
        admission: Admission = answer.value
        joined = admission.shown()
        return JoinedRoom(
            id=joined.id,
            user=joined.user,
            role=joined.role,
            permission=joined.permission,
            room=RoomView(
                id=joined.room.id,
                name=joined.room.name,
                views=tuple(joined.room.views),
                participants=_views(joined.room.participants),
            ),
            seq=str(answer.address),
        )

    async def _leave(self, request: LeaveRoom, meta: Meta) -> Nothing:
        command = Leave(participant=request.participant, reason=request.reason, portal=request.portal)
        await self._controller(request.room).decide(command, meta)
        return Nothing()

    async def _drop(self, request: DropParticipant, meta: Meta) -> Dropped:
        command = room_commands.Drop(request.participant, request.reason)
        answer = await self._controller(request.room).decide(command, meta)
        return Dropped(dropped=answer.value, seq=str(answer.address))

    async def _set_permission(self, request: SetPermission, meta: Meta) -> PermissionSet:
        wish = request.permission
        change = PermissionChange(
            publish=MediaChange(wish.publish.audio, wish.publish.video),
            subscribe=MediaChange(wish.subscribe.audio, wish.subscribe.video),
        )
        command = room_commands.SetPermission(request.participant, change)
        answer = await self._controller(request.room).decide(command, meta)
        return PermissionSet(permission=answer.value.permission, seq=str(answer.address))

    async def _get_participants(self, request: OfRoom, meta: Meta) -> Participants:
        answer = await self._controller(request.room).decide(
            Query(lambda state: state.roster.listing().participants()), meta
        )
        return Participants(participants=_views(answer.value), seq=str(answer.address))


def _views(participants: "list[Present]") -> tuple[ParticipantView, ...]:
    return tuple(ParticipantView(id=each.id, user=each.user, role=each.role) for each in participants)
