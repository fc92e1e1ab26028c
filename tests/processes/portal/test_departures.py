"""Those who leave: told until it is known, however long it takes, and never more of them than can be kept."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from structlog.testing import capture_logs

from roomledger.domain.errors import Code, Refusal
from roomledger.domain.signed_token import Claims
from roomledger.processes.portal import departures as departures_module
from roomledger.processes.portal.departures import Departure, Departures
from roomledger.processes.portal.whereabouts import Whereabouts
from roomledger.sdk.cluster import Cluster
from roomledger.sdk.rooms import Conference, Controller
from roomledger.sdk.worker import Worker
from roomledger_events.workers import WorkerInfo
from tests.support.house import House
from tests.support.nats import until

CLAIMS = Claims(token="t1", host="h:1", secure=False, room="r1", code="c1", url="ws://h:1/")


@pytest.fixture
async def departures(house: House) -> AsyncIterator[Departures]:
    cluster = Cluster(house.broker, actor="test")
    info = WorkerInfo(ip="127.0.0.1", max_load=0.9)
    async with Worker(cluster, purpose="portal", worker="portal-1", info=info, load=lambda: 0.0) as worker:
        yield Departures(
            Whereabouts(cluster, Conference(house.broker, actor="test")),
            Controller(house.broker, actor="test"),
            worker,
        )


def departure(
    participant: str, reason: str | None = "logout", after: asyncio.Future[None] | None = None
) -> Departure:
    return Departure(participant, CLAIMS, reason, lay_down=True, after=after)


async def test_the_room_is_told_first_and_the_task_laid_down_then(
    house: House, departures: Departures
) -> None:
    await house.neighbours.enter("p1")
    departures.add(departure("p1"))
    await departures.finish(5)
    told = [heard.method for heard in house.neighbours.heard if heard.meta.correlation == "t1"]
    assert told[-2:] == ["controller.leave", "cluster.lay_down_task"]
    assert house.neighbours.present() == set()


async def test_a_task_is_laid_down_after_it_was_picked_up(house: House, departures: Departures) -> None:
    picked_up = asyncio.get_running_loop().create_future()
    departures.add(departure("p1", after=picked_up))
    departures.add(departure("p2"))
    await until(lambda: len(house.neighbours.requests("cluster.lay_down_task")) == 1)
    picked_up.set_result(None)
    await departures.finish(5)
    assert [each.participant for each in house.neighbours.requests("controller.leave")] == ["p2", "p1"]


async def test_a_room_that_knows_already_is_not_told(house: House, departures: Departures) -> None:
    departures.add(departure("p1", reason=None))
    await departures.finish(5)
    assert house.neighbours.requests("controller.leave") == []
    assert len(house.neighbours.requests("cluster.lay_down_task")) == 1


@pytest.mark.parametrize(
    "code", [Code.LOG_UNAVAILABLE, Code.LOG_FULL, Code.NOT_READY, Code.BUSY, Code.INTERNAL]
)
async def test_what_may_go_away_is_waited_out(house: House, departures: Departures, code: Code) -> None:
    refusals = [Refusal(code, "not now")] * 2

    async def refuse() -> None:
        if refusals:
            raise refusals.pop()

    house.neighbours.before_leave = refuse
    await house.neighbours.enter("p1")
    departures.add(departure("p1"))
    await departures.finish(5)
    assert house.neighbours.present() == set()


async def test_a_room_that_moved_is_found_again(house: House, departures: Departures) -> None:
    await house.neighbours.enter("p1", "p2")
    departures.add(departure("p1"))
    await departures.finish(5)
    await house.neighbours.move("node-2")
    departures.add(departure("p2"))
    await departures.finish(5)
    assert house.neighbours.present() == set()


async def test_a_departure_beyond_the_limit_is_reported_and_given_up(
    house: House, departures: Departures, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(departures_module, "LIMIT", 1)
    departures.add(departure("p1"))
    with capture_logs() as lines:
        departures.add(departure("p2"))
    await departures.finish(5)
    assert [each.participant for each in house.neighbours.requests("controller.leave")] == ["p1"]
    assert [(line["log_level"], line["participant"]) for line in lines] == [("error", "p2")]


async def test_an_end_that_cannot_wait_any_longer_reports_how_many_may_stay(
    house: House, departures: Departures
) -> None:
    async def never() -> None:
        await asyncio.Event().wait()

    house.neighbours.before_leave = never
    departures.add(departure("p1"))
    with capture_logs() as lines:
        await departures.finish(0.1)
    assert departures.waiting == 0
    assert [(line["log_level"], line["departures"]) for line in lines] == [("error", 1)]
