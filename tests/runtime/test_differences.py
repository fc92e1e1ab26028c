from typing import Any

from roomledger.runtime.differences import differences
from roomledger.runtime.rebuilding import Rebuilt
from roomledger_events.envelope import Payload
from roomledger_events.rooms import ParticipantLeft
from roomledger_events.subjects import Boundary
from roomledger_events.tasks import TaskPickedUp
from roomledger_events.workers import WorkerLost
from tests.support.commits import (
    CREATED,
    PORTAL,
    ROOM,
    TOKENS,
    created,
    issued,
    joined,
    joined_worker,
    log_of,
    reserved,
)


def states(before: int, *told: tuple[Boundary, Payload]) -> tuple[dict[str, Any], dict[str, Any]]:
    commits = log_of(*told)
    with Rebuilt() as state:
        state.take_in(commits[:before], CREATED)
        first = state.as_json()
        state.take_in(commits[before:], CREATED)
        return first, state.as_json()


def test_what_came_and_what_went_is_told() -> None:
    found = differences(
        *states(
            2,
            (PORTAL, joined_worker("w1")),
            (ROOM, created()),
            (PORTAL, joined_worker("w2")),
            (TOKENS, issued("t1")),
            (ROOM, joined("p1")),
            (PORTAL, WorkerLost(worker="w1", silent_ms=3000)),
        )
    )
    assert [row["id"] for row in found["workers"].added] == ["w2"]
    assert [row["id"] for row in found["workers"].removed] == ["w1"]
    assert [row["id"] for row in found["tokens"].added] == ["t1"]
    assert [row["id"] for row in found["participants"].added] == ["p1"]


def test_what_changed_is_told_column_by_column() -> None:
    picked_up = TaskPickedUp(task="k1", worker="w1")
    found = differences(
        *states(2, (PORTAL, joined_worker("w1")), (PORTAL, reserved("k1")), (PORTAL, picked_up))
    )
    (changed,) = found["tasks"].changed
    assert changed.key == {"purpose": "portal", "id": "k1"}
    assert changed.changes["state"] == ("reserved", "running")
    assert "worker" not in changed.changes
    assert changed.as_json()["changes"]["state"] == {"from": "reserved", "to": "running"}


def test_a_room_is_not_changed_by_who_comes_and_goes() -> None:
    left = ParticipantLeft(participant="p1", reason="logout")
    found = differences(*states(2, (ROOM, created()), (ROOM, joined("p1")), (ROOM, left)))
    assert not found["rooms"]
    assert [row["id"] for row in found["participants"].removed] == ["p1"]


def test_nothing_is_different_between_a_state_and_itself() -> None:
    state, _ = states(1, (PORTAL, joined_worker("w1")), (ROOM, created()))
    assert not any(differences(state, state).values())
