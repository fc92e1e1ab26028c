from datetime import datetime, timedelta

import pytest

from roomledger.domain.trail import Trail
from roomledger.event_store.memory import MemoryStore
from roomledger.runtime.errors import NoSuchMoment
from roomledger.runtime.rebuilding import Moment, Progress
from roomledger.runtime.trails import Span, followed, learn, span_of
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


@pytest.mark.parametrize(
    ("start", "until", "expected"),
    [
        (None, None, (1, 7)),
        (3, 5, (3, 5)),
        (0, 99, (1, 7)),
        (at_second(3), at_second(5), (3, 5)),
        (at_second(2.5), at_second(5.5), (3, 5)),
        (at_second(0), at_second(99), (1, 7)),
        (3, at_second(3), (3, 3)),
    ],
)
async def test_a_span_lies_between_two_moments(
    log: MemoryStore, start: Moment, until: Moment, expected: tuple[int, int]
) -> None:
    assert await span_of(log, start, until) == Span(*expected)


async def test_a_span_is_found_where_commits_have_expired(log: MemoryStore) -> None:
    log.expire(3)
    assert await span_of(log, at_second(2.5), at_second(4.5)) == Span(3, 4)


@pytest.mark.parametrize(
    ("start", "until", "reason"),
    [
        (8, None, "the log ends at sequence 7, before sequence 8"),
        (at_second(8), None, "the log ends at sequence 7, before 2026-01-01T00:00:08.000000Z"),
        (None, at_second(0.5), "the log begins after 2026-01-01T00:00:00.500000Z"),
        (None, 0, "the log begins after sequence 0"),
        (
            at_second(3.2),
            at_second(3.5),
            "there is nothing between 2026-01-01T00:00:03.200000Z and 2026-01-01T00:00:03.500000Z",
        ),
    ],
)
async def test_a_span_beside_the_log_is_refused_in_a_sentence(
    log: MemoryStore, start: Moment, until: Moment, reason: str
) -> None:
    with pytest.raises(NoSuchMoment) as missed:
        await span_of(log, start, until)
    assert missed.value.reason == reason


async def test_an_empty_log_has_no_spans() -> None:
    with pytest.raises(NoSuchMoment, match="the log is empty"):
        await span_of(MemoryStore())


async def sequences(log: MemoryStore, span: Span, *trails: Trail) -> list[int]:
    await learn(log, trails)
    return [told.address.sequence async for batch in followed(log, trails, span) for told in batch]


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
    assert await sequences(log, Span(1, 7), Trail(thing, name)) == expected


async def test_of_several_trails_that_is_told_which_is_on_all(log: MemoryStore) -> None:
    trails = (Trail(Thing.ROOM, "r1"), Trail(Thing.TOKEN, "t1"))
    assert await sequences(log, Span(1, 7), *trails) == [4, 5, 6]


async def test_only_the_span_is_told_though_all_was_learnt(log: MemoryStore) -> None:
    assert await sequences(log, Span(6, 7), Trail(Thing.USER, "Ada")) == [6, 7]


async def test_it_says_how_far_it_has_come(log: MemoryStore) -> None:
    told: list[Progress] = []
    async for _ in followed(log, (), Span(1, 6), on_progress=told.append):
        pass
    assert told[-1] == Progress(sequence=6, last=6, events=6)
