import sqlite3
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roomledger_events.envelope import Address, Commit, Unreadable
from roomledger_events.rooms import ControllerTakenOver
from roomledger_events.workers import LoadReported
from roomledger_projections import PROJECTIONS, rooms
from roomledger_projections.errors import NotAProjection, ProjectionLocked, ProjectionUnwritable
from roomledger_projections.projection_file import Position, ProjectionFile
from roomledger_projections.rooms import ROOMS
from roomledger_projections.tokens import TOKENS
from tests.support.commits import (
    CREATED,
    PORTAL,
    PORTAL_LOAD,
    ROOM,
    commit,
    created,
    joined,
    joined_worker,
    log_of,
    logs,
)

A_ROOM = log_of((ROOM, created()), (ROOM, (joined("p1"), joined("p2"))))


def contents(file: ProjectionFile) -> list[str]:
    """Everything that is in a file, as the statements that would make it."""
    return file.ask(lambda db: list(db.iterdump()))


def folded(commits: Iterable[Commit]) -> list[list[str]]:
    found = []
    for projection in PROJECTIONS:
        file = ProjectionFile(projection)
        for each in commits:
            file.take_in([each], CREATED)
        found.append(contents(file))
    return found


def test_a_new_file_is_at_the_beginning_of_no_log(tmp_path: Path) -> None:
    assert ProjectionFile(ROOMS, tmp_path / "rooms.sqlite").position == Position()


def test_the_position_is_the_last_commit_that_was_taken_in() -> None:
    file = ProjectionFile(ROOMS)
    file.take_in(A_ROOM, CREATED)
    assert file.position == Position(CREATED, 2, "e2.0", expires=False, unreadable=0)


def test_the_position_moves_over_commits_that_do_not_concern_the_projection() -> None:
    file = ProjectionFile(ROOMS)
    file.take_in([commit(7, PORTAL, joined_worker("w1"))], CREATED)
    assert file.position.sequence == 7


def test_the_position_says_that_its_commit_may_expire() -> None:
    file = ProjectionFile(ROOMS)
    file.take_in([commit(7, PORTAL_LOAD, LoadReported(worker="w1", load=0.1))], CREATED)
    assert file.position.expires


def test_what_was_taken_in_is_there_after_opening_again(tmp_path: Path) -> None:
    file = ProjectionFile(ROOMS, tmp_path / "rooms.sqlite")
    file.take_in(A_ROOM, CREATED)
    before = contents(file)
    file.close()
    again = ProjectionFile(ROOMS, tmp_path / "rooms.sqlite")
    assert (again.position, contents(again)) == (file.position, before)


