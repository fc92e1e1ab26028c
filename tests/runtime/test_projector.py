import asyncio
import random
import sqlite3
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from roomledger.domain.errors import Code, Refusal
from roomledger.event_store.errors import LogReplaced
from roomledger.event_store.jetstream import JetStreamStore
from roomledger.event_store.memory import MemoryStore
from roomledger.event_store.store import EventStore
from roomledger.runtime.projector import Projector
from roomledger_events.envelope import Commit
from roomledger_events.rooms import ParticipantLeft, RoomCreated, RoomSettings
from roomledger_events.subjects import Boundary, Kind
from roomledger_events.workers import LoadReported
from roomledger_projections import PROJECTIONS, cluster, rooms
from roomledger_projections.cluster import CLUSTER
from roomledger_projections.errors import NotAProjection
from roomledger_projections.projection_file import ProjectionFile
from roomledger_projections.rooms import ROOMS
from tests.support import projector_process
from tests.support.commits import (
    PORTAL,
    PORTAL_LOAD,
    ROOM,
    TOKENS,
    created,
    issued,
    joined,
    joined_worker,
    reserved,
)
from tests.support.nats import NatsServer, until
from tests.support.stored import Teller, opened_store

ABSENT = Boundary(Kind.ROOM, "r2")


@pytest.fixture
async def store(nats_server: NatsServer) -> AsyncIterator[JetStreamStore]:
    async with opened_store(nats_server) as store:
        yield store


@asynccontextmanager
async def projecting(store: EventStore, directory: Path, **options: object) -> AsyncIterator[Projector]:
    projector = Projector(store, directory, **options)  # type: ignore[arg-type]  # by name
    await projector.start()
    try:
        await projector.caught_up(timeout_s=20)
        yield projector
    finally:
        await projector.stop()


async def present(projector: Projector) -> list[str]:
    return [row["id"] for row in (await projector.ask(ROOMS, rooms.participants_of, "r1")).value]


def contents(directory: Path) -> dict[str, list[str]]:
    """Everything that is in the files, as the statements that would make it."""
    found = {}
    for path in sorted(directory.glob("*.sqlite")):
        db = sqlite3.connect(path)
        found[path.name] = list(db.iterdump())
        db.close()
    return found


def delete(directory: Path) -> None:
    for path in directory.glob("*.sqlite*"):
        path.unlink()


async def folded_from_the_log_alone(store: EventStore) -> dict[str, list[str]]:
    head = await store.position()
    commits = [commit async for commit in store.read()]
    found = {}
    for projection in PROJECTIONS:
        file = ProjectionFile(projection)
        file.take_in(commits, head.created)
        found[f"{projection.name}.sqlite"] = file.ask(lambda db: list(db.iterdump()))
        file.close()
    return found


async def test_what_the_log_holds_at_the_start_is_known(store: JetStreamStore, tmp_path: Path) -> None:
    teller = Teller(store)
    await teller.tell(ROOM, created())
    await teller.tell(ROOM, joined("p1"), joined("p2"))
    async with projecting(store, tmp_path) as projector:
        assert await present(projector) == ["p1", "p2"]


async def test_what_is_appended_is_known_by_who_waits_for_its_sequence(
    store: JetStreamStore, tmp_path: Path
) -> None:
    teller = Teller(store)
    async with projecting(store, tmp_path) as projector:
        for number in range(20):
            await projector.caught_up(await teller.tell(ROOM, joined(f"p{number}")))
            assert f"p{number}" in await present(projector)


async def test_while_commits_are_gathered_who_waits_for_one_need_not_wait_longer(tmp_path: Path) -> None:
    store = MemoryStore()
    teller = Teller(store)
    async with projecting(store, tmp_path, gather_s=3600) as projector:
        for number in range(5):
            await teller.tell(ROOM, joined(f"p{number}"))
            await projector.caught_up(await teller.tell(ROOM, joined(f"q{number}")))
            assert f"q{number}" in await present(projector)


async def test_what_was_taken_in_is_told_before_whoever_waits_for_it_goes_on(tmp_path: Path) -> None:
    store = MemoryStore()
    teller = Teller(store)
    await teller.tell(ROOM, created())
    told: list[int] = []

    def note(batch: list[Commit]) -> None:
        told.extend(commit.sequence for commit in batch)

    async with projecting(store, tmp_path, told=note) as projector:
        for number in range(5):
            await projector.caught_up(await teller.tell(ROOM, joined(f"p{number}")))
            assert told == list(range(2, number + 3)), "what was there before the start is not told"


