import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from roomledger_projections import rooms
from roomledger_projections.directory import live_path, opened, opened_beside, swapped_in
from roomledger_projections.errors import NotAProjection, ProjectionLocked, ProjectionUnwritable
from roomledger_projections.projection_file import Position, ProjectionFile
from roomledger_projections.rooms import ROOMS
from tests.support.commits import CREATED, ROOM, created, joined, log_of

NEWER = replace(ROOMS, version=ROOMS.version + 1)
_INDEXES = "SELECT count(*) FROM sqlite_master WHERE type = 'index' AND name LIKE 'idx_%'"
A_ROOM = log_of((ROOM, created()), (ROOM, joined("p1")))


def of_older_version(directory: Path) -> ProjectionFile:
    file = opened(directory, ROOMS)
    file.take_in(A_ROOM[:1], CREATED)
    return file


def test_a_projection_has_a_file_of_its_name(tmp_path: Path) -> None:
    assert opened(tmp_path / "projections", ROOMS).path == tmp_path / "projections" / "rooms.sqlite"


def test_a_file_of_this_version_is_opened_where_it_stands(tmp_path: Path) -> None:
    of_older_version(tmp_path).close()
    assert opened(tmp_path, ROOMS).position.sequence == 1


def test_a_file_of_another_version_stays_while_its_successor_begins_beside_it(tmp_path: Path) -> None:
    old = of_older_version(tmp_path)
    new = opened(tmp_path, NEWER)
    assert new.path == tmp_path / "rooms.rebuilt.sqlite"
    assert new.position == Position()
    assert old.ask(rooms.room, "r1") is not None


def test_a_rebuild_that_was_left_half_done_is_gone_on_with(tmp_path: Path) -> None:
    of_older_version(tmp_path).close()
    new = opened(tmp_path, NEWER)
    new.take_in(A_ROOM[:1], CREATED)
    new.close()
    assert opened(tmp_path, NEWER).position.sequence == 1


def test_what_was_rebuilt_takes_the_live_files_place(tmp_path: Path) -> None:
    of_older_version(tmp_path).close()
    new = opened(tmp_path, NEWER)
    new.take_in(A_ROOM, CREATED)
    live = swapped_in(tmp_path, new)
    assert (live.path, live.position.sequence) == (live_path(tmp_path, NEWER), 2)
    assert len(live.ask(rooms.participants_of, "r1")) == 1
    assert sorted(file.name for file in tmp_path.glob("*.sqlite")) == ["rooms.sqlite"]


def indexes(file: ProjectionFile) -> int:
    return int(file.ask(lambda db: db.execute(_INDEXES).fetchone()[0]))


def test_whatever_is_swapped_in_has_all_its_indexes(tmp_path: Path) -> None:
    loaded = opened(tmp_path / "loaded", ROOMS)
    assert indexes(loaded) == 0
    assert indexes(swapped_in(tmp_path / "loaded", loaded)) == 2
    of_older_version(tmp_path).close()
    assert indexes(swapped_in(tmp_path, opened(tmp_path, NEWER))) == 2


def test_who_reads_the_live_file_meanwhile_sees_the_new_contents_afterwards(tmp_path: Path) -> None:
    reader = of_older_version(tmp_path)
    new = opened_beside(tmp_path, ROOMS)
    new.take_in(A_ROOM, CREATED)
    assert reader.ask(rooms.participants_of, "r1") == []
    swapped_in(tmp_path, new)
    assert len(reader.ask(rooms.participants_of, "r1")) == 1


def test_a_live_file_that_is_locked_is_not_replaced(tmp_path: Path) -> None:
    of_older_version(tmp_path).close()
    new = opened(tmp_path, NEWER)
    new.take_in(A_ROOM, CREATED)
    other = sqlite3.connect(live_path(tmp_path, ROOMS), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(ProjectionLocked):
        swapped_in(tmp_path, new, patience=0.01)
    other.execute("ROLLBACK")
    assert swapped_in(tmp_path, new).position.sequence == 2


def test_swapping_in_a_live_file_leaves_it_as_it_is(tmp_path: Path) -> None:
    file = opened(tmp_path, ROOMS)
    assert swapped_in(tmp_path, file) is file


def test_a_rebuilt_file_of_an_older_version_begins_anew(tmp_path: Path) -> None:
    older = opened_beside(tmp_path, ROOMS)
    older.take_in(A_ROOM, CREATED)
    older.close()
    assert opened_beside(tmp_path, NEWER).position == Position()


def test_something_else_in_a_projections_place_is_named(tmp_path: Path) -> None:
    (tmp_path / "rooms.sqlite").write_text("a shopping list\n" * 100)
    with pytest.raises(NotAProjection):
        opened(tmp_path, ROOMS)


def test_a_directory_that_cannot_be_created_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ProjectionUnwritable, match="file/projections cannot be written"):
        opened(tmp_path / "file" / "projections", ROOMS)