@settings(max_examples=60, deadline=None)
@given(logs)
def test_the_same_commits_again_change_nothing(commits: list[Commit]) -> None:
    for projection in PROJECTIONS:
        file = ProjectionFile(projection)
        file.take_in(commits, CREATED)
        before = contents(file)
        file.take_in(commits, CREATED)
        file.take_in(commits[: len(commits) // 2], CREATED)
        assert contents(file) == before


@settings(max_examples=60, deadline=None)
@given(logs, st.data())
def test_however_a_log_is_cut_into_batches_the_rows_are_the_same(
    commits: list[Commit], data: st.DataObject
) -> None:
    cuts = data.draw(st.lists(st.integers(0, len(commits)), max_size=5).map(sorted))
    for projection, one_by_one in zip(PROJECTIONS, folded(commits), strict=True):
        file = ProjectionFile(projection)
        for start, end in zip([0, *cuts], [*cuts, len(commits)], strict=True):
            file.take_in(commits[start:end], CREATED)
        assert contents(file) == one_by_one


def indexes(file: ProjectionFile) -> set[str]:
    found = file.ask(lambda db: db.execute("SELECT name FROM sqlite_master WHERE type = 'index'").fetchall())
    return {name for (name,) in found if name.startswith("idx_")}


@pytest.mark.parametrize("how", [{}, {"scratch": True}])
def test_a_file_that_was_loaded_equals_one_that_was_kept_up_all_the_time(
    tmp_path: Path, how: dict[str, bool]
) -> None:
    loaded = ProjectionFile(TOKENS, tmp_path / "tokens.sqlite", loading=True, **how)
    loaded.take_in(A_ROOM, CREATED)
    assert indexes(loaded) == {"idx_tokens_room_state"}, "what the fold itself looks rows up by"
    loaded.complete()
    kept_up = ProjectionFile(TOKENS)
    kept_up.take_in(A_ROOM, CREATED)
    assert indexes(loaded) == {"idx_tokens_room_state", "idx_tokens_code"}
    assert contents(loaded) == contents(kept_up)


def test_a_file_whose_loading_was_cut_off_is_loaded_on_or_completed_when_it_is_opened(tmp_path: Path) -> None:
    path = tmp_path / "tokens.sqlite"
    ProjectionFile(TOKENS, path, loading=True).close()
    again = ProjectionFile(TOKENS, path, loading=True)
    assert indexes(again) == {"idx_tokens_room_state"}
    again.close()
    assert indexes(ProjectionFile(TOKENS, path)) == {"idx_tokens_room_state", "idx_tokens_code"}


def test_every_index_that_the_fold_needs_is_there_from_the_beginning() -> None:
    for projection in PROJECTIONS:
        file = ProjectionFile(projection, loading=True)
        for change in projection.fold:
            plan = file.ask(
                lambda db, sql=change.statement.sql: db.execute(
                    f"EXPLAIN QUERY PLAN {sql}", [None] * sql.count("?")
                ).fetchall()
            )
            assert not [step for *_, step in plan if step.startswith("SCAN")], change.statement.sql


def test_a_fold_in_memory_equals_one_in_a_file(tmp_path: Path) -> None:
    memory, file = ProjectionFile(ROOMS), ProjectionFile(ROOMS, tmp_path / "rooms.sqlite")
    memory.take_in(A_ROOM, CREATED)
    file.take_in(A_ROOM, CREATED)
    assert contents(memory) == contents(file)


def test_an_unreadable_event_is_counted_and_told_and_the_others_are_taken_in() -> None:
    file = ProjectionFile(ROOMS)
    broken = Unreadable(reason="unknown type", body="{}")
    skipped = file.take_in([commit(1, ROOM, created(), broken, joined("p1"))], CREATED)
    assert [(each.address, each.boundary, each.reason) for each in skipped] == [
        (Address(1, 1), ROOM, "unknown type")
    ]
    assert file.position.unreadable == 1
    assert len(file.ask(rooms.participants_of, "r1")) == 1


def test_an_unreadable_event_of_a_boundary_that_does_not_concern_the_projection_is_not_its_matter() -> None:
    file = ProjectionFile(ROOMS)
    assert file.take_in([commit(1, PORTAL, Unreadable(reason="?", body=""))], CREATED) == []


def test_an_event_whose_values_do_not_fit_into_a_table_is_skipped_like_an_unreadable_one() -> None:
    file = ProjectionFile(ROOMS)
    huge = ControllerTakenOver(room="r1", worker="c1", node="n1", epoch=2**70)
    skipped = file.take_in([commit(1, ROOM, created(), huge, joined("p1"))], CREATED)
    assert [each.address for each in skipped] == [Address(1, 1)]
    assert file.position == Position(CREATED, 1, "e1.0", expires=False, unreadable=1)
    assert len(file.ask(rooms.participants_of, "r1")) == 1


def test_two_that_write_to_one_file_count_every_commit_once(tmp_path: Path) -> None:
    one, other = (ProjectionFile(ROOMS, tmp_path / "rooms.sqlite") for _ in range(2))
    one.take_in(A_ROOM, CREATED)
    broken = commit(2, ROOM, Unreadable(reason="counted if it were taken in twice", body=""))
    assert other.take_in([broken], CREATED) == []
    assert other.position == one.position


def test_a_reader_sees_the_state_before_or_after_a_batch_and_is_not_held_up(tmp_path: Path) -> None:
    file, reader = (ProjectionFile(ROOMS, tmp_path / "rooms.sqlite") for _ in range(2))
    file.ask(lambda db: db.execute("BEGIN IMMEDIATE"))
    file.ask(lambda db: db.execute("UPDATE position SET sequence = 99"))
    assert reader.ask(lambda db: db.execute("SELECT sequence FROM position").fetchone()) == (0,)


def test_a_file_that_is_not_sqlite_is_named_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "rooms.sqlite"
    path.write_text("a shopping list\n" * 100)
    with pytest.raises(NotAProjection, match=r"rooms.sqlite is not a projection .*file is not a database"):
        ProjectionFile(ROOMS, path)
    assert path.read_text().startswith("a shopping list")


def test_a_database_of_somebody_else_is_named_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "rooms.sqlite"
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE recipes (name TEXT)")
    with pytest.raises(NotAProjection, match="it holds the tables recipes"):
        ProjectionFile(ROOMS, path)


def test_another_projection_is_not_taken_for_this_one(tmp_path: Path) -> None:
    ProjectionFile(TOKENS, tmp_path / "rooms.sqlite").close()
    with pytest.raises(NotAProjection, match="tokens"):
        ProjectionFile(ROOMS, tmp_path / "rooms.sqlite")


def test_an_empty_file_becomes_the_projection(tmp_path: Path) -> None:
    (tmp_path / "rooms.sqlite").touch()
    assert ProjectionFile(ROOMS, tmp_path / "rooms.sqlite").position == Position()


def test_a_file_that_is_locked_is_named_and_takes_nothing_in(tmp_path: Path) -> None:
    path = tmp_path / "rooms.sqlite"
    file = ProjectionFile(ROOMS, path, patience=0.01)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(ProjectionLocked, match=r"rooms.sqlite is locked by another program"):
        file.take_in(A_ROOM, CREATED)
    other.execute("ROLLBACK")
    file.take_in(A_ROOM, CREATED)
    assert file.position.sequence == 2


def test_a_file_that_is_locked_cannot_be_opened(tmp_path: Path) -> None:
    path = tmp_path / "rooms.sqlite"
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(ProjectionLocked):
        ProjectionFile(ROOMS, path, patience=0.01)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ProjectionUnwritable, match="cannot be written"):
        ProjectionFile(ROOMS, tmp_path / "nowhere" / "rooms.sqlite")


def test_a_file_whose_tables_were_changed_is_named(tmp_path: Path) -> None:
    path = tmp_path / "rooms.sqlite"
    file = ProjectionFile(ROOMS, path)
    with sqlite3.connect(path) as db:
        db.execute("DROP TABLE participants")
    with pytest.raises(NotAProjection, match="no such table"):
        file.take_in(A_ROOM, CREATED)
    assert file.ask(lambda db: db.execute("SELECT sequence FROM position").fetchone()) == (0,)
