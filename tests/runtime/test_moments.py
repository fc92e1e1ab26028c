from datetime import datetime, timedelta

import pytest

from roomledger.event_store.memory import MemoryStore
from roomledger.runtime.errors import NoSuchMoment
from roomledger.runtime.moments import span
from roomledger_events.envelope import encode
from tests.support.commits import ROOM, START, commit, joined


@pytest.fixture
def log() -> MemoryStore:
    """Ten commits, one a second, of which two have expired."""
    times = iter(START + timedelta(seconds=number) for number in range(1, 11))
    store = MemoryStore(clock=lambda: next(times))
    for number in range(1, 11):
        store.put(ROOM, encode(commit(number, ROOM, joined(f"p{number}")).events))
    for number in (4, 5):
        store.expire(number)
    return store


def at(second: float) -> datetime:
    return START + timedelta(seconds=second)


@pytest.mark.parametrize(
    ("start", "end", "sequences"),
    [
        (None, None, (1, 10)),
        (3, 7, (3, 7)),
        (at(2), at(8), (2, 8)),
        (at(1.5), at(7.5), (2, 7)),
        (at(0), None, (1, 10)),
        (at(3.5), at(99), (6, 10)),
        (at(10), None, (10, 10)),
    ],
)
async def test_a_span_is_told_in_sequences(
    log: MemoryStore, start: int | datetime | None, end: int | datetime | None, sequences: tuple[int, int]
) -> None:
    found = await span(log, start, end)
    assert (found.first, found.last) == sequences
    assert found.head.sequence == 10


@pytest.mark.parametrize(
    ("start", "end", "why"),
    [
        (0, None, "holds the sequences 1 to 10, not 0"),
        (None, 11, "holds the sequences 1 to 10, not 11"),
        (7, 3, "ends at sequence 3, before it begins at 7"),
        (at(11), None, "the log ends before"),
        (None, at(0), "ends at sequence 0"),
    ],
)
async def test_a_span_beside_the_log_is_told(
    log: MemoryStore, start: int | datetime | None, end: int | datetime | None, why: str
) -> None:
    with pytest.raises(NoSuchMoment, match=why):
        await span(log, start, end)


async def test_all_of_an_empty_log_is_nothing() -> None:
    found = await span(MemoryStore(), None, None)
    assert (found.first, found.last) == (1, 0)
