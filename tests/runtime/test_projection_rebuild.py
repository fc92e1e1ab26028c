import asyncio
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from roomledger.event_store.memory import MemoryStore
from roomledger.runtime.progress import Progress
from roomledger.runtime.projection_rebuild import rebuild
from roomledger.runtime.projector import Projector
from roomledger_events.envelope import encode
from roomledger_projections import PROJECTIONS, rooms
from roomledger_projections.directory import live_path
from roomledger_projections.errors import NotAProjection, ProjectionLocked
from roomledger_projections.projection import Projection
from roomledger_projections.projection_file import ProjectionFile
from roomledger_projections.rooms import ROOMS
from tests.support.commits import (
    CREATED,
    PORTAL,
    ROOM,
    TOKENS,
    commit,
    created,
    issued,
    joined,
    joined_worker,
    log_of,
    reserved,
)
from tests.support.nats import until
from tests.support.stored import Teller


@pytest.fixture
async def store() -> MemoryStore:
    store = MemoryStore()
    teller = Teller(store)
    await teller.tell(ROOM, created())
    for number in range(5):
        await teller.tell(ROOM, joined(f"p{number}"))
    return store


def live(directory: Path) -> ProjectionFile:
    return ProjectionFile(ROOMS, directory / "rooms.sqlite")


def present(directory: Path) -> list[str]:
    file = live(directory)
    found = [row["id"] for row in file.ask(rooms.participants_of, "r1")]
    file.close()
    return found


async def spoil(directory: Path) -> None:
    """Lose a row of the live file, as nobody should."""
    db = await asyncio.to_thread(sqlite3.connect, directory / "rooms.sqlite", check_same_thread=False)
    db.execute("DELETE FROM participants WHERE id = 'p2'")
    db.commit()
    db.close()


async def test_where_there_is_no_file_one_is_made(store: MemoryStore, tmp_path: Path) -> None:
    directory = tmp_path / "projections"
    told: list[Progress] = []
    assert await rebuild(store, directory, ROOMS, on_progress=told.append) == ("rooms", 6, 6, 0)
    assert present(directory) == ["p0", "p1", "p2", "p3", "p4"]
    assert told[-1] == Progress(6, 6, 6)
    assert [path.name for path in directory.iterdir()] == ["rooms.sqlite"]


async def test_a_row_that_was_lost_is_there_again(store: MemoryStore, tmp_path: Path) -> None:
    await rebuild(store, tmp_path, ROOMS)
    await spoil(tmp_path)
    assert "p2" not in present(tmp_path)
    await rebuild(store, tmp_path, ROOMS)
    assert present(tmp_path) == ["p0", "p1", "p2", "p3", "p4"]


async def test_a_projector_that_runs_goes_on_through_it_and_misses_nothing(
    store: MemoryStore, tmp_path: Path
) -> None:
    projector = Projector(store, tmp_path)
    await projector.start()
    await projector.caught_up()
    await spoil(tmp_path)
    teller = Teller(store)
    teller.knows(ROOM, 6)
    stopping = asyncio.Event()
    told = ["p0", "p1", "p2", "p3", "p4"]
    seen: list[int] = []

    async def keep_busy() -> None:
        while not stopping.is_set():
            told.append(f"q{len(told)}")
            sequence = await teller.tell(ROOM, joined(told[-1]))
            await projector.caught_up(sequence)
            seen.append(len((await projector.ask(ROOMS, rooms.participants_of, "r1")).value))

    busy = asyncio.create_task(keep_busy())
    await until(lambda: len(seen) > 5)
    for _ in range(3):
        await rebuild(store, tmp_path, ROOMS)
        so_far = len(seen)
        await until(lambda so_far=so_far: len(seen) > so_far + 5)  # type: ignore[misc]  # bound
    stopping.set()
    await busy
    assert [row["id"] for row in (await projector.ask(ROOMS, rooms.participants_of, "r1")).value] == told
    assert seen == sorted(seen)
    await projector.stop()