async def test_an_answer_names_the_sequence_that_it_reflects(store: JetStreamStore, tmp_path: Path) -> None:
    teller = Teller(store)
    async with projecting(store, tmp_path) as projector:
        sequence = await teller.tell(PORTAL, joined_worker("w1"))
        await projector.caught_up(sequence)
        assert (await projector.ask(ROOMS, rooms.room, "r1")) == (None, sequence)


async def test_the_files_equal_what_the_log_alone_leads_to(store: JetStreamStore, tmp_path: Path) -> None:
    teller = Teller(store)
    async with projecting(store, tmp_path) as projector:
        await teller.tell(PORTAL, joined_worker("w1"))
        for number in range(50):
            await teller.tell(PORTAL, reserved(f"k{number}"))
            await teller.tell(TOKENS, issued(f"t{number}"))
            sequence = await teller.tell(ROOM, joined(f"p{number}", f"t{number}"))
        await projector.caught_up(sequence)
    assert contents(tmp_path) == await folded_from_the_log_alone(store)


async def test_a_sequence_that_does_not_come_is_refused_for_the_moment(tmp_path: Path) -> None:
    async with projecting(MemoryStore(), tmp_path) as projector:
        with pytest.raises(Refusal, match="sequence 7 is not known yet") as refused:
            await projector.caught_up(7, timeout_s=0.01)
        assert refused.value.code is Code.NOT_READY


async def test_who_waits_when_it_stops_is_refused(tmp_path: Path) -> None:
    async with projecting(MemoryStore(), tmp_path) as projector:
        waiting = asyncio.create_task(projector.caught_up(7))
        await asyncio.sleep(0)
        await projector.stop()
        with pytest.raises(Refusal, match="the projector has ended"):
            await waiting


async def test_a_question_to_a_projector_that_was_stopped_is_refused(tmp_path: Path) -> None:
    async with projecting(MemoryStore(), tmp_path) as projector:
        await projector.stop()
        with pytest.raises(Refusal) as refused:
            await present(projector)
        assert refused.value.code is Code.NOT_READY


async def test_a_question_before_the_log_was_read_is_refused(tmp_path: Path) -> None:
    store = MemoryStore()
    await Teller(store).tell(ROOM, created())
    projector = Projector(store, tmp_path)
    await projector.start()
    with pytest.raises(Refusal, match="still being read"):
        await projector.ask(ROOMS, rooms.room, "r1")
    await projector.stop()


async def test_it_goes_on_where_it_stopped(store: JetStreamStore, tmp_path: Path) -> None:
    teller = Teller(store)
    await teller.tell(ROOM, joined("p1"))
    async with projecting(store, tmp_path):
        pass
    await teller.tell(ROOM, ParticipantLeft(participant="p1", reason="logout"), joined("p2"))
    async with projecting(store, tmp_path) as projector:
        assert await present(projector) == ["p2"]


async def test_deleted_files_are_rebuilt_from_the_log(store: JetStreamStore, tmp_path: Path) -> None:
    teller = Teller(store)
    await teller.tell(PORTAL, joined_worker("w1"))
    await teller.tell(ROOM, created(), joined("p1"))
    async with projecting(store, tmp_path):
        pass
    before = contents(tmp_path)
    delete(tmp_path)
    async with projecting(store, tmp_path):
        pass
    assert contents(tmp_path) == before


async def test_a_file_of_another_version_is_rebuilt_and_swapped_in(
    store: JetStreamStore, tmp_path: Path
) -> None:
    await Teller(store).tell(ROOM, joined("p1"))
    async with projecting(store, tmp_path, projections=[replace(ROOMS, version=0)]):
        pass
    async with projecting(store, tmp_path) as projector:
        assert await present(projector) == ["p1"]
    assert contents(tmp_path) == await folded_from_the_log_alone(store)


