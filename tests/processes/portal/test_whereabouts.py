"""Where rooms are run: looked up once, remembered, forgotten."""

import asyncio

import pytest

from roomledger.domain.errors import Code, Refusal
from roomledger.processes.portal import whereabouts as whereabouts_module
from roomledger.processes.portal.whereabouts import Place, Whereabouts
from roomledger.runtime.calls import RequestMeta
from roomledger.sdk.cluster import Cluster
from roomledger.sdk.rooms import Conference
from tests.support.house import House
from tests.support.neighbours import WORKER

META = RequestMeta(correlation="t1")


@pytest.fixture
def whereabouts(house: House) -> Whereabouts:
    return Whereabouts(Cluster(house.broker, actor="test"), Conference(house.broker, actor="test"))


def look_ups(house: House) -> int:
    return len(house.neighbours.requests("conference.get_node"))


async def test_a_place_is_looked_up_once(house: House, whereabouts: Whereabouts) -> None:
    assert await whereabouts.of("r1", META) == Place(WORKER, "node-1")
    assert await whereabouts.of("r1", META) == Place(WORKER, "node-1")
    assert look_ups(house) == 1


async def test_many_who_ask_at_once_share_a_look_up(house: House, whereabouts: Whereabouts) -> None:
    await asyncio.gather(*(whereabouts.of("r1", META) for _ in range(20)))
    assert look_ups(house) == 1


async def test_one_who_gives_up_does_not_end_the_look_up_of_the_others(
    house: House, whereabouts: Whereabouts
) -> None:
    impatient = asyncio.create_task(whereabouts.of("r1", META))
    patient = asyncio.create_task(whereabouts.of("r1", META))
    await asyncio.sleep(0)
    impatient.cancel()
    assert await patient == Place(WORKER, "node-1")
    assert look_ups(house) == 1


async def test_a_place_that_is_forgotten_is_looked_up_again(house: House, whereabouts: Whereabouts) -> None:
    place = await whereabouts.of("r1", META)
    await house.neighbours.move("node-2")
    whereabouts.forget("r1", place)
    assert await whereabouts.of("r1", META) == Place(WORKER, "node-2")


async def test_each_look_up_is_a_command_of_its_own(house: House, whereabouts: Whereabouts) -> None:
    same = RequestMeta(command="find:p1", correlation="t1")
    place = await whereabouts.of("r1", same)
    whereabouts.forget("r1", place)
    await whereabouts.of("r1", same)
    asked = [heard.meta for heard in house.neighbours.heard if heard.method == "cluster.schedule"]
    assert asked[-1].command != asked[-2].command, "or the old place would be the answer once more"
    assert {meta.correlation for meta in asked} == {"t1"}


async def test_an_old_place_does_not_make_a_newer_one_forgotten(
    house: House, whereabouts: Whereabouts
) -> None:
    await whereabouts.of("r1", META)
    whereabouts.forget("r1", Place(WORKER, "node-0"))
    await whereabouts.of("r1", META)
    assert look_ups(house) == 1


async def test_a_failed_look_up_is_not_remembered(house: House, whereabouts: Whereabouts) -> None:
    house.neighbours.placing = Refusal(Code.NO_NODE, "none is ready")
    with pytest.raises(Refusal, match="none is ready"):
        await whereabouts.of("r1", META)
    house.neighbours.placing = None
    assert await whereabouts.of("r1", META) == Place(WORKER, "node-1")


async def test_the_places_used_last_are_remembered(
    house: House, whereabouts: Whereabouts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(whereabouts_module, "REMEMBERED", 2)
    for room in ("r1", "r2", "r1", "r3", "r1"):
        await whereabouts.of(room, META)
    assert look_ups(house) == 3
    await whereabouts.of("r2", META)
    assert look_ups(house) == 4
