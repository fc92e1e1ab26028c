"""A node: runs the controllers of rooms, answers for them, and tells its worker what becomes of them."""

import asyncio
from datetime import timedelta
from typing import Final

import structlog
from nats.aio.client import Client

from roomledger import __version__
from roomledger.domain.errors import Code, Refusal
from roomledger.domain.room import room_decider
from roomledger.event_store.errors import Conflict, LogUnavailable
from roomledger.event_store.store import EventStore
from roomledger.processes.conference.controller import RoomController
from roomledger.processes.conference.controller_methods import controller_methods
from roomledger.processes.conference.node_calls import BEAT_S, NODE, LetGo, RoomRun, RunRoom, WorkerCalls
from roomledger.processes.conference.portal_watch import PortalWatch
from roomledger.runtime.calls import Method, Nothing, Service, serve
from roomledger.runtime.commands import Meta
from roomledger.runtime.ending import end
from roomledger.sdk.cluster import Cluster
from roomledger.sdk.rooms import CONTROLLER
from roomledger_events.subjects import Subjects

_PAUSE_S: Final = 1.0

log = structlog.get_logger(__name__)


class Node:
    """Runs rooms.

    Args:
        broker: The connection that it answers on.
        store: The log.
        subjects: The cluster's subjects.
        node: Its id.
        worker: The conference worker that it belongs to.
        release_after: How long the controller of an empty room stays.
        grace_ms: How long rooms wait for those whose portal died without a word.
    """

    def __init__(
        self,
        broker: Client,
        store: EventStore,
        subjects: Subjects,
        *,
        node: str,
        worker: str,
        release_after: timedelta,
        grace_ms: int,
    ) -> None:
        self.id = node
        self._broker = broker
        self._store = store
        self._subjects = subjects
        self._worker = worker
        self._rules = room_decider(release_after)
        self._calls = WorkerCalls(broker, worker, node)
        self._controllers: dict[str, RoomController] = {}
        self._portals = PortalWatch(
            Cluster(broker, actor=f"node:{node}"), self._controllers.values, grace_ms=grace_ms
        )
        self._starting: dict[str, asyncio.Task[RoomController | None]] = {}
        self._telling: set[asyncio.Task[None]] = set()
        self._services: list[Service] = []
        self._beating: asyncio.Task[None] | None = None

    @property
    def rooms(self) -> int:
        """How many rooms it runs."""
        return len(self._controllers)

    async def start(self) -> None:
        """Answer on ``rpc.controller.<node>`` and ``rpc.node.<node>``, and beat."""
        services = {
            "controller": (f"{CONTROLLER}.{self.id}", controller_methods(self.controller)),
            "node": (
                f"{NODE}.{self.id}",
                {"run": Method(RunRoom, self._run), "let_go": Method(LetGo, self._let_go)},
            ),
        }
        for name, (prefix, methods) in services.items():
            self._services.append(
                await serve(self._broker, name=name, version=__version__, prefix=prefix, methods=methods)
            )
        self._portals.start()
        self._beating = asyncio.create_task(self._beat(), name=f"beat {self.id}")

    async def stop(self) -> None:
        """Answer no more; the rooms stay as they are for the next node."""
        await end(self._beating)
        await self._portals.stop()
        for service in self._services:
            await service.stop()
        await asyncio.gather(*self._starting.values(), return_exceptions=True)
        await asyncio.gather(*(controller.stop() for controller in self._controllers.values()))
        self._controllers.clear()
        await end(*self._telling)

    def controller(self, room: str) -> RoomController:
        """Return the controller of a room.

        Raises:
            Refusal: The room is not run here.
        """
        controller = self._controllers.get(room)
        if controller is None:
            raise Refusal(Code.WRONG_CONTROLLER, f"node {self.id} does not run room {room}")
        return controller

    async def _run(self, request: RunRoom, meta: Meta) -> RoomRun:
        """Run a room, if it is not run here already."""
        room = request.room
        while (controller := self._controllers.get(room)) is None:
            starting = self._starting.get(room)
            mine = starting is None
            if starting is None:
                starting = asyncio.create_task(self._start(request, meta), name=f"taking {room} over")
                self._starting[room] = starting
            controller = await asyncio.shield(starting)
            if controller is not None or mine:
                break
        return RoomRun(epoch=0 if controller is None else controller.epoch)

    async def _let_go(self, request: LetGo, _: Meta) -> Nothing:
        """Stop the controller of a room, if it is still the one that is meant."""
        controller = self._controllers.get(request.room)
        if controller is not None and controller.epoch == request.epoch:
            del self._controllers[request.room]
            await controller.stop()
        return Nothing()

    async def _start(self, request: RunRoom, meta: Meta) -> RoomController | None:
        try:
            return await self._take_over(request, meta)
        finally:
            # Here, and not when it has ended: whoever found an ended one would ask for ever, without a pause.
            del self._starting[request.room]

    async def _take_over(self, request: RunRoom, meta: Meta) -> RoomController | None:
        controller = RoomController(
            self._broker,
            self._store,
            self._subjects,
            self._rules,
            room=request.room,
            worker=self._worker,
            node=self.id,
            ended=self._forget,
        )
        try:
            taken = await controller.start(meta, if_occupied=request.if_occupied)
        except (LogUnavailable, Conflict) as error:
            raise Refusal(Code.LOG_UNAVAILABLE, str(error)) from error
        if not taken:
            return None
        self._controllers[request.room] = controller
        return controller

    def _forget(self, controller: RoomController) -> None:
        if self._controllers.get(controller.room) is controller:
            del self._controllers[controller.room]
            telling = asyncio.create_task(self._tell_ended(controller), name=f"end of {controller.room}")
            self._telling.add(telling)
            telling.add_done_callback(self._telling.discard)

    async def _tell_ended(self, controller: RoomController) -> None:
        """Tell the worker that a room is run here no more, for as long as it takes."""
        while True:
            try:
                await self._calls.room_ended(controller.room, controller.epoch, deleted=controller.deleted)
                break
            except Refusal as refusal:
                log.warning("a room's end was not told yet", room=controller.room, why=str(refusal))
            await asyncio.sleep(_PAUSE_S)

    async def _beat(self) -> None:
        while True:
            if self._broker.is_connected:
                await self._calls.beat()
            await asyncio.sleep(BEAT_S)
