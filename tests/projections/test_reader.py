import sqlite3
from pathlib import Path

import pytest

from roomledger_projections import rooms
from roomledger_projections.errors import NotAProjection, ProjectionUnwritable
from roomledger_projections.projection_file import ProjectionFile
from roomledger_projections.reader import Reader
from roomledger_projections.rooms import ROOMS
from tests.support.commits import CREATED, ROOM, created, joined, log_of


@pytest.fixture
def file(tmp_path: Path) -> ProjectionFile:
    file = ProjectionFile(ROOMS, tmp_path / "rooms.sqlite")
    file.take_in(log_of((ROOM, created()), (ROOM, joined("p1"))), CREATED)
    return file


def test_an_answer_comes_with_the_sequence_that_it_reflects(file: ProjectionFile) -> None:
    rows, sequence = Reader(file.path).ask(rooms.participants_of, "r1")
    assert ([row["id"] for row in rows], sequence) == (["p1"], 2)


def test_all_that_one_question_reads_is_of_one_moment(file: ProjectionFile) -> None:
    def ask(db: sqlite3.Connection) -> tuple[int, int]:
        before = len(rooms.participants_of(db, "r1"))
        file.take_in(log_of((ROOM, created()), (ROOM, joined("p1")), (ROOM, joined("p2"))), CREATED)
        return before, len(rooms.participants_of(db, "r1"))

    reader = Reader(file.path)
    assert reader.ask(ask) == ((1, 1), 2)
    assert len(reader.ask(rooms.participants_of, "r1")[0]) == 2


def test_a_question_cannot_change_anything(file: ProjectionFile) -> None:
    with pytest.raises(ProjectionUnwritable, match="readonly"):
        Reader(file.path).ask(lambda db: db.execute("DELETE FROM rooms"))
    assert file.ask(rooms.room, "r1") is not None


def test_a_question_after_one_that_failed_is_answered(file: ProjectionFile) -> None:
    reader = Reader(file.path)
    with pytest.raises(NotAProjection, match="no such table"):
        reader.ask(lambda db: db.execute("SELECT * FROM recipes"))
    assert reader.ask(rooms.room_count, "s1") == (1, 2)
