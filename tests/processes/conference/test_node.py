import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import timedelta

import pytest

from roomledger.domain.errors import Code, Refusal
from roomledger.processes.conference.node import Node
from roomledger.processes.conference.node_calls import NodeCalls, RoomEnded, beats
from roomledger.runtime.calls import Method, Nothing, RequestMeta, serve
from roomledger.runtime.commands import Meta
from roomledger.sdk.rooms import CONFERENCE, Controller
from roomledger_events.subjects import Kind, Subjects
from tests.support.cluster import TestCluster
from tests.support.nats import until

META = RequestMeta(correlation="test")
Start = Callable[..., Awaitable[Node]]


class Told(list[RoomEnded]):
    """What a conference worker is told by its nodes."""

    refuse = 0

    async def hear(self, request: RoomEnded, _: Meta) -> Nothing:
        if self.refuse:
            self.refuse -= 1
            raise Refusal(Code.INTERNAL, "not now")
        self.append(request)
        return Nothing()


@pytest.fixture
async def told(cluster: TestCluster) -> AsyncIterator[Told]:
    told_ = Told()
    methods = {"room_ended": Method(RoomEnded, told_.hear)}
    service = await serve(
        cluster.access.broker, name="conference", version="1.0.0", prefix=f"{CONFERENCE}.c1", methods=methods
    )
    yield told_
    await service.stop()


@pytest.fixture
async def start(cluster: TestCluster, told: Told) -> AsyncIterator[Start]:
    assert not told
    async with AsyncExitStack() as stack:

        async def start_(node: str, release_ms: int = 60_000) -> Node:
            access = await cluster.connect()
            started = Node(
                access.broker,
                access.store,
                Subjects(),
                node=node,
                worker="c1",
                release_after=timedelta(milliseconds=release_ms),
                grace_ms=60_000,
            )
            stack.push_async_callback(started.stop)
            await started.start()
            return started

        yield start_


@pytest.fixture
def calls(cluster: TestCluster) -> NodeCalls:
    return NodeCalls(cluster.access.broker, "c1")


async def test_a_node_beats(cluster: TestCluster, start: Start) -> None:
    heard: list[bytes] = []

    async def hear(message: object) -> None:
        heard.append(getattr(message, "data", b""))

    await cluster.access.broker.subscribe(beats("c1"), cb=hear)
    await start("n1")
    await until(lambda: len(heard) > 1)
    assert set(heard) == {b'{"node":"n1"}'}


async def test_a_room_is_run_once_however_many_ask(
    cluster: TestCluster, start: Start, calls: NodeCalls
) -> None:
    node = await start("n1")
    await cluster.room("r1")
    epochs = await asyncio.gather(*(calls.run("n1", "r1", META, if_occupied=False) for _ in range(10)))
    assert epochs == [1] * 10
    assert node.rooms == 1
    assert await cluster.types(Kind.ROOM, "r1") == ["RoomCreated", "ControllerTakenOver"]


async def test_an_empty_room_is_left_alone_where_that_is_asked_for(
    cluster: TestCluster, start: Start, calls: NodeCalls
) -> None:
    node = await start("n1")
    await cluster.room("r1")
    assert await calls.run("n1", "r1", META, if_occupied=True) == 0
    assert node.rooms == 0


async def test_who_wants_a_room_that_another_leaves_alone_gets_it(
    cluster: TestCluster, start: Start, calls: NodeCalls
) -> None:
    await start("n1")
    await cluster.room("r1")
    wanted = [calls.run("n1", "r1", META, if_occupied=each) for each in (True, False)]
    epochs = await asyncio.gather(*wanted)
    assert epochs[1] == 1


async def test_a_room_that_does_not_exist_is_refused(start: Start, calls: NodeCalls) -> None:
    await start("n1")
    with pytest.raises(Refusal) as refused:
        await calls.run("n1", "nowhere", META, if_occupied=False)
    assert refused.value.code is Code.NO_SUCH_ROOM


async def test_a_node_that_is_not_there_is_told_at_once(calls: NodeCalls) -> None:
    with pytest.raises(Refusal) as refused:
        await calls.run("nobody", "r1", META, if_occupied=False)
    assert refused.value.code is Code.NO_SUCH_NODE


async def test_an_empty_room_is_released_and_the_worker_told(
    cluster: TestCluster, start: Start, told: Told, calls: NodeCalls
) -> None:
    node = await start("n1", release_ms=100)
    await cluster.room("r1")
    await calls.run("n1", "r1", META, if_occupied=False)
    await until(lambda: bool(told))
    assert [(each.node, each.room, each.epoch, each.deleted) for each in told] == [("n1", "r1", 1, False)]
    assert node.rooms == 0
    assert (await cluster.types(Kind.ROOM, "r1"))[-1] == "ControllerReleased"


async def test_a_room_that_was_released_can_be_run_again(
    cluster: TestCluster, start: Start, told: Told, calls: NodeCalls
) -> None:
    await start("n1", release_ms=100)
    await cluster.room("r1")
    for epoch in (1, 2):
        assert await calls.run("n1", "r1", META, if_occupied=False) == epoch
        await until(lambda epoch=epoch: len(told) == epoch)


async def test_the_end_of_a_room_is_told_until_it_is_heard(
    cluster: TestCluster, start: Start, told: Told, calls: NodeCalls
) -> None:
    told.refuse = 1
    await start("n1", release_ms=50)
    await cluster.room("r1")
    await calls.run("n1", "r1", META, if_occupied=False)
    await until(lambda: bool(told))
    assert told.refuse == 0


async def test_the_worker_is_told_of_a_room_that_another_node_took_over(
    cluster: TestCluster, start: Start, told: Told, calls: NodeCalls
) -> None:
    await start("n1")
    await start("n2")
    await cluster.room("r1")
    await calls.run("n1", "r1", META, if_occupied=False)
    assert await calls.run("n2", "r1", META, if_occupied=False) == 2
    await until(lambda: bool(told))
    assert [(each.node, each.epoch) for each in told] == [("n1", 1)]


async def test_a_node_that_stops_leaves_its_rooms_as_they_are(
    cluster: TestCluster, start: Start, told: Told, calls: NodeCalls
) -> None:
    node = await start("n1")
    await cluster.room("r1")
    await calls.run("n1", "r1", META, if_occupied=False)
    await node.stop()
    assert not told
    assert (await cluster.types(Kind.ROOM, "r1"))[-1] == "ControllerTakenOver"
    with pytest.raises(Refusal) as refused:
        await Controller(cluster.access.broker, actor="test").get_participants("n1", "r1")
    assert refused.value.code is Code.NO_SUCH_NODE


async def test_no_room_is_found_starting_whose_start_has_ended(
    cluster: TestCluster, start: Start, calls: NodeCalls
) -> None:
    """Whoever found such a one would look again at once, and nobody else would have a turn any more."""
    await cluster.room("r1")
    node = await start("n1")
    stale = looks = 0

    async def look() -> None:
        nonlocal stale, looks
        while True:
            looks += 1
            stale += sum(starting.done() for starting in node._starting.values())
            await asyncio.sleep(0)

    looking = [asyncio.create_task(look()) for _ in range(3)]
    for _ in range(10):
        assert await calls.run("n1", "r1", META, if_occupied=True) == 0
    for each in looking:
        each.cancel()
    assert looks > 10
    assert stale == 0
