"""Rooms and who is in them outlive nodes and workers: real processes, real signals."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from roomledger.domain.errors import Code, Refusal
from roomledger.sdk.rooms import Controller
from roomledger_events.rooms import (
    ControllerTakenOver,
    ParticipantJoined,
    ParticipantLeft,
)
from roomledger_events.subjects import Boundary, Kind
from tests.support.cluster import TestCluster
from tests.support.conferences import ConferenceProcess, Guests
from tests.support.nats import until

ROOMS = [f"r{number}" for number in range(20)]
EACH = 10
GOES_ON_S = 5.0
"""How long a room may take to go on after its node or its worker was killed."""

Start = Callable[..., Awaitable[ConferenceProcess]]


@pytest.fixture
async def start(cluster: TestCluster, tmp_path: Path) -> AsyncIterator[Start]:
    """Start conference workers, which are stopped after the test."""
    async with AsyncExitStack() as stack:

        async def start_(worker: str, **settings: object) -> ConferenceProcess:
            return await ConferenceProcess.start(cluster, stack, tmp_path, worker, **settings)

        await cluster.manager()
        yield start_


async def guests(cluster: TestCluster, number: int) -> list[Guests]:
    return [Guests((await cluster.connect()).broker, f"p{each}") for each in range(number)]


class RoomLog:
    """What the log says of a room: who is in, and whose word it is."""

    def __init__(self) -> None:
        self.present: set[str] = set()
        self.joined: list[str] = []
        self.left: dict[str, str] = {}
        self.nodes: list[str] = []

    @classmethod
    async def read(cls, cluster: TestCluster, room: str) -> "RoomLog":
        """Read it, and make sure that it is in one order: each event is the present controller's."""
        log, epoch = cls(), 0
        async for commit in cluster.access.store.read((Boundary(Kind.ROOM, room), Boundary(Kind.TEXT, room))):
            for event in commit.events:
                match event.data:
                    case ControllerTakenOver():
                        assert event.data.epoch == epoch + 1
                        epoch = event.data.epoch
                        log.nodes.append(event.data.node)
                    case ParticipantJoined(participant=participant):
                        assert participant not in log.joined, "somebody joined twice"
                        log.joined.append(participant)
                        log.present.add(participant)
                    case ParticipantLeft(participant=participant, reason=reason):
                        log.present.remove(participant)
                        log.left[participant] = reason
                    case _:
                        pass
                if event.source.startswith("conference/"):
                    assert event.source == f"conference/{log.nodes[-1]}"
        return log


async def fill(cluster: TestCluster, portals: list[Guests]) -> None:
    """Create the rooms, with participants in each."""

    async def fill_one(number: int, room: str) -> None:
        await cluster.room(room)
        tokens = await cluster.tokens(room, EACH)
        portal = portals[number % len(portals)]
        await asyncio.gather(*(portal.join(room, token, f"{room}-{n}") for n, token in enumerate(tokens)))

    await asyncio.gather(*(fill_one(*each) for each in enumerate(ROOMS)))


async def go_on(cluster: TestCluster, portals: list[Guests], turn: int) -> None:
    """In each room one joins, one leaves, one speaks and one is thrown out, all within the time."""

    async def go_on_in(number: int, room: str) -> None:
        portal = portals[number % len(portals)]
        (token,) = await cluster.tokens(room, 1)
        await asyncio.gather(
            portal.join(room, token, f"{room}-new-{turn}"),
            portal.leave(room, f"{room}-{2 * turn}"),
            portal.text(room, f"{room}-9", f"turn {turn}"),
            portal.drop(room, f"{room}-{2 * turn + 1}"),
        )

    async with asyncio.timeout(GOES_ON_S):
        await asyncio.gather(*(go_on_in(*each) for each in enumerate(ROOMS)))


async def test_of_300_joins_at_once_as_many_as_there_are_seats_get_in(
    cluster: TestCluster, start: Start
) -> None:
    worker = await start("c1", max_nodes=3, prerun=3)
    portals = await guests(cluster, 4)
    seats = {"r1": 100, "r2": 10, "r3": 10}
    tokens = {}
    for room, limit in seats.items():
        await cluster.room(room, limit=limit)
        tokens[room] = await cluster.tokens(room, 3 * limit)
    await until(lambda: _ready(worker, 3), 30)
    answers = await asyncio.gather(
        *(
            portals[number % 4].join(room, token, f"{room}-{number}")
            for room in seats
            for number, token in enumerate(tokens[room])
        ),
        return_exceptions=True,
    )
    refused = [answer for answer in answers if isinstance(answer, Refusal)]
    assert {refusal.code for refusal in refused} == {Code.ROOM_FULL}
    assert len(refused) == 200 + 20 + 20
    for room, limit in seats.items():
        assert len((await RoomLog.read(cluster, room)).present) == limit
    assert len({(await worker.node_of(room)).node for room in seats}) == 3
    inside = sorted((await RoomLog.read(cluster, "r1")).present)
    outside = next(n for n in range(300) if f"r1-{n}" not in inside)
    await portals[0].leave("r1", inside[0])
    await portals[1].join("r1", tokens["r1"][outside], "r1-after-all")
    with pytest.raises(Refusal, match="seats"):
        await portals[2].join("r1", (await cluster.tokens("r1", 1))[0], "r1-too-late")


async def _ready(worker: ConferenceProcess, number: int) -> bool:
    return [node.state for node in await worker.nodes()].count("warm") >= number


