from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from roomledger.event_store.memory import MemoryStore
from roomledger.event_store.store import EventStore
from roomledger.runtime.errors import NoSuchMoment
from roomledger.runtime.progress import Progress
from roomledger.runtime.projector import Projector
from roomledger.runtime.rebuilding import Moment, rebuilt
from roomledger_events.rooms import ParticipantLeft, RoomDeleted
from roomledger_events.workers import LoadReported
from roomledger_projections import cluster, rooms, tokens
from roomledger_projections.cluster import CLUSTER
from roomledger_projections.rooms import ROOMS
from roomledger_projections.tokens import TOKENS as TOKENS_PROJECTION
from tests.support.commits import (
    PORTAL,
    PORTAL_LOAD,
    ROOM,
    START,
    TOKENS,
    created,
    issued,
    joined,
    joined_worker,
    reserved,
)
from tests.support.nats import NatsServer
from tests.support.stored import Teller, opened_store


def at_second(number: int) -> datetime:
    return START + timedelta(seconds=number)


@pytest.fixture
async def log() -> MemoryStore:
    """A log of five commits, one a second, the first of them at second 1."""
    seconds = iter(range(1, 100))
    store = MemoryStore(clock=lambda: at_second(next(seconds)))
    teller = Teller(store)
    await teller.tell(PORTAL, joined_worker("w1"))
    await teller.tell(ROOM, created())
    await teller.tell(PORTAL, reserved("k1"))
    await teller.tell(ROOM, joined("p1"), joined("p2"))
    await teller.tell(ROOM, ParticipantLeft(participant="p1", reason="logout"))
    return store


async def state_of(log: EventStore, at: Moment = None) -> dict[str, Any]:
    with await rebuilt(log, at) as state:
        return state.as_json()


def present(state: dict[str, Any]) -> list[str]:
    return [each["id"] for room in state["rooms"] for each in room["participants"]]


async def test_without_a_moment_it_is_the_state_of_the_whole_log(log: MemoryStore) -> None:
    state = await state_of(log)
    assert (state["sequence"], state["time"]) == (5, "2026-01-01T00:00:05.000000Z")
    assert present(state) == ["p2"]
    assert [task["id"] for task in state["tasks"]] == ["k1"]


async def test_at_a_sequence_its_commit_is_taken_in_and_no_later_one(log: MemoryStore) -> None:
    state = await state_of(log, 4)
    assert (state["sequence"], state["time"]) == (4, "2026-01-01T00:00:04.000000Z")
    assert present(state) == ["p1", "p2"]


async def test_at_a_time_all_is_taken_in_that_was_stored_by_then(log: MemoryStore) -> None:
    state = await state_of(log, at_second(4) + timedelta(microseconds=999))
    assert (state["sequence"], state["time"]) == (4, "2026-01-01T00:00:04.000999Z")
    assert present(state) == ["p1", "p2"]


async def test_a_time_may_be_given_in_any_zone(log: MemoryStore) -> None:
    there = at_second(4).astimezone(timezone(timedelta(hours=-5)))
    assert (await state_of(log, there))["time"] == "2026-01-01T00:00:04.000000Z"


async def test_the_time_of_a_state_leads_to_the_same_state(log: MemoryStore) -> None:
    for sequence in range(1, 6):
        state = await state_of(log, sequence)
        assert await state_of(log, datetime.fromisoformat(state["time"])) == state


async def test_a_sequence_that_has_expired_is_a_moment_too(log: MemoryStore) -> None:
    gone = await Teller(log).tell(PORTAL_LOAD, LoadReported(worker="w1", load=0.5))
    log.expire(gone)
    assert (await state_of(log, gone))["sequence"] == gone
    assert (await state_of(log))["sequence"] == gone


@pytest.mark.parametrize(
    ("at", "reason"),
    [
        (0, "the log begins at sequence 1, after 0"),
        (6, "the log ends at sequence 5, before 6"),
        (at_second(0), "the log begins at 2026-01-01T00:00:01.000000Z, after 2026-01-01T00:00:00.000000Z"),
        (at_second(6), "the log ends at 2026-01-01T00:00:05.000000Z, before 2026-01-01T00:00:06.000000Z"),
    ],
)
async def test_a_moment_that_the_log_does_not_reach_is_named(
    log: MemoryStore, at: Moment, reason: str
) -> None:
    with pytest.raises(NoSuchMoment) as missed:
        await rebuilt(log, at)
    assert missed.value.reason == reason


async def test_an_empty_log_has_a_state_with_nothing_in_it() -> None:
    nothing: dict[str, Any] = {"workers": [], "tasks": [], "rooms": [], "tokens": []}
    assert await state_of(MemoryStore()) == {"sequence": 0, "time": None, **nothing}


async def test_an_empty_log_has_no_moments() -> None:
    with pytest.raises(NoSuchMoment, match="the log is empty"):
        await rebuilt(MemoryStore(), 0)


async def test_whether_a_token_has_expired_is_measured_by_the_moment(log: MemoryStore) -> None:
    teller = Teller(log)
    await teller.tell(TOKENS, issued("t1", at_second(7)))
    await teller.tell(PORTAL_LOAD, LoadReported(worker="w1", load=0.5))
    assert [(await state_of(log, at))["tokens"][0]["state"] for at in (6, 7)] == ["issued", "expired"]


async def test_deleted_rooms_are_not_there(log: MemoryStore) -> None:
    teller = Teller(log)
    teller.knows(ROOM, 5)
    await teller.tell(ROOM, RoomDeleted(room="r1"))
    assert (await state_of(log))["rooms"] == []


async def test_events_that_cannot_be_read_are_counted_once(log: MemoryStore) -> None:
    log.put(ROOM, b"no json")
    with await rebuilt(log) as state:
        assert state.unreadable == 1
        assert present(state.as_json()) == ["p2"]


async def test_it_says_how_far_it_has_come(log: MemoryStore) -> None:
    told: list[Progress] = []
    (await rebuilt(log, 4, on_progress=told.append)).close()
    assert told[-1] == Progress(sequence=4, last=4, events=5)


@pytest.fixture
async def store(nats_server: NatsServer) -> AsyncIterator[EventStore]:
    async with opened_store(nats_server) as store:
        yield store


async def test_it_equals_what_the_live_projections_say(store: EventStore, tmp_path: Path) -> None:
    teller = Teller(store)
    projector = Projector(store, tmp_path / "projections")
    await projector.start()
    await teller.tell(PORTAL, joined_worker("w1"), joined_worker("w2"))
    await teller.tell(ROOM, created())
    for number in range(30):
        await teller.tell(PORTAL, reserved(f"k{number}"))
        await teller.tell(TOKENS, issued(f"t{number}"))
        last = await teller.tell(ROOM, joined(f"p{number}", f"t{number}"))
    await projector.caught_up(last)
    state = await state_of(store)
    now = datetime.now(UTC)
    live = {
        "workers": (await projector.ask(CLUSTER, cluster.workers_of)).value,
        "tasks": (await projector.ask(CLUSTER, cluster.tasks_of)).value,
        "tokens": (await projector.ask(TOKENS_PROJECTION, tokens.tokens_of, now)).value,
    }
    assert {name: state[name] for name in live} == live
    assert (
        state["rooms"][0]["participants"] == (await projector.ask(ROOMS, rooms.participants_of, "r1")).value
    )
    assert state["sequence"] == last
    await projector.stop()
