import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from roomledger.event_store.store import Head
from roomledger.runtime.projection_status import Status, status
from roomledger_events.catalogue import decode
from roomledger_projections.projection_file import ProjectionFile
from roomledger_projections.rooms import ROOMS
from tests.support.commits import CREATED, ROOM, START, created, log_of

HEAD = Head(CREATED, 5)


def status_of(directory: Path, head: Head | None = HEAD) -> Status:
    [found] = status(directory, [ROOMS], head)
    return found


def made(directory: Path, version: int = ROOMS.version) -> None:
    file = ProjectionFile(replace(ROOMS, version=version), directory / "rooms.sqlite")
    file.take_in([*log_of((ROOM, created())), decode(2, ROOM, START, b"no json")], CREATED)
    file.close()


def test_a_file_is_told_with_position_and_lag(tmp_path: Path) -> None:
    made(tmp_path)
    found = status_of(tmp_path)
    assert found[2:9] == ("ready", None, ROOMS.version, 2, 3, 1, 1)
    assert found.size > 0


def test_without_the_log_the_lag_is_not_known(tmp_path: Path) -> None:
    made(tmp_path)
    assert status_of(tmp_path, None).lag is None


def test_one_that_is_not_there_is_missing(tmp_path: Path) -> None:
    assert status_of(tmp_path).state == "missing"


@pytest.mark.parametrize(("version", "state"), [(ROOMS.version - 1, "older"), (ROOMS.version + 1, "newer")])
def test_another_version_is_told(tmp_path: Path, version: int, state: str) -> None:
    made(tmp_path, version)
    assert (status_of(tmp_path).state, status_of(tmp_path).version) == (state, version)


def test_one_of_another_log_is_told(tmp_path: Path) -> None:
    made(tmp_path)
    assert status_of(tmp_path, Head("2020-01-01T00:00:00Z", 5)).state == "another log"


def test_something_else_is_unusable(tmp_path: Path) -> None:
    (tmp_path / "rooms.sqlite").write_text("a shopping list\n" * 100)
    found = status_of(tmp_path)
    assert (found.state, found.problem) == ("unusable", "file is not a database")


def test_one_that_somebody_locks_is_told(tmp_path: Path) -> None:
    made(tmp_path)
    other = sqlite3.connect(tmp_path / "rooms.sqlite", isolation_level=None)
    other.execute("PRAGMA locking_mode = EXCLUSIVE")
    other.execute("BEGIN EXCLUSIVE")
    found = status_of(tmp_path)
    assert (found.state, found.problem) == ("unusable", "database is locked")
    other.close()
