"""The conference worker: gives rooms to its node, and tells the cluster which it runs."""

import asyncio
from weakref import WeakValueDictionary

import structlog
from nats.aio.client import Client

from roomledger import __version__
from roomledger.domain.errors import Refusal
from roomledger.event_store.errors import EventStoreError
from roomledger.event_store.store import EventStore
from roomledger.processes.conference.node import Node
from roomledger.processes.conference.node_ledger import NodeLedger
from roomledger.runtime.calls import Method, RequestMeta, Service, serve
from roomledger.runtime.commands import Meta
from roomledger.runtime.ending import end
from roomledger.sdk.cluster import Cluster
from roomledger.sdk.former import end_former
from roomledger.sdk.rooms import CONFERENCE, GetNode, NodeFound
from roomledger.sdk.worker import Worker
from roomledger.settings import Settings
from roomledger_events.identifiers import new_secret_id
from roomledger_events.nodes import NodeAssigned, NodeReady, NodeReleased, NodeStarted, NodeStopped
from roomledger_events.subjects import Subjects
from roomledger_events.workers import WorkerInfo

PURPOSE = "conference"
ROOMS_AT_FULL_LOAD = 1000
"""How many rooms on the node mean a load of 1."""

log = structlog.get_logger(__name__)


class Conference:
    """One conference worker with one node in the same process.

    Args:
        settings: What can be set.
        broker: A connection of its own.
        store: The log, on that connection.
    """

    def __init__(self, settings: Settings, broker: Client, store: EventStore) -> None:
        suffix = new_secret_id()[:8]
        self.id = settings.worker_id or f"conference-{suffix}"
        self._broker = broker
        self.node = Node(
            broker,
            store,
            Subjects(settings.ledger, settings.feed),
            node=f"node-{suffix}",
            worker=self.id,
        )
        self._ledger = NodeLedger(store, self.id, source=f"conference/{self.id}")
        self._cluster = Cluster(broker, actor=f"worker:{self.id}")
        self._worker = Worker(
            self._cluster,
            purpose=PURPOSE,
            worker=self.id,
            info=WorkerInfo(ip=settings.advertise or settings.host, max_load=0.95),
            load=lambda: min(1.0, self.node.rooms / ROOMS_AT_FULL_LOAD),
        )
        # A room may be asked for again while its end is being told; the two must not overtake each other.
        self._changing: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._service: Service | None = None
        self._laying_down: asyncio.Task[None] | None = None
        self._meta = Meta(actor=f"worker:{self.id}")

    async def start(self) -> None:
        """Start the node, answer on ``rpc.conference.<worker>``, and join the cluster.

        Raises:
            EventStoreError: The log could not take the node's events.
        """
        await self._ledger.load()
        await self._ledger.append(NodeStarted(node=self.node.id), about=self.node.id)
        await self.node.start()
        await self._ledger.append(NodeReady(node=self.node.id), about=self.node.id)
        self._service = await serve(
            self._broker,
            name="conference",
            version=__version__,
            prefix=f"{CONFERENCE}.{self.id}",
            methods={"get_node": Method(GetNode, self._get_node)},
        )
        await end_former(self._cluster, purpose=PURPOSE, worker=self.id)
        await self._worker.start()
        self._laying_down = asyncio.create_task(self._lay_down_ended(), name=f"rooms of {self.id}")

    async def stop(self) -> None:
        """Quit the cluster; the rooms stay as they are for the next worker."""
        await self._worker.stop()
        await end(self._laying_down)
        if self._service is not None:
            await self._service.stop()
        await self.node.stop()
        try:
            await self._ledger.append(NodeStopped(node=self.node.id, reason="quit"), about=self.node.id)
        except EventStoreError as error:
            log.warning("the log was not told that the node stopped", node=self.node.id, why=str(error))

    async def failed(self) -> BaseException:
        """Return what ended the work that cannot be mended here; nothing does so but a fault of ours."""
        ended = self._laying_down
        if ended is None:
            raise RuntimeError("a conference worker is watched after its start")
        await asyncio.wait({ended})
        return ended.exception() or asyncio.CancelledError()

    async def _get_node(self, request: GetNode, meta: Meta) -> NodeFound:
        async with self._changing.setdefault(request.room, asyncio.Lock()):
            if await self.node.run(request.room, meta):
                about = self.node.id
                await self._ledger.append(NodeAssigned(node=about, room=request.room), about=about, meta=meta)
                await self._worker.pick_up(
                    request.task, RequestMeta(correlation=meta.correlation, actor=f"worker:{self.id}")
                )
        return NodeFound(node=self.node.id)

    async def _lay_down_ended(self) -> None:
        """Tell the cluster and the log of rooms that are run here no more."""
        while True:
            room, deleted = await self.node.ended.get()
            async with self._changing.setdefault(room, asyncio.Lock()):
                if self.node.runs(room):
                    continue  # it was created anew, or came back, and is run here again
                try:
                    await self._ledger.append(NodeReleased(node=self.node.id, room=room), about=self.node.id)
                    await self._worker.lay_down(room)
                    if deleted:
                        await self._cluster.unschedule(self.id, room)
                except (Refusal, EventStoreError) as error:
                    log.warning("a room's end was not told", room=room, why=str(error))
