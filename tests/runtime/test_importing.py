import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from roomledger.domain.purpose import PurposeSettings
from roomledger.event_store.connection import connect
from roomledger.event_store.errors import NotPermitted
from roomledger.event_store.export_format import ExportWriter
from roomledger.event_store.file_log import FileLog
from roomledger.event_store.jetstream import JetStreamStore
from roomledger.event_store.layout import Layout
from roomledger.runtime.access import Access
from roomledger.runtime.errors import ExportNotWhole, ImportInterrupted, LogNotEmpty
from roomledger.runtime.importing import import_into
from roomledger.runtime.nats_conf import Names
from roomledger.runtime.progress import Progress
from roomledger.runtime.verifying import verified
from roomledger_events.catalogue import decode
from roomledger_events.envelope import Commit
from roomledger_events.subjects import Boundary, Kind
from roomledger_events.workers import LoadReported
from tests.support.commits import (
    PORTAL,
    ROOM,
    START,
    TOKENS,
    commit,
    created,
    issued,
    joined_worker,
    log_of,
    reserved,
)
from tests.support.exported import exported, header_of
from tests.support.nats import NatsServer, until
from tests.support.stored import IMPATIENT, Teller

COMMITS = log_of((PORTAL, joined_worker("w1")), (ROOM, created()), (PORTAL, (reserved("k1"), reserved("k2"))))
LOADS = Boundary(Kind.LOAD, "portal")


@asynccontextmanager
async def opened(server: NatsServer, **kept: int) -> AsyncIterator[Access]:
    connection = await connect(server.url, "service", server.credentials["service"])
    try:
        layout = Layout(max_bytes=256 * 1024**2, **kept)
        yield Access(connection, await JetStreamStore.open(connection, layout, patience=IMPATIENT))
    finally:
        await connection.close()


@pytest.fixture
async def access(nats_server: NatsServer) -> AsyncIterator[Access]:
    async with opened(nats_server) as access:
        yield access


async def read(access: Access) -> list[Commit]:
    return [each async for each in access.store.read()]


def told(commits: list[Commit]) -> list[tuple[object, ...]]:
    """Return all of the commits but when they were stored."""
    return [(each.sequence, each.boundary, each.events) for each in commits]


async def test_every_commit_is_where_it_was(access: Access, tmp_path: Path) -> None:
    file = FileLog.open(exported(tmp_path / "log", COMMITS))
    assert await import_into(access, file) == (3, 4, 0, 3, 0)
    assert told(await read(access)) == told(COMMITS)
    file.close()


async def test_the_log_goes_on_from_there(access: Access, tmp_path: Path) -> None:
    file = FileLog.open(exported(tmp_path / "log", COMMITS))
    await import_into(access, file)
    file.close()
    teller = Teller(access.store)
    teller.knows(PORTAL, 3)
    assert await teller.tell(PORTAL, reserved("k3")) == 4


async def test_what_had_expired_leaves_the_same_gaps_when_a_text_would_have_expired(
    nats_server: NatsServer, tmp_path: Path
) -> None:
    commits = [commit(2, PORTAL, joined_worker("w1")), commit(700, ROOM, created())]
    file = FileLog.open(exported(tmp_path / "log", commits, header_of(702)))
    async with opened(nats_server, text_ttl_s=1) as access:
        assert await import_into(access, file) == (2, 2, 700, 702, 0)
        file.close()
        assert (await access.store.position()).sequence == 702

        async def only_these() -> bool:
            return told(await read(access)) == told(commits)

        await until(only_these)


async def test_a_log_with_gaps_is_whole_to_whoever_verifies_it_at_once(
    access: Access, tmp_path: Path
) -> None:
    commits = [commit(2, ROOM, created()), commit(70, TOKENS, issued("t1"))]
    file = FileLog.open(exported(tmp_path / "log", commits, header_of(72)))
    await import_into(access, file)
    file.close()
    lives = timedelta(seconds=access.store.layout.text_ttl_s)
    report = await verified(
        access.store, PurposeSettings.default, expired_before=lambda: datetime.now(UTC) - lives
    )
    assert (report.findings, report.sequence) == ([], 72)


async def test_load_reports_expire_anew(access: Access, tmp_path: Path) -> None:
    file = FileLog.open(exported(tmp_path / "log", log_of((LOADS, LoadReported(worker="w1", load=0.5)))))
    await import_into(access, file)
    file.close()
    answer = await access.broker.request("$JS.API.STREAM.MSG.GET.ROOMLEDGER", b'{"seq": 1}', timeout=5)
    assert b"hdrs" in answer.data
    assert told(await read(access)) == told(log_of((LOADS, LoadReported(worker="w1", load=0.5))))


async def test_what_cannot_be_read_is_brought_in_as_it_is(access: Access, tmp_path: Path) -> None:
    path = tmp_path / "log"
    await asyncio.to_thread(_write, path, b"no json at all")
    file = FileLog.open(path)
    await import_into(access, file)
    file.close()
    assert [body async for _, body in access.store.stored()] == [b"no json at all"]


def _write(path: Path, body: bytes) -> None:
    with path.open("wb") as out:
        writer = ExportWriter(out, header_of(1))
        writer.add(decode(1, ROOM, START, body), body)
        writer.end()


async def test_a_log_that_is_not_empty_is_left_alone(access: Access, tmp_path: Path) -> None:
    await Teller(access.store).tell(ROOM, created())
    file = FileLog.open(exported(tmp_path / "log", COMMITS))
    with pytest.raises(LogNotEmpty, match="it stands at sequence 1"):
        await import_into(access, file)
    file.close()
    assert len(await read(access)) == 1


