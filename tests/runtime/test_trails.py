from datetime import datetime, timedelta

import pytest

from roomledger.domain.trail import Trail
from roomledger.event_store.memory import MemoryStore
from roomledger.runtime.moments import Span, span
from roomledger.runtime.progress import Progress
from roomledger.runtime.trails import followed, learn
from roomledger_events.mentions import Thing
from roomledger_events.rooms import ParticipantLeft
from roomledger_events.tasks import ReservationExpired
from roomledger_events.workers import LoadReported
from tests.support.commits import PORTAL, PORTAL_LOAD, ROOM, START, TOKENS, created, issued, joined, reserved
from tests.support.stored import Teller


def at_second(second: float) -> datetime:
    return START + timedelta(seconds=second)


@pytest.fixture
async def log() -> MemoryStore:
    """A log of seven commits, one a second, the first of them at second 1."""
    seconds = iter(range(1, 100))
    store = MemoryStore(clock=lambda: at_second(next(seconds)))
    teller = Teller(store)
    await teller.tell(ROOM, created())
    await teller.tell(PORTAL, reserved("code-t1"), correlation="t1")
    await teller.tell(PORTAL_LOAD, LoadReported(worker="w9", load=0.5))
    await teller.tell(TOKENS, issued("t1"), correlation="t1")
    await teller.tell(ROOM, joined("p1", "t1"), correlation="t1")
    await teller.tell(ROOM, ParticipantLeft(participant="p1", reason="dropped"))
    await teller.tell(PORTAL, ReservationExpired(task="code-t1", worker="w1"))
    return store


async def sequences(log: MemoryStore, of: Span, *trails: Trail) -> list[int]:
    await learn(log, trails)
    return [told.address.sequence async for batch in followed(log, trails, of) for told in batch]


@pytest.mark.parametrize(
    ("thing", "name", "expected"),
    [
        (Thing.TOKEN, "t1", [2, 4, 5, 6, 7]),
        (Thing.PARTICIPANT, "p1", [2, 4, 5, 6, 7]),
        (Thing.USER, "Ada", [2, 4, 5, 6, 7]),
        (Thing.ROOM, "r1", [1, 4, 5, 6]),
        (Thing.WORKER, "w9", [3]),
    ],
)
async def test_a_trail_is_followed_from_before_it_was_known(
    log: MemoryStore, thing: Thing, name: str, expected: list[int]
) -> None:
    assert await sequences(log, await span(log, 1, 7), Trail(thing, name)) == expected


async def test_of_several_trails_that_is_told_which_is_on_all(log: MemoryStore) -> None:
    trails = (Trail(Thing.ROOM, "r1"), Trail(Thing.TOKEN, "t1"))
    assert await sequences(log, await span(log, 1, 7), *trails) == [4, 5, 6]


async def test_only_the_span_is_told_though_all_was_learnt(log: MemoryStore) -> None:
    assert await sequences(log, await span(log, 6, 7), Trail(Thing.USER, "Ada")) == [6, 7]


async def test_it_says_how_far_it_has_come(log: MemoryStore) -> None:
    told: list[Progress] = []
    async for _ in followed(log, (), await span(log, 1, 6), on_progress=told.append):
        pass
    assert told[-1] == Progress(sequence=6, last=6, events=6)