async def test_a_server_that_was_restarted_is_followed_on(
    nats_server: NatsServer, store: JetStreamStore, tmp_path: Path
) -> None:
    teller = Teller(store)
    async with projecting(store, tmp_path) as projector:
        await teller.tell(ROOM, joined("p1"))
        await nats_server.kill()
        await nats_server.start()
        await until(store._requests.connection.up.is_set, 20)
        sequence = await teller.tell(ROOM, joined("p2"))
        await projector.caught_up(sequence, timeout_s=20)
        assert await present(projector) == ["p1", "p2"]


async def test_a_log_that_is_away_at_the_start_is_waited_for_and_that_is_said_once(tmp_path: Path) -> None:
    store = MemoryStore()
    await Teller(store).tell(ROOM, joined("p1"))
    store.available = False
    projector = Projector(store, tmp_path)
    with capture_logs() as lines:
        starting = asyncio.create_task(projector.start())
        await until(lambda: len(lines) > 0)
        assert not starting.done()
        store.available = True
        await starting
        await projector.caught_up()
        assert await present(projector) == ["p1"]
    await projector.stop()
    assert [line["event"] for line in lines] == [
        "the projections have to wait",
        "the projections go on",
        "the projections know the log",
    ]


async def test_a_log_that_goes_away_while_it_is_read_is_waited_for(tmp_path: Path) -> None:
    store = MemoryStore()
    await Teller(store).tell(ROOM, joined("p1"))
    projector = Projector(store, tmp_path)
    await projector.start()
    store.available = False
    with capture_logs() as lines:
        await until(lambda: len(lines) > 0)
        store.available = True
        await projector.caught_up()
    assert await present(projector) == ["p1"]
    await projector.stop()


@pytest.mark.parametrize("befalls", ["replaced", "gone back", "written anew"])
async def test_a_log_that_is_not_the_known_one_is_refused_by_name_and_nothing_is_touched(
    tmp_path: Path, befalls: str
) -> None:
    store = MemoryStore()
    teller = Teller(store)
    await teller.tell(ROOM, joined("p1"))
    await teller.tell(ROOM, joined("p2"))
    async with projecting(store, tmp_path):
        pass
    before = contents(tmp_path)
    if befalls == "replaced":
        store.replace()
        store.reopen()
    else:
        store.go_back(1)
    if befalls == "written anew":
        await Teller(store).tell(ABSENT, joined("p3"))
    with pytest.raises(LogReplaced, match=r"not the log that was known.*cluster.sqlite.*move the file away"):
        await Projector(store, tmp_path).start()
    assert contents(tmp_path) == before


async def test_a_log_that_is_replaced_while_it_is_followed_ends_the_projector(tmp_path: Path) -> None:
    store = MemoryStore()
    await Teller(store).tell(ROOM, joined("p1"))
    async with projecting(store, tmp_path) as projector:
        store.replace()
        async with asyncio.timeout(5):
            assert isinstance(await projector.failed(), LogReplaced)
        assert await present(projector) == ["p1"]
        with pytest.raises(Refusal, match="does not run"):
            await projector.caught_up(9)


async def test_a_log_whose_last_commits_have_expired_is_known_to_its_end(tmp_path: Path) -> None:
    store = MemoryStore()
    teller = Teller(store)
    await teller.tell(ROOM, joined("p1"))
    last = await teller.tell(PORTAL_LOAD, LoadReported(worker="w1", load=0.5))
    store.expire(last)
    async with projecting(store, tmp_path) as projector:
        assert projector.position == last
        assert (await projector.ask(ROOMS, rooms.room, "r1")).sequence == last


async def test_an_event_that_cannot_be_read_is_told_once_and_the_others_count(tmp_path: Path) -> None:
    store = MemoryStore()
    teller = Teller(store)
    async with projecting(store, tmp_path) as projector:
        with capture_logs() as lines:
            store.put(ROOM, b'[{"broken": true}]')
            sequence = await teller.tell(TOKENS, issued("t1"))
            await projector.caught_up(sequence)
        assert [line["address"] for line in lines] == ["1.0"]
        unreadable = await projector.ask(
            ROOMS, lambda db: db.execute("SELECT unreadable FROM position").fetchone()
        )
        assert unreadable.value == (1,)