async def test_a_part_of_a_log_is_refused(access: Access, tmp_path: Path) -> None:
    for header, why in (
        (header_of(3, first=2), "began at 2"),
        (header_of(3, rooms=("r1",)), "the rooms r1 only"),
    ):
        file = FileLog.open(exported(tmp_path / "log", COMMITS[1:], header))
        with pytest.raises(ExportNotWhole, match=why):
            await import_into(access, file)
        file.close()
    assert await read(access) == []


async def test_one_that_breaks_off_says_how_far_it_came(
    access: Access, nats_server: NatsServer, tmp_path: Path
) -> None:
    many = log_of(*[(ROOM, created())] * 2000)
    file = FileLog.open(exported(tmp_path / "log", many))
    others: list[asyncio.Task[int]] = []
    async with opened(nats_server) as other:

        def meddle(_: Progress) -> None:
            if not others:
                others.append(
                    asyncio.ensure_future(Teller(other.store).tell(Boundary(Kind.ROOM, "r9"), created()))
                )

        with pytest.raises(
            ImportInterrupted, match=r"broke off at sequence \d+ of 2000 .* import the file again"
        ):
            await import_into(access, file, on_progress=meddle)
        await asyncio.gather(*others)
    file.close()


def many_of(number: int, last: int) -> list[Commit]:
    """Return a long log of rooms and load reports, with a gap, that ends there."""
    kinds = ((ROOM, created()), (LOADS, LoadReported(worker="w1", load=0.5)), (PORTAL, joined_worker("w1")))
    commits = [commit(sequence, *kinds[sequence % 3]) for sequence in range(1, number + 1)]
    return [*commits[:7], *commits[9:], commit(last, ROOM, created())]


async def test_one_that_broke_off_goes_on_when_it_is_run_again(
    nats_server: NatsServer, tmp_path: Path
) -> None:
    many = many_of(1500, 1502)
    file = FileLog.open(exported(tmp_path / "log", many))
    async with opened(nats_server) as other:
        breaking: list[asyncio.Task[None]] = []

        def cut(progress: Progress) -> None:
            if progress.sequence > 300 and not breaking:
                breaking.append(asyncio.ensure_future(other.broker.close()))

        with pytest.raises(ImportInterrupted):
            await import_into(other, file, on_progress=cut)
        await asyncio.gather(*breaking)
    async with opened(nats_server) as access:
        before = (await access.store.position()).sequence
        assert 0 < before < 1502
        imported = await import_into(access, file)
        assert (imported.before, imported.last) == (before, 1502)
        assert imported.commits + imported.gaps == 1502 - before
        file.close()
        found = await read(access)
        assert [each.sequence for each in found] == list(range(1, 1503))
        assert told([each for each in found if each.events]) == told(many)


async def test_one_that_is_there_already_is_not_brought_in_twice(access: Access, tmp_path: Path) -> None:
    file = FileLog.open(exported(tmp_path / "log", COMMITS))
    await import_into(access, file)
    assert await import_into(access, file) == (0, 0, 0, 3, 3)
    file.close()
    assert told(await read(access)) == told(COMMITS)


async def test_what_has_expired_since_it_broke_off_is_not_missed(
    nats_server: NatsServer, tmp_path: Path
) -> None:
    many = many_of(30, 32)
    async with opened(nats_server, load_ttl_s=1) as access:
        half = FileLog.open(exported(tmp_path / "half", [each for each in many if each.sequence <= 20]))
        await import_into(access, half)
        half.close()
        lasting = [each for each in many if each.boundary != LOADS]

        async def expired() -> bool:
            return len(await read(access)) == len([each for each in lasting if each.sequence <= 20])

        await until(expired)
        file = FileLog.open(exported(tmp_path / "log", many))
        assert (await import_into(access, file)).before == 20
        file.close()
        left = [each for each in told(await read(access)) if each[0] not in {8, 9, 31} and each[1] != LOADS]
        assert left == told(lasting)


@pytest.mark.parametrize("place", [0, 1, 2])
async def test_another_log_is_not_gone_on_with(access: Access, tmp_path: Path, place: int) -> None:
    file = FileLog.open(exported(tmp_path / "log", COMMITS))
    await import_into(access, file)
    file.close()
    other = [*COMMITS, *log_of(*[(ROOM, created())] * 5)[3:]]
    other[place] = commit(place + 1, ROOM, created(), created())
    another = FileLog.open(exported(tmp_path / "other", other))
    with pytest.raises(LogNotEmpty, match=f"at {place + 1} it is not what the file holds"):
        await import_into(access, another)
    another.close()
    assert told(await read(access)) == told(COMMITS)


async def test_a_log_that_has_gone_on_is_left_alone(access: Access, tmp_path: Path) -> None:
    file = FileLog.open(exported(tmp_path / "log", COMMITS))
    await import_into(access, file)
    teller = Teller(access.store)
    teller.knows(PORTAL, 3)
    await teller.tell(PORTAL, reserved("k3"))
    with pytest.raises(LogNotEmpty, match="at 4 it is not what the file holds"):
        await import_into(access, file)
    file.close()


async def test_who_may_not_append_is_told_so(tmp_path: Path) -> None:
    server = NatsServer(tmp_path / "east", Names(ledger="east"))
    await server.start()
    connection = await connect(server.url, "service", server.credentials["service"])
    try:
        access = Access(connection, await JetStreamStore.open(connection, Layout(max_bytes=256 * 1024**2)))
        file = FileLog.open(exported(tmp_path / "log", COMMITS))
        with pytest.raises(NotPermitted, match=r"the user service publish to ledger\.scheduler\.portal"):
            await import_into(access, file)
        file.close()
        assert (await access.store.position()).sequence == 0
    finally:
        await connection.close()
        await server.close()