async def test_a_live_file_that_knows_more_is_not_taken_back(store: MemoryStore, tmp_path: Path) -> None:
    teller = Teller(store)
    teller.knows(ROOM, 6)
    file = live(tmp_path)

    async def go_on(_: Progress) -> None:
        await teller.tell(ROOM, joined("p9"))

    late: list[asyncio.Task[None]] = []

    def told(progress: Progress) -> None:
        if not late:
            late.append(asyncio.ensure_future(go_on(progress)))
            # The live file takes in at once what the rebuild has not read.
            file.take_in(
                [commit(number, ROOM, joined(f"p{number}")) for number in range(1, 8)], store.created
            )

    assert (await rebuild(store, tmp_path, ROOMS, on_progress=told)).sequence == 7
    assert "p9" in present(tmp_path)
    file.close()


async def test_an_older_version_is_replaced(store: MemoryStore, tmp_path: Path) -> None:
    older = ProjectionFile(replace(ROOMS, version=ROOMS.version - 1), tmp_path / "rooms.sqlite")
    older.take_in(log_of((ROOM, created())), CREATED)
    older.close()
    await rebuild(store, tmp_path, ROOMS)
    assert len(present(tmp_path)) == 5


async def test_a_newer_version_is_replaced_only_by_force(store: MemoryStore, tmp_path: Path) -> None:
    ProjectionFile(replace(ROOMS, version=ROOMS.version + 1), tmp_path / "rooms.sqlite").close()
    with pytest.raises(NotAProjection, match="newer than this one's"):
        await rebuild(store, tmp_path, ROOMS)
    await rebuild(store, tmp_path, ROOMS, replace=True)
    assert len(present(tmp_path)) == 5


async def test_something_else_is_replaced_only_by_force(store: MemoryStore, tmp_path: Path) -> None:
    path = tmp_path / "rooms.sqlite"
    await asyncio.to_thread(path.write_text, "a shopping list\n" * 100)
    with pytest.raises(NotAProjection):
        await rebuild(store, tmp_path, ROOMS)
    assert (await asyncio.to_thread(path.read_text)).startswith("a shopping list")
    await rebuild(store, tmp_path, ROOMS, replace=True)
    assert len(present(tmp_path)) == 5


async def test_only_one_rebuilds_at_a_time(store: MemoryStore, tmp_path: Path) -> None:
    others: list[asyncio.Task[object]] = []

    def told(_: Progress) -> None:
        if not others:
            others.append(asyncio.ensure_future(rebuild(store, tmp_path, ROOMS)))

    await rebuild(store, tmp_path, ROOMS, on_progress=told)
    [other] = await asyncio.gather(*others, return_exceptions=True)
    assert isinstance(other, ProjectionLocked)
    assert "is being rebuilt already" in str(other)


async def test_what_cannot_be_read_is_put_aside_or_only_counted(store: MemoryStore, tmp_path: Path) -> None:
    store.put(ROOM, encode(commit(7, ROOM, joined("p7")).events).replace(b"ParticipantJoined", b"Newer"))
    store.put(ROOM, b"no json")
    for holds, held in ((True, ["7.0", "8.0"]), (False, [])):
        done = await rebuild(store, tmp_path, ROOMS, holds=holds)
        assert (done.sequence, done.unreadable) == (8, 2)
        file = live(tmp_path)
        assert [
            row[0] for row in file.ask(lambda db: db.execute("SELECT address FROM held").fetchall())
        ] == held
        file.close()


@pytest.mark.parametrize("projection", PROJECTIONS, ids=lambda projection: projection.name)
async def test_each_projection_is_rebuilt_to_the_rows_of_the_whole_log(
    store: MemoryStore, tmp_path: Path, projection: Projection
) -> None:
    await Teller(store).tell(PORTAL, joined_worker("w1"), reserved("k1"))
    await Teller(store).tell(TOKENS, issued("t1"))
    await rebuild(store, tmp_path, projection)
    rebuilt = ProjectionFile(projection, live_path(tmp_path, projection))
    whole = ProjectionFile(projection)
    whole.take_in([each async for each in store.read()], store.created)
    for table in (*projection.tables, "position"):
        assert rows(rebuilt, table) == rows(whole, table)
    rebuilt.close()


def rows(file: ProjectionFile, table: str) -> list[tuple[object, ...]]:
    asked = f'SELECT * FROM "{table}"'  # noqa: S608  - our own name
    return sorted(file.ask(lambda db: db.execute(asked).fetchall()), key=repr)
