import sqlite3
from collections.abc import Sequence
from pathlib import Path

import pytest

from roomledger.domain.checking_sequences import Gaps
from roomledger.domain.findings import Finding
from roomledger.runtime.comparing import ComparedProjections
from roomledger_events.envelope import Commit
from roomledger_events.rooms import TextSent
from roomledger_events.subjects import Boundary, Kind
from roomledger_events.workers import LoadReported
from roomledger_projections import PROJECTIONS
from roomledger_projections.audit import AUDIT
from roomledger_projections.directory import live_path
from roomledger_projections.projection_file import ProjectionFile
from tests.support.commits import (
    CREATED,
    PORTAL,
    PORTAL_LOAD,
    ROOM,
    TOKENS,
    created,
    issued,
    joined,
    joined_worker,
    log_of,
    reserved,
)

TEXT = Boundary(Kind.TEXT, "r1")
COMMITS = log_of(
    (PORTAL, joined_worker("w1")),
    (PORTAL_LOAD, LoadReported(worker="w1", load=0.5)),
    (ROOM, created()),
    (TOKENS, issued("t1")),
    (TOKENS, issued("t2")),
    (PORTAL, reserved("code-t1")),
    (ROOM, joined("p1")),
)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Return a directory with live projections of these commits."""
    for projection in PROJECTIONS:
        file = ProjectionFile(projection, live_path(tmp_path, projection))
        file.take_in(COMMITS, CREATED)
        file.close()
    return tmp_path


def compared(
    directory: Path, commits: Sequence[Commit] = COMMITS, expired: Sequence[int] = ()
) -> tuple[list[Finding], list[str]]:
    with ComparedProjections() as projections:
        notes = projections.open(directory)
        for each in commits:
            projections.take_in([each])
        gaps = Gaps()
        for sequence in expired:
            gaps.add(sequence, sequence)
        return list(projections.compared(CREATED, gaps)), notes


def change(directory: Path, name: str, statement: str) -> None:
    with sqlite3.connect(directory / f"{name}.sqlite") as db:
        db.execute(statement)
    db.close()


def test_what_the_log_leads_to_is_fine(directory: Path) -> None:
    assert compared(directory) == ([], [])


def test_a_log_that_has_gone_on_is_fine(directory: Path) -> None:
    more = log_of(*[(ROOM, created())] * 7, (TOKENS, issued("t3")))[7:]
    assert compared(directory, [*COMMITS, *more]) == ([], [])


@pytest.mark.parametrize(
    ("name", "statement", "about", "message"),
    [
        ("tokens", "DELETE FROM tokens WHERE id = 't2'", "tokens.tokens", "the row t2 is missing"),
        (
            "cluster",
            "UPDATE tasks SET worker = 'w2'",
            "cluster.tasks",
            "worker of the row portal, code-t1 is 'w2', and 'w1' by the log",
        ),
        (
            "rooms",
            "INSERT INTO participants (room, id) VALUES ('r1', 'p2')",
            "rooms.participants",
            "the row r1, p2 is not in the log",
        ),
        (
            "rooms",
            "UPDATE position SET unreadable = 1",
            "rooms.position",
            "1 unreadable events, and 0 by the log",
        ),
    ],
)
def test_a_row_that_is_not_what_the_log_leads_to_is_named(
    directory: Path, name: str, statement: str, about: str, message: str
) -> None:
    change(directory, name, statement)
    ((finding,), _) = compared(directory)
    assert (finding.about, finding.message, finding.sequence) == (about, message, 7)


def test_loads_whose_reports_have_expired_are_passed_over(directory: Path) -> None:
    left = [commit for commit in COMMITS if commit.boundary != PORTAL_LOAD]
    assert compared(directory, left, [2])[0] == []
    assert len(compared(directory, left)[0]) == 2


def test_rows_of_texts_that_have_expired_are_passed_over(tmp_path: Path) -> None:
    with_text = log_of(
        (ROOM, created()), (TEXT, TextSent(sender="p1", to="all", message="hi")), (ROOM, joined("p1"))
    )
    file = ProjectionFile(AUDIT, live_path(tmp_path, AUDIT))
    file.take_in(with_text, CREATED)
    file.close()
    assert compared(tmp_path, [with_text[0], with_text[2]], [2])[0] == []
    message = "the row 2000 is not in the log"
    assert [each.message for each in compared(tmp_path, [with_text[0], with_text[2]])[0]] == [message]


def test_a_row_of_what_cannot_expire_is_named_where_the_log_has_a_gap(directory: Path) -> None:
    left = [commit for commit in COMMITS if commit.sequence != 3]
    named = [each.message for each in compared(directory, left, [3])[0] if each.about == "audit.events"]
    assert named == ["the row 3000 is not in the log"]


def test_a_projection_of_another_log_is_named(directory: Path) -> None:
    change(directory, "rooms", "UPDATE position SET log_created = '2020-01-01T00:00:00Z'")
    ((finding,), _) = compared(directory)
    assert finding.message.startswith("it was built from a log created at 2020-01-01T00:00:00Z")


def test_what_is_not_there_or_of_another_version_is_told(directory: Path) -> None:
    (directory / "rooms.sqlite").unlink()
    change(directory, "tokens", "UPDATE position SET version = 1")
    findings, notes = compared(directory)
    assert findings == []
    assert notes == [
        f"there is no projection rooms in {directory}",
        f"{directory / 'tokens.sqlite'} is of version 1, this one is 2",
    ]


def test_live_files_are_not_changed(directory: Path) -> None:
    def contents() -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in sorted(directory.glob("*.sqlite"))}

    before = contents()
    compared(directory)
    assert contents() == before


def test_rows_that_are_missing_or_too_many_are_named_wherever_they_stand(directory: Path) -> None:
    change(directory, "tokens", "DELETE FROM tokens WHERE id = 't1'")
    for token in ("t0", "t11", "t9", "\u00e9"):
        change(directory, "tokens", f"INSERT INTO tokens (id) VALUES ('{token}')")  # noqa: S608  - a test's own
    found, _ = compared(directory)
    assert [each.message for each in found] == [
        "the row t0 is not in the log",
        "the row t1 is missing",
        "the row t11 is not in the log",
        "the row t9 is not in the log",
        "the row \u00e9 is not in the log",
    ]


def test_a_key_of_another_type_than_it_should_be_is_named(directory: Path) -> None:
    change(directory, "tokens", "UPDATE tokens SET id = x'00ff' WHERE id = 't1'")
    found, _ = compared(directory)
    assert sorted(each.message for each in found) == [
        "the row b'\\x00\\xff' is not in the log",
        "the row t1 is missing",
    ]
