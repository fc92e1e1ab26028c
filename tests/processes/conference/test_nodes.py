import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack

import pytest

from roomledger.domain.errors import Code, Refusal
from roomledger.event_store.connection import Connection
from roomledger.processes.conference import nodes as nodes_module
from roomledger.processes.conference.node_calls import WorkerCalls
from roomledger.processes.conference.node_ledger import NodeLedger
from roomledger.processes.conference.nodes import Nodes, Patience
from roomledger.processes.conference.pool import Phase, Pool
from roomledger_events.envelope import Event
from roomledger_events.subjects import Kind
from tests.support.cluster import TestCluster
from tests.support.nats import until


class Fake:
    """A node that does no more than to beat, and what a test has it do."""

    def __init__(self, broker: Connection, node: str, *, beats: bool = True) -> None:
        self.node = node
        self.beats = beats
        self._calls = WorkerCalls(broker, "c1", node)
        self._end: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._beating: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        return 4711

    async def start(self) -> None:
        self._beating = asyncio.create_task(self._beat())

    async def stop(self) -> None:
        self.end("exit status 0")

    def kill(self) -> None:
        self.end("signal 9")

    def end(self, how: str) -> None:
        self.beats = False
        if not self._end.done():
            self._end.set_result(how)

    async def ended(self) -> str:
        return await self._end

    async def _beat(self) -> None:
        while not self._end.done():
            if self.beats:
                await self._calls.beat()
            await asyncio.sleep(0.05)


class Stage:
    """The nodes that were made, and the rooms that were lost; `beats` is how those are made that come."""

    nodes: Nodes

    def __init__(self, *, beats: bool) -> None:
        self.beats = beats
        self.made: list[Fake] = []
        self.lost: list[tuple[tuple[str, ...], Event]] = []

    def phases(self) -> list[Phase]:
        return [view.phase for view in self.nodes.pool.views()]


Open = Callable[..., Awaitable[Stage]]


@pytest.fixture
async def opened(cluster: TestCluster) -> AsyncIterator[Open]:
    async with AsyncExitStack() as stack:

        async def open_(
            *,
            prerun: int = 1,
            limit: int = 2,
            beats: bool = True,
            ready_s: float = 5,
            silence_s: float = 5,
            start: bool = True,
        ) -> Stage:
            stage = Stage(beats=beats)

            def make(node: str) -> Fake:
                stage.made.append(Fake(cluster.access.broker, node, beats=stage.beats))
                return stage.made[-1]

            ledger = NodeLedger(cluster.access.store, "c1")
            await ledger.start()
            stack.push_async_callback(ledger.stop, 5)
            stage.nodes = Nodes(
                cluster.access.broker,
                Pool(prerun=prerun, limit=limit, reuse=True, recycle=True),
                ledger,
                make,
                worker="c1",
                patience=Patience(ready_s, silence_s),
                lost=lambda rooms, died: stage.lost.append((rooms, died)),
            )
            stack.push_async_callback(stage.nodes.stop)
            if start:
                await stage.nodes.start()
            return stage

        yield open_


async def test_a_worker_has_a_node_when_it_has_started(opened: Open) -> None:
    stage = await opened(prerun=2)
    assert Phase.WARM in stage.phases()
    assert len(stage.made) == 2


async def test_a_node_that_a_room_took_is_replaced_by_another_warm_one(opened: Open) -> None:
    stage = await opened(prerun=1, limit=2)
    node = await stage.nodes.give("r1")
    assert node == stage.made[0].node
    await until(lambda: stage.phases() == [Phase.ASSIGNED, Phase.WARM])


async def test_a_room_waits_for_a_node_that_is_on_its_way(opened: Open) -> None:
    stage = await opened(prerun=0, limit=1)
    assert await stage.nodes.give("r1") == stage.made[0].node


async def test_without_a_node_that_is_ready_in_time_there_is_none_to_be_had(opened: Open) -> None:
    stage = await opened(prerun=0, limit=1, beats=False, ready_s=0.2)
    with pytest.raises(Refusal) as refused:
        await stage.nodes.give("r1")
    assert refused.value.code is Code.NO_NODE
    assert refused.value.retry_after_ms is not None


