"""What is to be told of sessions: until it is known, however long it takes, never more than can be kept."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from structlog.testing import capture_logs

from roomledger.domain.errors import Code, Refusal
from roomledger.processes.portal import errands as errands_module
from roomledger.processes.portal.errands import Errand, Errands, LayingDown, Leaving, Losing, Returning
from roomledger.processes.portal.session import Here
from roomledger.processes.portal.session_effects import Right
from roomledger.processes.portal.whereabouts import Whereabouts
from roomledger.sdk.cluster import Cluster
from roomledger.sdk.rooms import Conference, Controller
from roomledger.sdk.worker import Worker
from roomledger_events.envelope import Address
from roomledger_events.workers import WorkerInfo
from tests.support.house import House
from tests.support.nats import until

RIGHT = Right("t1", "c1", "r1")


@pytest.fixture
async def errands(house: House) -> AsyncIterator[Errands]:
    cluster = Cluster(house.broker, actor="test")
    info = WorkerInfo(ip="127.0.0.1", max_load=0.9)
    async with Worker(cluster, purpose="portal", worker="portal-1", info=info, load=lambda: 0.0) as worker:
        yield Errands(
            Whereabouts(cluster, Conference(house.broker, actor="test")),
            Controller(house.broker, actor="test"),
            worker,
            Here("portal-1", "run-1"),
            grace_ms=5_000,
        )


def departure(participant: str, picking: asyncio.Future[None] | None = None) -> Errand:
    return Errand(participant, RIGHT, (Leaving("logout"), LayingDown()), picking)


async def test_the_room_is_told_first_and_the_task_laid_down_then(house: House, errands: Errands) -> None:
    await house.neighbours.enter("p1")
    errands.add(departure("p1"))
    await errands.finish(5)
    told = [heard.method for heard in house.neighbours.heard if heard.meta.correlation == "t1"]
    assert told[-2:] == ["controller.leave", "cluster.lay_down_task"]
    assert house.neighbours.present() == set()


async def test_a_task_is_laid_down_after_it_was_picked_up_and_the_room_is_told_at_once(
    house: House, errands: Errands
) -> None:
    picking = asyncio.get_running_loop().create_future()
    errands.add(departure("p1", picking))
    await until(lambda: len(house.neighbours.requests("controller.leave")) == 1)
    errands.add(departure("p2"))
    await until(lambda: len(house.neighbours.requests("cluster.lay_down_task")) == 1)
    picking.set_result(None)
    await errands.finish(5)
    assert len(house.neighbours.requests("cluster.lay_down_task")) == 2


async def test_a_picking_up_that_is_given_up_keeps_nothing_from_being_told(
    house: House, errands: Errands
) -> None:
    picking = asyncio.get_running_loop().create_future()
    errands.add(departure("p1", picking))
    picking.cancel()
    await errands.finish(5)
    assert len(house.neighbours.requests("cluster.lay_down_task")) == 1


async def test_a_room_that_knows_already_is_not_told(house: House, errands: Errands) -> None:
    errands.add(Errand("p1", RIGHT, (LayingDown(),)))
    await errands.finish(5)
    assert house.neighbours.requests("controller.leave") == []
    assert len(house.neighbours.requests("cluster.lay_down_task")) == 1


@pytest.mark.parametrize(
    "code", [Code.LOG_UNAVAILABLE, Code.LOG_FULL, Code.NOT_READY, Code.BUSY, Code.INTERNAL]
)
async def test_what_may_go_away_is_waited_out(house: House, errands: Errands, code: Code) -> None:
    refusals = [Refusal(code, "not now")] * 2

    async def refuse() -> None:
        if refusals:
            raise refusals.pop()

    house.neighbours.before_leave = refuse
    await house.neighbours.enter("p1")
    errands.add(departure("p1"))
    await errands.finish(5)
    assert house.neighbours.present() == set()


async def test_a_room_that_moved_is_found_again(house: House, errands: Errands) -> None:
    await house.neighbours.enter("p1", "p2")
    errands.add(departure("p1"))
    await errands.finish(5)
    await house.neighbours.move("node-2")
    errands.add(departure("p2"))
    await errands.finish(5)
    assert house.neighbours.present() == set()


async def test_an_errand_beyond_the_limit_is_reported_and_given_up(
    house: House, errands: Errands, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(errands_module, "LIMIT", 1)
    errands.add(departure("p1"))
    with capture_logs() as lines:
        errands.add(departure("p2"))
    await errands.finish(5)
    assert [each.participant for each in house.neighbours.requests("controller.leave")] == ["p1"]
    assert [(line["log_level"], line["participant"]) for line in lines] == [("error", "p2")]


async def test_an_end_that_cannot_wait_any_longer_reports_how_many_may_stay(
    house: House, errands: Errands
) -> None:
    async def never() -> None:
        await asyncio.Event().wait()

    house.neighbours.before_leave = never
    errands.add(departure("p1"))
    with capture_logs() as lines:
        await errands.finish(0.1)
    assert errands.waiting == 0
    assert [(line["log_level"], line["errands"]) for line in lines] == [("error", 1)]


async def test_what_is_to_be_told_of_one_participant_is_told_in_order(house: House, errands: Errands) -> None:
    picking = asyncio.get_running_loop().create_future()
    errands.add(Errand("p1", RIGHT, (LayingDown(),), picking))
    errands.add(Errand("p1", RIGHT, (Losing(1, Address(7, 2)),)))
    assert not await errands.settled("p1", 0.05)
    assert house.neighbours.requests("controller.lose_connection") == []
    picking.set_result(None)
    assert await errands.settled("p1", 5)
    assert len(house.neighbours.requests("cluster.lay_down_task")) == 1
    (lost,) = house.neighbours.requests("controller.lose_connection")
    assert (lost.portal, lost.grace_ms, lost.epoch, lost.told) == ("portal-1", 5_000, 1, "7.2")


async def test_of_whom_there_is_nothing_to_tell_all_is_told(errands: Errands) -> None:
    assert await errands.settled("p1", 0)


async def test_who_says_that_a_connection_is_there_learns_the_how_manyth_it_is(
    house: House, errands: Errands
) -> None:
    await house.neighbours.enter("p1")
    epochs: list[int] = []
    errands.add(Errand("p1", RIGHT, (Returning(epochs.append),)))
    await errands.finish(5)
    assert epochs == [2]
    (back,) = house.neighbours.requests("controller.come_back")
    assert (back.portal, back.incarnation) == ("portal-1", "run-1")


async def test_nobody_is_back_who_is_not_in(errands: Errands) -> None:
    epochs: list[int] = []
    errands.add(Errand("p1", RIGHT, (Returning(epochs.append),)))
    await errands.finish(5)
    assert epochs == []
