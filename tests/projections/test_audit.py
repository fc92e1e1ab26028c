from collections.abc import Iterable

import pytest
from hypothesis import given

from roomledger_events.envelope import Address, Commit, Event, Payload
from roomledger_events.mentions import Mention, Thing, mentions
from roomledger_events.rooms import TextSent
from roomledger_events.subjects import Boundary, Kind
from roomledger_events.tasks import TaskPickedUp
from roomledger_events.workers import LoadReported
from roomledger_projections.audit import AUDIT, COLUMNS, addresses_of
from roomledger_projections.projection import rows
from roomledger_projections.projection_file import ProjectionFile
from tests.support.commits import (
    CREATED,
    PORTAL,
    PORTAL_LOAD,
    ROOM,
    START,
    TOKENS,
    created,
    issued,
    joined,
    joined_worker,
    log_of,
    logs,
    reserved,
)
from tests.support.event_samples import events

TEXT = Boundary(Kind.TEXT, "r1")
LOG = log_of(
    (PORTAL, (joined_worker("w1"), joined_worker("w2"))),
    (ROOM, created()),
    (PORTAL, reserved("code-t1")),
    (TOKENS, issued("t1")),
    (ROOM, (joined("p1"), joined("p2", "t2"))),
    (TEXT, TextSent(sender="p1", to="p2", message="hi")),
    (PORTAL, TaskPickedUp(task="code-t1", worker="w2", reserved_for="w1")),
    (PORTAL_LOAD, LoadReported(worker="w1", load=0.5)),
)


def folded(commits: Iterable[Commit]) -> ProjectionFile:
    file = ProjectionFile(AUDIT)
    file.take_in(list(commits), CREATED)
    return file


def found(file: ProjectionFile, *sought: tuple[Thing, str], **how: object) -> list[str]:
    asked = {"limit": 100} | how
    return [str(each) for each in file.ask(addresses_of, {Mention(*each) for each in sought}, **asked)]  # type: ignore[arg-type]  # by name


@pytest.mark.parametrize(
    ("sought", "expected"),
    [
        ([(Thing.TOKEN, "t1")], ["4.0", "5.0"]),
        ([(Thing.TASK, "code-t1")], ["3.0", "4.0", "7.0"]),
        ([(Thing.PARTICIPANT, "p2")], ["5.1", "6.0"]),
        ([(Thing.ROOM, "r1")], ["2.0", "4.0", "5.0", "5.1", "6.0"]),
        ([(Thing.WORKER, "w1")], ["1.0", "3.0", "4.0", "5.0", "5.1", "7.0"]),
        ([(Thing.WORKER, "w2"), (Thing.TOKEN, "t2")], ["1.1", "5.1", "7.0"]),
        ([(Thing.PARTICIPANT, "p1"), (Thing.PARTICIPANT, "p2")], ["5.0", "5.1", "6.0"]),
        ([(Thing.TOKEN, "t9")], []),
        ([], ["1.0", "1.1", "2.0", "3.0", "4.0", "5.0", "5.1", "6.0", "7.0"]),
    ],
)
def test_it_knows_where_all_stands_that_names_something(
    sought: list[tuple[Thing, str]], expected: list[str]
) -> None:
    assert found(folded(LOG), *sought) == expected


def test_a_part_can_be_asked_for() -> None:
    file = folded(LOG)
    room = (Thing.ROOM, "r1")
    assert found(file, room, limit=2) == ["2.0", "4.0"]
    assert found(file, room, limit=2, after=Address(4)) == ["5.0", "5.1"]
    assert found(file, room, after=Address(5, 0)) == ["5.1", "6.0"]
    assert found(file, room, start=4, until=5) == ["4.0", "5.0", "5.1"]


@pytest.mark.parametrize("far", [10**18, 2**63 - 1])
def test_sequences_that_no_log_reaches_are_taken(far: int) -> None:
    assert found(folded(LOG), start=far) == []
    assert len(found(folded(LOG), until=far)) == 9


def names(file: ProjectionFile) -> dict[Address, set[Mention]]:
    named: dict[Address, set[Mention]] = {}
    for row in file.ask(rows, "SELECT * FROM events"):
        of = named.setdefault(Address(row["sequence"], row["place"]), set())
        of |= {Mention(Thing(column), row[column]) for column in COLUMNS if row[column] is not None}
    return named


@given(logs)
def test_it_holds_of_any_log_what_its_events_name(log: list[Commit]) -> None:
    with_loads = {
        Address(commit.sequence, place): set(mentions(commit.boundary, event))
        for commit in log
        for place, event in enumerate(commit.events)
        if commit.boundary.kind is not Kind.LOAD
    }
    assert names(folded(log)) == with_loads


@given(events())
def test_it_holds_what_any_event_names(event: Event) -> None:
    if event.data.kind is Kind.LOAD:
        return
    boundary = Boundary(event.data.kind, "conference")
    file = folded([Commit(1, boundary, START, (event,))])
    assert names(file) == {Address(1): set(mentions(boundary, event))}


def explained(file: ProjectionFile, query: str) -> str:
    return " ".join(row["detail"] for row in file.ask(rows, f"EXPLAIN QUERY PLAN {query}"))


@pytest.mark.parametrize("column", ["participant", "token", "task", "correlation"])
def test_what_few_events_name_is_looked_up_in_an_index(column: str) -> None:
    query = f"SELECT sequence FROM events WHERE {column} IN ('a', 'b')"  # noqa: S608  - names from the code
    assert f"idx_events_{column}" in explained(folded(LOG), query)


def test_a_trail_is_looked_up_in_indexes_alone() -> None:
    query = "SELECT id FROM events WHERE id BETWEEN 1 AND 9 AND (token IN ('a') OR task IN ('b')) ORDER BY id"
    assert "SCAN" not in explained(folded(LOG), query)


def test_an_event_of_one_payload_only_is_one_row() -> None:
    told: list[Payload] = [joined("p1")]
    file = folded(log_of((ROOM, tuple(told))))
    assert len(file.ask(rows, "SELECT * FROM events")) == 1
