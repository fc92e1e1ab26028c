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


def put(deadlines: Deadlines[Thing], thing: Thing, due: datetime | None) -> None:
    deadlines.forget(thing)
    thing.due = due
    deadlines.enter(thing)


def test_nothing_is_due_where_nothing_waits() -> None:
    deadlines: Deadlines[Thing] = Deadlines()
    assert deadlines.earliest() is None
    assert deadlines.until(START, 10) == []


def test_what_is_due_comes_in_the_order_of_its_deadlines() -> None:
    deadlines: Deadlines[Thing] = Deadlines()
    late, early, later = Thing("late"), Thing("early"), Thing("later")
    for thing, seconds in ((late, 2), (early, 1), (later, 3)):
        put(deadlines, thing, after(seconds))
    assert deadlines.until(after(2), 10) == [early, late]


def test_asking_twice_gives_the_same() -> None:
    deadlines: Deadlines[Thing] = Deadlines()
    thing = Thing("a")
    put(deadlines, thing, after(1))
    assert deadlines.until(after(1), 10) == deadlines.until(after(1), 10) == [thing]


def test_no_more_than_asked_for_are_handed_out() -> None:
    deadlines: Deadlines[Thing] = Deadlines()
    for number in range(10):
        put(deadlines, Thing(str(number)), after(number))
    assert [thing.name for thing in deadlines.until(after(100), 3)] == ["0", "1", "2"]


def test_a_deadline_that_was_moved_counts_at_its_new_time_only() -> None:
    deadlines: Deadlines[Thing] = Deadlines()
    thing = Thing("a")
    put(deadlines, thing, after(1))
    put(deadlines, thing, after(5))
    assert deadlines.earliest() == after(5)
    assert deadlines.until(after(4), 10) == []


def test_a_deadline_that_was_taken_back_does_not_come() -> None:
    deadlines: Deadlines[Thing] = Deadlines()
    thing = Thing("a")
    put(deadlines, thing, after(1))
    put(deadlines, thing, None)
    assert deadlines.earliest() is None


def test_moving_a_deadline_again_and_again_leaves_a_bounded_heap() -> None:
    deadlines: Deadlines[Thing] = Deadlines()
    thing = Thing("a")
    for number in range(10_000):
        put(deadlines, thing, after(number))
    assert len(deadlines) <= 2 * MIN_STALE
    assert deadlines.earliest() == after(9_999)


@effort(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.none() | st.integers(0, 9)), max_size=60), st.integers(0, 10))
def test_the_heap_says_what_a_scan_of_all_things_says(
    changes: list[tuple[int, int | None]], now: int
) -> None:
    deadlines: Deadlines[Thing] = Deadlines()
    things = [Thing(str(number)) for number in range(5)]
    for number, due in changes:
        put(deadlines, things[number], None if due is None else after(due))
    waiting = [thing.due for thing in things if thing.due is not None]
    assert deadlines.earliest() == min(waiting, default=None)
    due_now = {thing.name for thing in things if thing.due is not None and thing.due <= after(now)}
    assert {thing.name for thing in deadlines.until(after(now), 1_000)} == due_now
