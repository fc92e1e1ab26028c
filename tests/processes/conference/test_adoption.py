from collections.abc import AsyncIterator

import pytest

from roomledger.domain.errors import Code, Refusal
from roomledger.processes.conference.adoption import Adoption
from roomledger.runtime.calls import RequestMeta
from roomledger.runtime.commands import Meta
from roomledger.sdk.worker import Worker
from roomledger_events.subjects import Boundary, Kind
from tests.support.cluster import TestCluster
from tests.support.nats import until

SCHEDULER = Boundary(Kind.SCHEDULER, "conference")


class Rooms:
    """What stands in for the rooms of the worker c2: which are occupied, and who was asked to run what."""

    def __init__(self) -> None:
        self.occupied = {"r1"}
        self.refusals: list[Refusal] = []
        self.asked: list[tuple[str, Meta]] = []
        self.worker: Worker

    async def run(self, room: str, meta: Meta) -> bool:
        self.asked.append((room, meta))
        if self.refusals:
            raise self.refusals.pop()
        if room not in self.occupied:
            return False
        await self.worker.pick_up(room, RequestMeta(correlation=meta.correlation))
        return True


@pytest.fixture
async def former(cluster: TestCluster) -> Worker:
    """The worker c1, which runs r1."""
    await cluster.manager()
    worker = await cluster.worker("conference", "c1")
    await cluster.cluster().schedule("conference", "r1")
    await worker.pick_up("r1")
    return worker


@pytest.fixture
async def rooms(cluster: TestCluster, former: Worker) -> AsyncIterator[Rooms]:
    """The rooms of c2, which adopts what is left."""
    assert former.tasks == ("r1",)
    rooms_ = Rooms()
    rooms_.worker = await cluster.worker("conference", "c2")
    adoption = Adoption(
        cluster.access.store, cluster.cluster(), worker="c2", purpose="conference", run=rooms_.run
    )
    adoption.start()
    yield rooms_
    await adoption.stop()


async def placed(cluster: TestCluster, room: str = "r1") -> str | None:
    try:
        task = await cluster.cluster().get_scheduled("conference", room)
    except Refusal as refusal:
        if refusal.code is not Code.NO_SUCH_TASK:
            raise
        return None
    return f"{task.worker} {task.state}"


async def test_a_room_whose_worker_quits_is_taken_over(
    cluster: TestCluster, former: Worker, rooms: Rooms
) -> None:
    await former.stop()

    async def taken() -> bool:
        return await placed(cluster) == "c2 running"

    await until(taken)
    ((room, meta),) = rooms.asked
    left = [
        event
        async for commit in cluster.access.store.read((SCHEDULER,))
        for event in commit.events
        if event.type == "WorkerQuit"
    ]
    assert (room, meta.causation, meta.correlation) == ("r1", left[0].id, left[0].correlationid)


async def test_a_room_that_nobody_is_in_is_given_back(
    cluster: TestCluster, former: Worker, rooms: Rooms
) -> None:
    rooms.occupied.clear()
    await former.stop()
    await until(lambda: bool(rooms.asked))

    async def given_back() -> bool:
        return await placed(cluster) is None

    await until(given_back)


async def test_a_room_that_there_is_no_more_is_given_back(
    cluster: TestCluster, former: Worker, rooms: Rooms
) -> None:
    rooms.refusals = [Refusal(Code.NO_SUCH_ROOM, "it was deleted")]
    await former.stop()
    await until(lambda: bool(rooms.asked))

    async def given_back() -> bool:
        return await placed(cluster) is None

    await until(given_back)
    assert len(rooms.asked) == 1


async def test_a_room_that_cannot_be_taken_over_yet_is_tried_again(
    cluster: TestCluster, former: Worker, rooms: Rooms, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("roomledger.processes.conference.adoption._PAUSE_S", 0.05)
    rooms.refusals = [Refusal(Code.NO_NODE, "none is ready"), Refusal(Code.LOG_UNAVAILABLE, "it is away")]
    await former.stop()

    async def taken() -> bool:
        return await placed(cluster) == "c2 running"

    await until(taken)
    assert len(rooms.asked) == 3


async def test_rooms_that_were_left_before_anybody_was_there_are_taken_over(
    cluster: TestCluster, former: Worker
) -> None:
    await former.stop()
    rooms = Rooms()
    rooms.worker = await cluster.worker("conference", "c2")
    adoption = Adoption(
        cluster.access.store, cluster.cluster(), worker="c2", purpose="conference", run=rooms.run
    )
    adoption.start()

    async def taken() -> bool:
        return await placed(cluster) == "c2 running"

    await until(taken)
    await adoption.stop()


async def test_a_room_that_is_another_workers_is_left_to_it(
    cluster: TestCluster, former: Worker, rooms: Rooms
) -> None:
    third = await cluster.worker("conference", "c3")
    await cluster.cluster().drain("c2")
    await former.stop()

    async def reserved() -> bool:
        return await placed(cluster) == "c3 reserved"

    await until(reserved)
    await third.pick_up("r1")
    assert not rooms.asked
