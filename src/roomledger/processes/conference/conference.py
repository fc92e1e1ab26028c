"""The conference worker: gives rooms to its nodes, tells the cluster which it runs, and loses none."""

import asyncio
from collections.abc import Coroutine
from datetime import timedelta
from os import cpu_count
from typing import Any, Final
from weakref import WeakValueDictionary

import structlog
from nats.aio.client import Client

from roomledger import __version__
from roomledger.domain.errors import Code, Refusal
from roomledger.event_store.store import EventStore
from roomledger.processes.conference.adoption import Adoption
from roomledger.processes.conference.node import Node
from roomledger.processes.conference.node_calls import NodeCalls, RoomEnded
from roomledger.processes.conference.node_ledger import NodeLedger
from roomledger.processes.conference.node_process import NodeProcess, NodeWithin, RunningNode
from roomledger.processes.conference.nodes import Nodes, Patience
from roomledger.processes.conference.pool import NodeView, Pool
from roomledger.runtime.calls import Method, Nothing, RequestMeta, Service, serve
from roomledger.runtime.commands import Meta
from roomledger.runtime.ending import end
from roomledger.sdk import room_shapes as shapes
from roomledger.sdk.cluster import Cluster
from roomledger.sdk.former import end_former
from roomledger.sdk.rooms import CONFERENCE
from roomledger.sdk.rooms import Conference as OtherWorkers
from roomledger.sdk.worker import MoveTasks, TaskReleased, Worker
from roomledger.settings import Settings
from roomledger_events.envelope import Event
from roomledger_events.identifiers import new_id, new_secret_id
from roomledger_events.nodes import NodeAssigned, NodeReleased
from roomledger_events.subjects import Subjects
from roomledger_events.workers import WorkerInfo

PURPOSE: Final = "conference"
MAX_LOAD: Final = 0.95
ROOMS_AT_FULL_LOAD: Final = 1000
"""How many rooms on a node mean that it has enough."""
LEDGER_S: Final = 2.0
"""How long a worker that stops waits for the log to be told of its nodes."""
_AGAIN: Final = frozenset({Code.NO_SUCH_NODE, Code.NOT_READY})
"""Refusals of a node that is on its way out; another one takes its place."""
_TRIES: Final = 20
_PAUSE_S: Final = 0.05
_LONG_PAUSE_S: Final = 0.5

log = structlog.get_logger(__name__)


