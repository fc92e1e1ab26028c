import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack

import pytest

from roomledger.domain.errors import Code, Refusal
from roomledger.domain.room import ROOM
from roomledger.domain.room_commands import Join, Leave, SendText
from roomledger.processes.conference.controller import RoomController
from roomledger.runtime.commands import Meta, Query
from roomledger_events.subjects import Kind, Subjects
from tests.support.cluster import TestCluster
from tests.support.nats import until

ME = Meta("test")
Make = Callable[[str], RoomController]


@pytest.fixture
async def make(cluster: TestCluster) -> AsyncIterator[Make]:
    """Make controllers of the room r1, on nodes of these names; they are stopped after the test."""
    await cluster.room("r1")
    ended: list[RoomController] = []
    async with AsyncExitStack() as stack:

        def make_(node: str) -> RoomController:
            controller = RoomController(
                cluster.access.broker,
                cluster.access.store,
                Subjects(),
                ROOM,
                room="r1",
                worker="c1",
                node=node,
                ended=ended.append,
            )
            stack.push_async_callback(controller.stop)
            return controller

        yield make_


async def join(cluster: TestCluster, controller: RoomController, participant: str) -> None:
    token = await cluster.token("r1")
    await controller.learn_of_token(token)
    await controller.decide(Join(participant=participant, portal="p1", token=token), ME)


async def test_a_controller_takes_a_room_over(cluster: TestCluster, make: Make) -> None:
    first, second = make("n1"), make("n2")
    assert await first.start(ME)
    assert await second.start(ME)
    assert (first.epoch, second.epoch) == (1, 2)
    assert await cluster.types(Kind.ROOM, "r1") == ["RoomCreated", *["ControllerTakenOver"] * 2]


async def test_an_empty_room_is_left_alone_where_that_is_asked_for(cluster: TestCluster, make: Make) -> None:
    assert not await make("n1").start(ME, if_occupied=True)
    assert await cluster.types(Kind.ROOM, "r1") == ["RoomCreated"]


async def test_an_occupied_room_is_not_left_alone(cluster: TestCluster, make: Make) -> None:
    first = make("n1")
    await first.start(ME)
    await join(cluster, first, "u1")
    await first.stop()
    assert await make("n2").start(ME, if_occupied=True)


async def test_a_controller_that_knows_nothing_of_its_successor_asks_the_log_before_it_says_nothing_was_to_do(
    cluster: TestCluster, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = make("n1"), make("n2")
    await first.start(ME)
    await first._hear_no_more()  # it is halted: it hears nothing of what comes
    await second.start(ME)
    await join(cluster, second, "u1")
    monkeypatch.setattr("roomledger.runtime.writer.SURE_S", 0.05)
    await asyncio.sleep(0.1)
    with pytest.raises(Refusal) as refused:
        await first.decide(Leave("u1", "logout"), ME)
    assert refused.value.code is Code.NOT_READY
    with pytest.raises(Refusal):
        await first.decide(Query(lambda state: len(state.participants)), ME)


async def test_a_controller_that_the_log_confirmed_just_now_answers_from_memory(
    cluster: TestCluster, make: Make
) -> None:
    controller = make("n1")
    await controller.start(ME)
    await join(cluster, controller, "u1")
    await cluster.server.stop()
    answer = await controller.decide(Query(lambda state: list(state.participants)), ME)
    assert answer.value == ["u1"]
    await cluster.server.start()


async def test_a_controller_hears_of_its_successor(cluster: TestCluster, make: Make) -> None:
    first, second = make("n1"), make("n2")
    await first.start(ME)
    await second.start(ME)
    assert first._running is not None
    await until(first._running.done)
    with pytest.raises(Refusal) as refused:
        await join(cluster, first, "u1")
    assert refused.value.code is Code.NOT_READY


async def test_a_text_that_an_earlier_controller_sent_is_known_by_its_command(
    cluster: TestCluster, make: Make
) -> None:
    first, second = make("n1"), make("n2")
    await first.start(ME)
    await join(cluster, first, "u1")
    answer = await first.decide(SendText("u1", "all", "hello"), Meta("test", command="text-1"))
    await second.start(ME)
    assert second.sent("text-1") == answer.address
    assert second.sent("text-2") is None
    assert second.sent(None) is None
