from datetime import UTC, datetime

import pytest

from roomledger.runtime import earlier as earlier_module
from roomledger.runtime.earlier import REMEMBERED, Earlier
from roomledger_events.envelope import Commit, Event
from roomledger_events.rooms import RoomDeleted
from roomledger_events.subjects import Boundary, Kind

NOW = datetime(2025, 1, 1, tzinfo=UTC)


def commit(sequence: int, *commands: str | None, at: datetime = NOW) -> Commit:
    events = [
        Event.of(
            RoomDeleted(room="r1"),
            about="r1",
            id=f"event-{sequence}-{place}",
            source="tests",
            time=at,
            correlation="c",
            causation=command,
            actor="t",
        )
        for place, command in enumerate(commands)
    ]
    return Commit(sequence, Boundary(Kind.ROOM, "r1"), at, tuple(events))


def test_a_command_is_found_at_the_first_commit_that_it_led_to() -> None:
    earlier = Earlier()
    for each in (commit(1, "a", "b"), commit(2, "b", None)):
        earlier.note(each)
    assert [earlier.get(command) for command in ("a", "b", "c", None)] == [1, 1, None, None]


def test_a_command_is_known_for_its_time_and_forgotten_after_twice_as_long() -> None:
    earlier = Earlier()
    earlier.note(commit(1, "a"))
    earlier.note(commit(2, "b", at=NOW + REMEMBERED))
    assert earlier.get("a") == 1
    earlier.note(commit(3, "c", at=NOW + 2 * REMEMBERED))
    assert [earlier.get(command) for command in ("a", "b", "c")] == [None, 2, 3]


def test_there_is_a_bound_to_how_many_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(earlier_module, "MOST", 10)
    earlier = Earlier()
    for sequence in range(100):
        earlier.note(commit(sequence, f"c{sequence}"))
    assert sorted(earlier.known().values()) == list(range(80, 100))


def test_what_a_snapshot_held_is_known_and_comes_first() -> None:
    earlier = Earlier({"a": 1})
    earlier.note(commit(5, "a", "b"))
    assert earlier.known() == {"a": 1, "b": 5}
    assert earlier.get("a") == 1