class Conference:
    """One conference worker.

    Args:
        settings: What can be set.
        broker: A connection of its own.
        store: The log, on that connection.
    """

    def __init__(self, settings: Settings, broker: Client, store: EventStore) -> None:
        self.id = settings.worker_id or f"conference-{new_secret_id()[:8]}"
        self._settings = settings
        self._broker = broker
        self._store = store
        self._actor = f"worker:{self.id}"
        self._cluster = Cluster(broker, actor=self._actor)
        self._others = OtherWorkers(broker, actor=self._actor)
        self._calls = NodeCalls(broker, self.id)
        self._ledger = NodeLedger(store, self.id)
        self._nodes = Nodes(
            broker,
            _pool(settings),
            self._ledger,
            self._make_node,
            worker=self.id,
            patience=Patience(
                ready_s=settings.node_ready_ms / 1000,
                silence_s=settings.node_silence_ms / 1000,
            ),
            lost=self._node_gone,
        )
        self._worker = Worker(
            self._cluster,
            purpose=PURPOSE,
            worker=self.id,
            info=WorkerInfo(ip=settings.advertise or settings.host, max_load=MAX_LOAD),
            load=self._load,
        )
        self._adoption = Adoption(
            store, self._cluster, worker=self.id, purpose=PURPOSE, run=self._run_if_occupied
        )
        # A room may be asked for again while its end is being told; the two must not overtake each other.
        self._changing: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._epochs: dict[str, int] = {}
        self._service: Service | None = None
        self._working: set[asyncio.Task[None]] = set()
        self._listening: asyncio.Task[None] | None = None

    @property
    def nodes(self) -> tuple[NodeView, ...]:
        """The nodes, the oldest first."""
        return tuple(self._nodes.pool.views())

    @property
    def rooms(self) -> int:
        """How many rooms they run."""
        return self._nodes.pool.rooms

    async def start(self) -> None:
        """Start nodes, answer on ``rpc.conference.<worker>``, and join the cluster.

        Raises:
            LogUnavailable: The log could not be read.
            Refusal: The cluster does not take it.
        """
        await self._ledger.start()
        self._service = await serve(
            self._broker,
            name="conference",
            version=__version__,
            prefix=f"{CONFERENCE}.{self.id}",
            methods={
                "get_node": Method(shapes.GetNode, self._get_node),
                "recycle_node": Method(shapes.OfNode, self._recycle_node),
                "query_node": Method(shapes.QueryNode, self._query_node),
                "get_nodes": Method(shapes.GetNodes, self._get_nodes),
                "room_ended": Method(RoomEnded, self._room_ended),
            },
        )
        await self._nodes.start()
        await end_former(self._cluster, purpose=PURPOSE, worker=self.id)
        await self._worker.start()
        self._adoption.start()
        self._listening = asyncio.create_task(self._listen(), name=f"news for {self.id}")

    async def stop(self) -> None:
        """Quit the cluster; the rooms stay as they are for the next worker."""
        await self._adoption.stop()
        await self._worker.stop()
        await end(self._listening, *self._working)
        if self._service is not None:
            await self._service.stop()
        await self._nodes.stop()
        await self._ledger.stop(LEDGER_S)

    async def failed(self) -> BaseException:
        """Return what ended the work that cannot be mended here, such as a log that was replaced."""
        watched = [
            asyncio.ensure_future(self._nodes.failed()),
            asyncio.ensure_future(self._adoption.failed()),
        ]
        try:
            done, _ = await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)
            return done.pop().result()
        finally:
            await end(*watched)

    def _make_node(self, node: str) -> RunningNode:
        settings = self._settings
        if settings.node_processes:
            return NodeProcess(settings, node, self.id)
        return NodeWithin(
            Node(
                self._broker,
                self._store,
                Subjects(settings.ledger, settings.feed),
                node=node,
                worker=self.id,
                release_after=timedelta(milliseconds=settings.room_release_ms),
                grace_ms=settings.reconnection_timeout_ms,
            )
        )

    def _load(self) -> float:
        pool = self._nodes.pool
        return min(1.0, max(pool.rooms / (ROOMS_AT_FULL_LOAD * pool.limit), 0 if pool.reuse else pool.taken))

    # -- What others ask

    async def _get_node(self, request: shapes.GetNode, meta: Meta) -> shapes.NodeFound:
        if request.task != request.room:
            raise Refusal(Code.INVALID_ARGUMENT, "the task of a room is the room's id")
        await self._check_placement(request.room)
        try:
            node = await self._run(request.room, meta)
        except Refusal as refusal:
            if refusal.code is Code.NO_SUCH_ROOM:
                self._begin(self._cluster.unschedule(self.id, request.room), f"giving {request.room} back")
            raise
        if node is None:
            raise RuntimeError("a room is only left alone where that was asked for")
        return shapes.NodeFound(node=node)

    async def _check_placement(self, room: str) -> None:
        """Refuse a room that another worker has by now: the request may have waited in a halted process."""
        try:
            holder = (await self._cluster.get_scheduled(PURPOSE, room)).worker
        except Refusal as refusal:
            if refusal.code is Code.NO_SUCH_TASK:
                return
            raise
        if holder != self.id:
            raise Refusal(Code.WRONG_CONTROLLER, f"room {room} is with worker {holder} now", worker=holder)

    async def _recycle_node(self, request: shapes.OfNode, _: Meta) -> shapes.Moved:
        view = self._nodes.pool.view(request.node)
        await self._nodes.recycle(request.node)
        return shapes.Moved(rooms=0 if view is None else len(view.rooms))

    async def _query_node(self, request: shapes.QueryNode, _: Meta) -> shapes.NodeView:
        if (request.node is None) == (request.room is None):
            raise Refusal(Code.INVALID_ARGUMENT, "either a node or a room is to be named")
        node = request.node or self._nodes.pool.node_of(request.room or "")
        return self._shown(self._view(node))

    async def _get_nodes(self, _: shapes.GetNodes, __: Meta) -> shapes.Nodes:
        return shapes.Nodes(nodes=tuple(map(self._shown, self.nodes)))

    async def _room_ended(self, request: RoomEnded, _: Meta) -> Nothing:
        room = request.room
        async with self._lock(room):
            mine = self._nodes.pool.node_of(room) == request.node
            if mine and self._epochs.get(room) == request.epoch:
                await self._end_room(room, deleted=request.deleted)
        return Nothing()

    def _view(self, node: str | None) -> NodeView:
        view = None if node is None else self._nodes.pool.view(node)
        if view is None:
            raise Refusal(Code.NO_SUCH_NODE, f"worker {self.id} has no such node")
        return view

    def _shown(self, view: NodeView) -> shapes.NodeView:
        pid = self._nodes.pid(view.node)
        return shapes.NodeView(node=view.node, state=view.phase, pid=pid, rooms=view.rooms)

    # -- Rooms

    async def _run(self, room: str, meta: Meta, *, if_occupied: bool = False) -> str | None:
        """Have a room run by a node, and return the node; None if it is empty and to be left alone then.

        Raises:
            Refusal: There is no such room, no node is to be had, or the log is out of reach.
        """
        async with self._lock(room):
            for tries_left in reversed(range(_TRIES)):
                node = await self._nodes.give(room)
                ask = RequestMeta(command=new_id(), correlation=meta.correlation, causation=meta.causation)
                try:
                    epoch = await self._nodes.ask(
                        node, self._calls.run(node, room, ask, if_occupied=if_occupied)
                    )
                except Refusal as refusal:
                    if refusal.code not in _AGAIN or not tries_left:
                        if room not in self._epochs:
                            self._nodes.take(room)
                        raise
                    await asyncio.sleep(_PAUSE_S)
                    continue
                if epoch:
                    await self._runs(room, node, epoch, meta)
                    return node
                self._nodes.take(room)
                return None
            raise AssertionError("unreachable: the last try returns or raises")

    async def _runs(self, room: str, node: str, epoch: int, meta: Meta) -> None:
        """Take note that a room is run."""
        if self._epochs.get(room) != epoch:
            self._epochs[room] = epoch
            self._ledger.note(NodeAssigned(node=node, room=room), about=node, meta=meta)
        if room not in self._worker.tasks:
            try:
                await self._worker.pick_up(room, RequestMeta(correlation=meta.correlation, actor=self._actor))
            except Refusal as refusal:
                log.warning("a room's task could not be picked up", room=room, why=str(refusal))

    async def _run_if_occupied(self, room: str, meta: Meta) -> bool:
        return await self._run(room, meta, if_occupied=True) is not None

    async def _end_room(self, room: str, *, deleted: bool) -> None:
        """Take note that a room is run here no more, and tell the cluster."""
        node = self._nodes.pool.node_of(room)
        self._epochs.pop(room, None)
        if node is not None:
            self._ledger.note(NodeReleased(node=node, room=room), about=node)
            self._nodes.take(room)
        try:
            await self._worker.lay_down(room)
            if deleted:
                await self._cluster.unschedule(self.id, room)
        except Refusal as refusal:
            log.warning("the end of a room was not told to the cluster", room=room, why=str(refusal))

    def _lock(self, room: str) -> asyncio.Lock:
        return self._changing.setdefault(room, asyncio.Lock())

    # -- Nodes that are gone

    def _node_gone(self, rooms: tuple[str, ...], gone: Event) -> None:
        meta = Meta(self._actor, correlation=gone.correlationid, causation=gone.id)
        for room in rooms:
            self._begin(self._take_over(room, meta), f"taking {room} over")

    async def _take_over(self, room: str, meta: Meta) -> None:
        """Have another node run a room whose node is gone; an empty one is over."""
        while True:
            try:
                node = await self._run(room, meta, if_occupied=True)
                break
            except Refusal as refusal:
                if refusal.code is Code.NO_SUCH_ROOM:
                    node = None
                    break
                log.warning("a room is not taken over yet", room=room, why=str(refusal))
            await asyncio.sleep(_LONG_PAUSE_S)
        if node is None:
            async with self._lock(room):
                if self._nodes.pool.node_of(room) is None:
                    await self._end_room(room, deleted=False)

    # -- What the cluster says

    async def _listen(self) -> None:
        async for news in self._worker:
            if isinstance(news, MoveTasks):
                for room in news.tasks:
                    self._begin(self._move_out(room), f"moving {room} out")
            elif isinstance(news, TaskReleased):
                self._begin(self._let_go(news.task), f"letting go of {news.task}")

    async def _let_go(self, room: str) -> None:
        """Run a room no more that is another worker's now; that one need not have taken it over yet."""
        async with self._lock(room):
            node = self._nodes.pool.node_of(room)
            if room in self._worker.tasks or node is None:
                return
            epoch = self._epochs.pop(room, None)
            try:
                if epoch is not None:
                    await self._nodes.ask(node, self._calls.let_go(node, room, epoch))
            except Refusal as refusal:
                log.warning("a room that is another's was not let go of", room=room, why=str(refusal))
            self._ledger.note(NodeReleased(node=node, room=room), about=node)
            self._nodes.take(room)

    async def _move_out(self, room: str) -> None:
        """Give a room to another worker, which takes it over; without another one it stays."""
        try:
            await self._worker.lay_down(room)
            scheduled = await self._cluster.schedule(PURPOSE, room)
            if scheduled.worker != self.id:
                await self._others.get_node(scheduled.worker, room)
                return
        except Refusal as refusal:
            log.warning("a room could not be moved to another worker", room=room, why=str(refusal))
        if room in self._epochs:
            await self._worker.pick_up(room)

    def _begin(self, work: Coroutine[Any, Any, None], name: str) -> None:
        async def do() -> None:
            try:
                await work
            except Exception:
                log.exception("something failed in the background", what=name)

        task = asyncio.create_task(do(), name=name)
        self._working.add(task)
        task.add_done_callback(self._working.discard)


def _pool(settings: Settings) -> Pool:
    """Return a pool as the settings want it; within this process there is one node, which stays."""
    if not settings.node_processes:
        return Pool(prerun=1, limit=1, reuse=True, recycle=False)
    return Pool(
        prerun=settings.prerun,
        limit=settings.max_nodes or cpu_count() or 1,
        reuse=settings.reuse,
        recycle=True,
    )
