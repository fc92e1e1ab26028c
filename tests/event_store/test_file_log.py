import gzip
import json
from pathlib import Path

import pytest

from roomledger.event_store import file_log
from roomledger.event_store.errors import ExportDamaged, ExportTooNew, ExportUnusable, NotAnExport
from roomledger.event_store.export_format import FORMAT, ExportWriter
from roomledger.event_store.file_log import FileLog
from roomledger.event_store.store import Bookmark, Filter, check
from roomledger_events.catalogue import decode
from roomledger_events.envelope import Commit, Unreadable
from roomledger_events.subjects import ANY, Boundary, Kind
from tests.support.commits import (
    CREATED,
    PORTAL,
    ROOM,
    START,
    TOKENS,
    created,
    issued,
    joined,
    joined_worker,
    log_of,
    reserved,
)
from tests.support.exported import exported, exported_into, header_of

COMMITS = log_of(
    (PORTAL, joined_worker("w1")),
    (ROOM, created()),
    (PORTAL, (reserved("k1"), reserved("k2"))),
    (TOKENS, issued("t1")),
    (ROOM, joined("p1")),
)


async def read(log: FileLog, only: Filter = (), *, start: int = 1, until: int | None = None) -> list[Commit]:
    return [commit async for commit in log.read(only, start=start, until=until)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return exported(tmp_path / "log.jsonl", COMMITS)


async def test_it_is_read_like_the_log(path: Path) -> None:
    log = FileLog.open(path)
    assert await read(log) == COMMITS
    assert await log.position() == (CREATED, 5)
    assert [commit async for commit in log.follow(start=4)] == COMMITS[3:]
    log.close()


async def test_in_stretches_the_same_commits_are_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_log, "_IN_A_TURN", 2)
    log = FileLog.open(path)
    assert [stretch async for stretch in log.stretches()] == [COMMITS[:2], COMMITS[2:4], COMMITS[4:]]
    assert [stretch async for stretch in log.stretches([ROOM], until=2)] == [[COMMITS[1]]]
    assert [stretch async for stretch in log.stretches(start=6)] == []
    log.close()


async def test_a_span_and_some_boundaries_are_read(path: Path) -> None:
    log = FileLog.open(path)
    assert await read(log, start=2, until=4) == COMMITS[1:4]
    assert await read(log, [ROOM]) == [COMMITS[1], COMMITS[4]]
    assert await read(log, [Boundary(Kind.SCHEDULER, ANY), TOKENS], start=3) == COMMITS[2:4]
    assert await read(log, start=6) == []
    log.close()


async def test_several_read_side_by_side(path: Path) -> None:
    log = FileLog.open(path)
    first, second = log.read(), log.read(start=3)
    assert [await anext(first), await anext(second), await anext(first)] == [
        COMMITS[0],
        COMMITS[2],
        COMMITS[1],
    ]
    await first.aclose()
    await second.aclose()
    log.close()


async def test_a_bookmark_of_the_log_holds_in_its_export(path: Path) -> None:
    log = FileLog.open(path)
    head = await log.position()
    assert await check(log, Bookmark.at(head, COMMITS[2])) == head
    log.close()


@pytest.mark.parametrize("name", ["log.jsonl.gz", "log.jsonl"])
async def test_a_compressed_one_is_read_whatever_its_name(tmp_path: Path, name: str) -> None:
    packed = tmp_path / name
    with gzip.open(packed, "wb") as file:
        exported_into(file, COMMITS)
    log = FileLog.open(packed)
    assert await read(log) == COMMITS
    log.close()


async def test_an_export_of_nothing_holds_nothing(tmp_path: Path) -> None:
    log = FileLog.open(exported(tmp_path / "empty", []))
    assert await read(log) == []
    log.close()