async def test_a_file_that_somebody_locks_is_waited_for_and_loses_nothing(tmp_path: Path) -> None:
    store = MemoryStore()
    teller = Teller(store)
    async with projecting(store, tmp_path, patience_s=0.01) as projector:
        other = sqlite3.connect(tmp_path / "rooms.sqlite", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with capture_logs() as lines:
            await teller.tell(ROOM, joined("p1"))
            await until(lambda: len(lines) > 0)
            sequence = await teller.tell(ROOM, joined("p2"))
            other.execute("ROLLBACK")
            other.close()
            await projector.caught_up(sequence)
        assert "rooms.sqlite is locked by another program" in lines[0]["reason"]
        assert await present(projector) == ["p1", "p2"]


async def test_a_file_that_is_no_projection_ends_the_start_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "rooms.sqlite").write_text("a shopping list\n" * 100)
    with pytest.raises(NotAProjection, match=r"rooms\.sqlite"):
        await Projector(MemoryStore(), tmp_path).start()


async def test_a_file_that_is_damaged_while_it_is_followed_ends_the_projector(tmp_path: Path) -> None:
    store = MemoryStore()
    async with projecting(store, tmp_path) as projector:
        db = sqlite3.connect(tmp_path / "rooms.sqlite")
        db.execute("DROP TABLE participants")
        db.close()
        await Teller(store).tell(ROOM, joined("p1"))
        async with asyncio.timeout(5):
            assert isinstance(await projector.failed(), NotAProjection)


async def test_questions_are_answered_while_much_is_taken_in(store: JetStreamStore, tmp_path: Path) -> None:
    teller = Teller(store)
    async with projecting(store, tmp_path) as projector:
        seen = 0
        for number in range(30):
            sequence = await teller.tell(PORTAL, *(joined_worker(f"w{number}-{each}") for each in range(50)))
            workers, _ = await projector.ask(CLUSTER, cluster.workers_of, "portal")
            assert len(workers) % 50 == 0
            assert len(workers) >= seen
            seen = len(workers)
        await projector.caught_up(sequence)
        assert len((await projector.ask(CLUSTER, cluster.workers_of)).value) == 1500


async def test_a_projector_that_is_killed_again_and_again_leads_to_the_rows_of_one_that_never_was(
    nats_server: NatsServer, store: JetStreamStore, tmp_path: Path
) -> None:
    await killed_again_and_again(nats_server, store, tmp_path, ["started", "following"] * 2)


@pytest.mark.chaos
async def test_a_projector_that_is_killed_50_times_leads_to_the_rows_of_one_that_never_was(
    nats_server: NatsServer, store: JetStreamStore, tmp_path: Path
) -> None:
    await killed_again_and_again(nats_server, store, tmp_path, ["started", "following"] * 25)


async def killed_again_and_again(
    server: NatsServer, store: JetStreamStore, tmp_path: Path, moments: Sequence[str]
) -> None:
    """Kill a projector some time after each of these moments while the log grows, and compare its rows."""
    directory = tmp_path / "projections"
    teller = Teller(store)
    stopping = asyncio.Event()

    async def keep_busy() -> None:
        number = 0
        while not stopping.is_set():
            number += 1
            room = Boundary(Kind.ROOM, f"r{number % 7}")
            await teller.tell(
                room, RoomCreated(room=room.name, service="s1", settings=RoomSettings(name="R"))
            )
            await teller.tell(room, *(joined(f"p{number}-{each}") for each in range(20)))
            await teller.tell(PORTAL, *(reserved(f"k{number}-{each}") for each in range(20)))
            await teller.tell(room, ParticipantLeft(participant=f"p{number}-1", reason="logout"))
            await asyncio.sleep(0.02)  # a load that the projector can bear beside everything else

    busy = asyncio.create_task(keep_busy())
    positions = [0]
    for moment in moments:
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",  # the folder of the script is no place to import from
            projector_process.__file__,
            server.url,
            server.credentials["service"],
            str(directory),
            stdout=asyncio.subprocess.PIPE,
        )
        assert child.stdout is not None
        while (line := await child.stdout.readline()) != f"{moment}\n".encode():
            assert line, "the projector ended by itself"
        await asyncio.sleep(random.random() * 0.1)  # noqa: S311  - no secret, a moment
        child.kill()
        await child.wait()
        file = ProjectionFile(ROOMS, directory / "rooms.sqlite")
        positions.append(file.position.sequence)
        file.close()
    stopping.set()
    await busy
    assert positions == sorted(positions)
    assert positions[-1] > positions[0]
    async with projecting(store, directory):
        pass
    assert contents(directory) == await folded_from_the_log_alone(store)