async def test_a_room_for_which_no_node_is_ready_in_time_shares_one(opened: Open) -> None:
    stage = await opened(prerun=1, limit=2, ready_s=0.2)
    stage.beats = False
    first = await stage.nodes.give("r1")
    await until(lambda: len(stage.made) == 2)
    assert await stage.nodes.give("r2") == first


async def test_a_node_that_dies_is_replaced_and_its_rooms_are_told(opened: Open) -> None:
    stage = await opened(limit=1)
    await stage.nodes.give("r1")
    await stage.nodes.give("r2")
    stage.made[0].end("signal 9")
    await until(lambda: stage.phases() == [Phase.WARM])
    ((rooms, died),) = stage.lost
    assert rooms == ("r1", "r2")
    assert died.type == "NodeDied"
    assert died.subject == stage.made[0].node


async def test_a_node_that_hangs_is_killed(cluster: TestCluster, opened: Open) -> None:
    stage = await opened(limit=1, silence_s=0.3)
    await stage.nodes.give("r1")
    stage.made[0].beats = False
    await until(lambda: bool(stage.lost))
    ((_, died),) = stage.lost
    assert getattr(died.data, "reason", "") == "silent for 0.3 s"
    await until(lambda: len(stage.made) == 2)

    async def told() -> bool:
        return "NodeDied" in await cluster.types(Kind.NODES, "c1")

    await until(told)


async def test_nodes_are_not_given_up_while_nobody_could_be_heard(cluster: TestCluster, opened: Open) -> None:
    stage = await opened(limit=1, silence_s=0.3)
    await cluster.server.stop()
    await asyncio.sleep(0.6)
    await cluster.server.start()
    await until(lambda: cluster.access.broker.is_connected)
    assert len(stage.made) == 1
    assert not stage.lost


async def test_a_node_whose_last_room_has_gone_is_recycled(cluster: TestCluster, opened: Open) -> None:
    stage = await opened(limit=1)
    await stage.nodes.give("r1")
    stage.nodes.take("r1")
    await until(lambda: len(stage.made) == 2 and stage.phases() == [Phase.WARM])
    assert not stage.lost

    async def told() -> bool:
        types = await cluster.types(Kind.NODES, "c1")
        return types == ["NodeStarted", "NodeReady", "NodeStopped", "NodeStarted", "NodeReady"]

    await until(told)


async def test_a_node_that_dies_again_and_again_is_not_started_without_end(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nodes_module, "_FIRST_PAUSE_S", 0.2)
    stage = await opened(prerun=1, limit=1, beats=False, start=False)
    starting = asyncio.create_task(stage.nodes.start())
    loop = asyncio.get_running_loop()
    begun = loop.time()
    for number in range(1, 4):
        await until(lambda number=number: len(stage.made) == number)
        stage.made[-1].end("exit status 1")
    await until(lambda: len(stage.made) == 4)
    assert loop.time() - begun >= 0.2 + 0.4 + 0.8
    stage.made[-1].beats = True
    await starting


async def test_a_question_ends_with_the_node_that_was_asked(opened: Open) -> None:
    stage = await opened(limit=1)
    node = await stage.nodes.give("r1")
    asking = asyncio.create_task(stage.nodes.ask(node, asyncio.sleep(60)))
    await asyncio.sleep(0)
    stage.made[0].end("signal 9")
    with pytest.raises(Refusal) as refused:
        await asking
    assert refused.value.code is Code.NO_SUCH_NODE


async def test_a_beat_of_no_node_is_passed_over(cluster: TestCluster, opened: Open) -> None:
    stage = await opened()
    for body in (b"", b"{", b"[]", b'{"node": 7}', b'{"node": "stranger"}'):
        await cluster.access.broker.publish("rpc.beats.c1", body)
    await cluster.access.broker.flush()
    assert await stage.nodes.give("r1") == stage.made[0].node