@pytest.mark.chaos  # it is held to a time, and so needs the machine to itself
async def test_nobody_is_dropped_when_a_node_and_then_its_whole_worker_are_killed(
    cluster: TestCluster, start: Start
) -> None:
    first = await start("c1")
    portals = await guests(cluster, 4)
    await fill(cluster, portals)
    (node,) = await first.nodes()
    assert len(node.rooms) == 20

    assert node.pid is not None
    os.kill(node.pid, signal.SIGKILL)
    await go_on(cluster, portals, 0)
    (another,) = await first.nodes()
    assert another.node != node.node
    assert len(another.rooms) == 20

    second = await start("c2")
    first.signal(signal.SIGKILL)
    await go_on(cluster, portals, 1)
    assert {room for node in await second.nodes() for room in node.rooms} == set(ROOMS)

    for room in ROOMS:
        log = await RoomLog.read(cluster, room)
        assert len(log.nodes) == 3
        assert log.left == {
            f"{room}-0": "logout",
            f"{room}-1": "dropped",
            f"{room}-2": "logout",
            f"{room}-3": "dropped",
        }
        stayed = {f"{room}-{number}" for number in range(4, EACH)}
        assert log.present == stayed | {f"{room}-new-0", f"{room}-new-1"}
        assert await portals[0].present(room) == log.present


async def test_rooms_with_participants_are_taken_over_from_a_killed_worker_though_nobody_asks(
    cluster: TestCluster, start: Start
) -> None:
    first = await start("c1")
    (portal,) = await guests(cluster, 1)
    for room in ("occupied", "empty"):
        await cluster.room(room)
        (token,) = await cluster.tokens(room, 1)
        await portal.join(room, token, room)
    await portal.leave("empty", "empty")
    second = await start("c2")
    first.signal(signal.SIGKILL)

    async def taken() -> bool:
        return [room for node in await second.nodes() for room in node.rooms] == ["occupied"]

    await until(taken, 8)

    async def picked_up() -> bool:
        task = await cluster.cluster().get_scheduled("conference", "occupied")
        return (task.worker, task.state) == ("c2", "running")

    await until(picked_up)

    async def given_back() -> bool:
        try:
            await cluster.cluster().get_scheduled("conference", "empty")
        except Refusal as refusal:
            return refusal.code is Code.NO_SUCH_TASK
        return False

    await until(given_back, 8)


async def test_no_event_of_a_halted_controller_is_accepted_after_its_successors_first_one(
    cluster: TestCluster, start: Start
) -> None:
    first = await start("c1")
    (portal,) = await guests(cluster, 1)
    await cluster.room("r1")
    tokens = await cluster.tokens("r1", 8)
    await portal.join("r1", tokens[0], "u0")
    old = await first.node_of("r1")
    assert old.pid is not None
    second = await start("c2")

    first.signal(signal.SIGSTOP)
    os.kill(old.pid, signal.SIGSTOP)
    direct = Controller((await cluster.connect()).broker, actor="test", time_limit=20)
    # They wait in the halted node's socket, and are the first that it sees when it goes on.
    late = [
        asyncio.create_task(direct.join(old.node, "r1", tokens[1], participant="late", portal="p1")),
        asyncio.create_task(direct.leave(old.node, "r1", "u0", reason="logout")),
        asyncio.create_task(direct.leave(old.node, "r1", "u2", reason="logout")),
        asyncio.create_task(direct.text(old.node, "r1", "u0", to="all", message="late")),
    ]
    await portal.join("r1", tokens[2], "u2")
    new = await second.node_of("r1")
    os.kill(old.pid, signal.SIGCONT)
    first.signal(signal.SIGCONT)

    answers = await asyncio.gather(*late, return_exceptions=True)
    assert [type(answer).__name__ for answer in answers] == ["Refusal"] * 4
    assert {answer.code for answer in answers if isinstance(answer, Refusal)} <= {
        Code.WRONG_CONTROLLER,
        Code.NO_SUCH_NODE,
        Code.NOT_READY,
    }
    await portal.join("r1", tokens[3], "u3")
    log = await RoomLog.read(cluster, "r1")
    assert log.nodes == [old.node, new.node]
    assert log.present == {"u0", "u2", "u3"}
    await until(lambda: _runs_nothing(first), 10)


async def _runs_nothing(worker: ConferenceProcess) -> bool:
    return not any(node.rooms for node in await worker.nodes())


async def test_a_node_that_hangs_is_killed_and_its_rooms_go_on(cluster: TestCluster, start: Start) -> None:
    worker = await start("c1", max_nodes=2, prerun=1)
    (portal,) = await guests(cluster, 1)
    await cluster.room("r1")
    tokens = await cluster.tokens("r1", 2)
    await portal.join("r1", tokens[0], "u0")
    hung = await worker.node_of("r1")
    assert hung.pid is not None
    os.kill(hung.pid, signal.SIGSTOP)
    async with asyncio.timeout(3 + GOES_ON_S):
        await portal.join("r1", tokens[1], "u1")
    log = await RoomLog.read(cluster, "r1")
    assert log.present == {"u0", "u1"}
    assert log.nodes[0] == hung.node
    assert log.nodes[-1] != hung.node


async def test_nodes_end_with_their_worker(start: Start) -> None:
    worker = await start("c1", max_nodes=2, prerun=2)
    await until(lambda: _ready(worker, 2), 30)
    pids = [node.pid for node in await worker.nodes()]
    worker.signal(signal.SIGKILL)
    await until(lambda: not any(map(_lives, pids)))


def _lives(pid: int | None) -> bool:
    return pid is not None and Path(f"/proc/{pid}").exists()