@pytest.mark.parametrize("body", [b"no json", b'[\n{"id": 1}]', b"\xff\xfe", b""])
async def test_a_body_that_is_no_line_of_json_is_kept_as_it_is(tmp_path: Path, body: bytes) -> None:
    path = tmp_path / "log"
    with path.open("wb") as file:
        writer = ExportWriter(file, header_of(1))
        writer.add(decode(1, ROOM, START, body), body)
        writer.end()
    log = FileLog.open(path)
    [(commit, stored)] = [each async for each in log.stored()]
    assert stored == body
    assert commit == decode(1, ROOM, START, body)
    assert isinstance(commit.events[0].data, Unreadable)
    log.close()


def test_every_cut_is_found(path: Path, tmp_path: Path) -> None:
    whole = path.read_bytes()
    cut = tmp_path / "cut"
    for size in range(0, len(whole), 97):
        cut.write_bytes(whole[:size])
        with pytest.raises(ExportUnusable):
            FileLog.open(cut)


def test_a_cut_is_told_with_where_it_ends(path: Path) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:4]))
    with pytest.raises(ExportDamaged, match="its end is missing: it stops after sequence 3"):
        FileLog.open(path)


def test_every_edit_is_found(path: Path) -> None:
    whole = path.read_bytes()
    for place in range(0, len(whole), 53):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(ExportUnusable):
            FileLog.open(path)


def test_a_line_that_was_taken_out_is_missed(path: Path) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:2] + lines[3:]))
    with pytest.raises(ExportDamaged, match="5 commits were written, and 4 are there"):
        FileLog.open(path)


def test_lines_in_another_order_are_found(path: Path) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    lines[2], lines[3] = lines[3], lines[2]
    path.write_bytes(b"".join(lines))
    with pytest.raises(ExportDamaged, match="sequence 2 follows 3"):
        FileLog.open(path)


def test_what_follows_the_end_is_found(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\n")
    with pytest.raises(ExportDamaged, match="something follows its end"):
        FileLog.open(path)


def test_a_cut_compressed_one_is_found(path: Path, tmp_path: Path) -> None:
    packed = tmp_path / "log.jsonl.gz"
    packed.write_bytes(gzip.compress(path.read_bytes())[:-20])
    with pytest.raises(ExportDamaged, match="its end is missing"):
        FileLog.open(packed)


@pytest.mark.parametrize("share", [0.2, 0.5, 0.8])
def test_a_changed_compressed_one_is_found(path: Path, tmp_path: Path, share: float) -> None:
    body = bytearray(gzip.compress(path.read_bytes()))
    body[int(len(body) * share)] ^= 0xFF
    packed = tmp_path / "log.jsonl.gz"
    packed.write_bytes(body)
    with pytest.raises(ExportDamaged):
        FileLog.open(packed)


@pytest.mark.parametrize("name", ["notes.txt", "notes.gz"])
def test_something_else_is_no_export(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text("hello\n")
    with pytest.raises(NotAnExport, match="is no exported log"):
        FileLog.open(path)


def test_one_that_a_newer_version_wrote_is_refused(tmp_path: Path) -> None:
    path = exported(tmp_path / "log", COMMITS, header_of(5, version=FORMAT + 1))
    with pytest.raises(ExportTooNew, match=f"format {FORMAT + 1}, and this version reads {FORMAT}"):
        FileLog.open(path)


async def test_a_line_that_is_no_commit_is_told_when_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with path.open("wb") as file:
        writer = ExportWriter(file, header_of(1))
        writer._write({"sequence": 1, "boundary": "nowhere.r1", "time": "2026-01-01T00:00:00Z", "events": []})  # type: ignore[arg-type]  # a line that only somebody else could have written
        writer.commits = 1
        writer.end()
    log = FileLog.open(path)
    with pytest.raises(ExportDamaged, match="a line is no commit"):
        await read(log)
    log.close()


def test_the_events_stand_in_it_as_they_stand_in_the_log(path: Path) -> None:
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line.get("sequence") for line in lines] == [None, 1, 2, 3, 4, 5, None]
    assert [event["type"] for event in lines[3]["events"]] == ["WorkerReserved", "WorkerReserved"]
    assert lines[-1]["events"] == 6
