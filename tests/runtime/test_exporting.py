import asyncio
import json
import os
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlite_utils import Database
from sqlite_utils.db import ForeignKey

from roomledger.event_store.file_log import FileLog
from roomledger.event_store.jetstream import JetStreamStore
from roomledger.runtime.errors import FileInTheWay
from roomledger.runtime.exporting import Wanted, export
from roomledger.runtime.pseudonyms import Pseudonyms
from roomledger_events.envelope import Commit, encode
from roomledger_events.rooms import TextSent
from roomledger_events.subjects import Boundary, Kind
from tests.support.commits import (
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
from tests.support.exported import exported
from tests.support.nats import NatsServer
from tests.support.stored import Teller, opened_store

OTHER = Boundary(Kind.ROOM, "r2")


@pytest.fixture
async def store(nats_server: NatsServer) -> AsyncIterator[JetStreamStore]:
    async with opened_store(nats_server) as store:
        teller = Teller(store)
        await teller.tell(PORTAL, joined_worker("w1"))
        await teller.tell(ROOM, created())
        await teller.tell(OTHER, joined("p9"))
        await teller.tell(PORTAL, reserved("k1"), reserved("k2"))
        await teller.tell(TOKENS, issued("t1"))
        await teller.tell(ROOM, joined("p1"))
        await teller.tell(Boundary(Kind.TEXT, "r1"), TextSent(sender="p1", to="all", message="hello"))
        yield store


async def all_of(log: JetStreamStore | FileLog) -> list[tuple[Commit, bytes]]:
    return [stored async for stored in log.stored()]


async def test_the_file_holds_the_log_byte_for_byte(store: JetStreamStore, tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    found = await export(store, path, Wanted())
    assert (found.commits, found.events, found.unreadable) == (7, 8, 0)
    log = FileLog.open(path)
    assert await all_of(log) == await all_of(store)
    assert await log.position() == await store.position()
    assert log.header.whole
    log.close()


async def test_a_compressed_file_holds_it_too(store: JetStreamStore, tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl.gz"
    await export(store, path, Wanted())
    log = FileLog.open(path)
    assert await all_of(log) == await all_of(store)
    log.close()


async def test_a_part_of_it_says_which_part_it_is(store: JetStreamStore, tmp_path: Path) -> None:
    path = tmp_path / "part.jsonl"
    await export(store, path, Wanted(start=2, end=5, rooms=("r2",)))
    log = FileLog.open(path)
    assert [stored.sequence for stored, _ in await all_of(log)] == [3, 4]
    assert (log.header.first, log.header.last, log.header.head, log.header.rooms) == (2, 5, 7, ("r2",))
    assert not log.header.whole
    log.close()


async def test_a_room_comes_with_its_tokens_and_texts_and_all_that_was_scheduled(
    store: JetStreamStore, tmp_path: Path
) -> None:
    path = tmp_path / "room.jsonl"
    await export(store, path, Wanted(rooms=("r1",)))
    log = FileLog.open(path)
    assert [stored.sequence for stored, _ in await all_of(log)] == [1, 2, 4, 5, 6, 7]
    log.close()


async def test_with_pseudonyms_no_name_is_in_the_file(store: JetStreamStore, tmp_path: Path) -> None:
    for name in ("log.jsonl", "log.db"):
        await export(store, tmp_path / name, Wanted(pseudonyms=Pseudonyms()))
        whole = (tmp_path / name).read_bytes()
        assert b"p1" in whole
        for personal in (b"Ada", b"hello", b"Room one"):
            assert personal not in whole


async def test_a_file_can_be_made_of_a_file(tmp_path: Path) -> None:
    whole = FileLog.open(
        exported(tmp_path / "whole", log_of((PORTAL, joined_worker("w1")), (ROOM, created())))
    )
    path = tmp_path / "part"
    await export(whole, path, Wanted(end=1))
    part = FileLog.open(path)
    assert [stored.sequence for stored, _ in await all_of(part)] == [1]
    assert part.header.created == whole.header.created
    whole.close()
    part.close()


async def test_a_file_that_is_there_is_replaced_only_when_that_was_asked_for(
    store: JetStreamStore, tmp_path: Path
) -> None:
    path = tmp_path / "log.jsonl"
    await asyncio.to_thread(path.write_text, "precious")
    with pytest.raises(FileInTheWay, match="replace it by --force"):
        await export(store, path, Wanted())
    assert await asyncio.to_thread(path.read_text) == "precious"
    await export(store, path, Wanted(), replace=True)
    FileLog.open(path).close()


async def test_an_export_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    path = exported(tmp_path / "whole", log_of((PORTAL, joined_worker("w1")), (ROOM, created())))
    log = FileLog.open(path)

    def fail(*_: object) -> None:
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="disk is full"):
        await export(log, tmp_path / "log.jsonl", Wanted(), on_progress=fail)
    log.close()
    assert await asyncio.to_thread(os.listdir, tmp_path) == ["whole"]


async def test_what_cannot_be_read_is_kept_and_counted(nats_server: NatsServer, tmp_path: Path) -> None:
    async with opened_store(nats_server) as store:
        newer = encode(commit(1, ROOM, joined("p1")).events).replace(b"ParticipantJoined", b"SomethingNewer")
        for body in (newer, b"no json at all"):
            await store._connection.request("ledger.room.r1", body)
        found = await export(store, tmp_path / "log.jsonl", Wanted())
        assert (found.events, found.unreadable, found.left_out) == (2, 2, 0)
        log = FileLog.open(tmp_path / "log.jsonl")
        assert [body for _, body in await all_of(log)] == [newer, b"no json at all"]
        log.close()
        hidden = await export(store, tmp_path / "hidden.jsonl", Wanted(pseudonyms=Pseudonyms()))
        assert (hidden.unreadable, hidden.left_out) == (2, 2)


async def test_as_sqlite_it_is_made_of_understandable_tables(store: JetStreamStore, tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    await export(store, path, Wanted())
    with closing(sqlite3.connect(path)) as connection:
        db = Database(connection)
        assert db.table_names() == ["export", "commits", "events"]
        assert db.table("events").foreign_keys == [ForeignKey("events", "sequence", "commits", "sequence")]
        assert db.table("events").pks == ["address"]
        assert [row["kind"] for row in db.table("commits").rows] == [
            "scheduler", "room", "room", "scheduler", "token", "room", "text",
        ]  # fmt: skip  # one line
        events: list[dict[str, Any]] = list(db.table("events").rows)
        assert [event["address"] for event in events][3:5] == ["4.0", "4.1"]
        assert json.loads(events[5]["data"])["user"] == "Ada"
        [about] = db.table("export").rows
        assert (about["commits"], about["events"], about["last"]) == (7, 8, 7)
