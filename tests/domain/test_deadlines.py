"""The heap of deadlines."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from hypothesis import given
from hypothesis import settings as effort
from hypothesis import strategies as st

from roomledger.domain.deadlines import MIN_STALE, Deadlines
from tests.support.deciders import START


@dataclass(eq=False)
class Thing:
    name: str
    due: datetime | None = None


def after(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def of(*things: Thing, asked: bool = True) -> Deadlines[Thing]:
    """Return the deadlines of things, which somebody has asked for or nobody yet."""
    deadlines: Deadlines[Thing] = Deadlines(lambda: things)
    if asked:
        deadlines.earliest()
    return deadlines


def test_nothing_is_due_where_nothing_waits() -> None:
    deadlines = of()
    assert deadlines.earliest() is None
    assert deadlines.until(START, 10) == []


def test_what_is_due_comes_in_the_order_of_its_deadlines() -> None:
    deadlines = of()
    late, early, later = Thing("late"), Thing("early"), Thing("later")
    for thing, seconds in ((late, 2), (early, 1), (later, 3)):
        deadlines.move(thing, after(seconds))
    assert deadlines.until(after(2), 10) == [early, late]


def test_asking_twice_gives_the_same() -> None:
    thing = Thing("a")
    deadlines = of(thing)
    deadlines.move(thing, after(1))
    assert deadlines.until(after(1), 10) == deadlines.until(after(1), 10) == [thing]


def test_no_more_than_asked_for_are_handed_out() -> None:
    deadlines = of()
    for number in range(10):
        deadlines.move(Thing(str(number)), after(number))
    assert [thing.name for thing in deadlines.until(after(100), 3)] == ["0", "1", "2"]


def test_a_deadline_that_was_moved_counts_at_its_new_time_only() -> None:
    thing = Thing("a")
    deadlines = of(thing)
    deadlines.move(thing, after(1))
    deadlines.move(thing, after(5))
    assert deadlines.earliest() == after(5)
    assert deadlines.until(after(4), 10) == []


def test_a_deadline_that_was_taken_back_does_not_come() -> None:
    thing = Thing("a")
    deadlines = of(thing)
    deadlines.move(thing, after(1))
    deadlines.move(thing, None)
    assert deadlines.earliest() is None


def test_moving_a_deadline_again_and_again_leaves_a_bounded_heap() -> None:
    thing = Thing("a")
    deadlines = of(thing)
    for number in range(10_000):
        deadlines.move(thing, after(number))
    assert 0 < len(deadlines) <= 2 * MIN_STALE
    assert deadlines.earliest() == after(9_999)


def test_until_somebody_asks_nothing_is_kept() -> None:
    thing = Thing("a")
    deadlines = of(thing, asked=False)
    deadlines.move(thing, after(1))
    assert len(deadlines) == 0
    assert deadlines.until(after(1), 10) == [thing]
    assert len(deadlines) == 1


@effort(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 4), st.none() | st.integers(0, 9)), max_size=60),
    st.integers(0, 10),
    st.integers(0, 60),
)
def test_the_heap_says_what_a_scan_of_all_things_says(
    changes: list[tuple[int, int | None]], now: int, asked: int
) -> None:
    things = [Thing(str(number)) for number in range(5)]
    deadlines = of(*things, asked=False)
    for place, (number, due) in enumerate(changes):
        if place == asked:
            deadlines.earliest()
        deadlines.move(things[number], None if due is None else after(due))
    waiting = [thing.due for thing in things if thing.due is not None]
    assert deadlines.earliest() == min(waiting, default=None)
    due_now = {thing.name for thing in things if thing.due is not None and thing.due <= after(now)}
    assert {thing.name for thing in deadlines.until(after(now), 1_000)} == due_now
