"""Pools: workers in the order in which they are next."""

from collections import Counter
from collections.abc import Sequence

import pytest

from roomledger.domain.pools import ONE, InTurns, LeastLoadedFirst, MostLoadedFirst, Pool, millionths

KEY = (None, None, None)


def filled(pool: Pool, loads: Sequence[float]) -> Pool:
    for number, load in enumerate(loads, 1):
        pool.enter(number, millionths(load))
    return pool


@pytest.mark.parametrize(
    ("kind", "order"),
    [(Pool, [1, 2, 3, 4]), (LeastLoadedFirst, [2, 4, 1, 3]), (MostLoadedFirst, [1, 3, 2, 4])],
)
def test_a_pool_has_its_order_and_equals_stand_as_they_joined(kind: type[Pool], order: list[int]) -> None:
    pool = filled(kind(KEY), (0.5, 0.2, 0.5, 0.2))
    assert pool.first(4) == order


@pytest.mark.parametrize("kind", [Pool, LeastLoadedFirst, MostLoadedFirst, InTurns])
def test_who_left_is_not_found(kind: type[Pool]) -> None:
    pool = filled(kind(KEY), (0.5, 0.2))
    pool.leave(1, millionths(0.5))
    assert (pool.first(4), pool.count) == ([2], 1)


def test_a_worker_stands_where_its_new_load_puts_it() -> None:
    pool = filled(LeastLoadedFirst(KEY), (0.1, 0.2))
    pool.move(1, millionths(0.1), millionths(0.3))
    assert pool.first(2) == [2, 1]


def test_loads_are_counted_exactly() -> None:
    assert sum(millionths(0.1) for _ in range(10)) == ONE


def served(pool: InTurns, loads: dict[int, float], times: int) -> list[int]:
    turns = []
    for _ in range(times):
        number = pool.first(1)[0]
        pool.serve(number, millionths(loads[number]))
        turns.append(number)
    return turns


def in_turns(loads: dict[int, float]) -> InTurns:
    pool = InTurns(KEY)
    filled(pool, list(loads.values()))
    return pool


def test_turns_are_in_proportion_to_what_is_free() -> None:
    loads = {1: 0.5, 2: 0.75, 3: 0.75}
    assert Counter(served(in_turns(loads), loads, 400)) == {1: 200, 2: 100, 3: 100}


def test_turns_are_evenly_spread() -> None:
    loads = {1: 0.5, 2: 0.75, 3: 0.75}
    turns = served(in_turns(loads), loads, 80)
    for start in range(76):
        assert turns[start : start + 5].count(1) in {2, 3}


def test_equals_take_turns_as_they_joined() -> None:
    loads = {1: 0.0, 2: 0.0, 3: 0.0}
    assert served(in_turns(loads), loads, 6) == [1, 2, 3, 1, 2, 3]


def test_who_joins_later_does_not_get_what_it_missed() -> None:
    loads = {1: 0.0, 2: 0.0}
    pool = in_turns({1: 0.0})
    served(pool, loads, 100)
    pool.enter(2, 0)
    assert Counter(served(pool, loads, 100)) == {1: 50, 2: 50}


def test_who_was_away_does_not_get_what_it_missed() -> None:
    loads = {1: 0.0, 2: 0.0}
    pool = in_turns(loads)
    pool.leave(2, 0)
    served(pool, loads, 100)
    pool.enter(2, 0)
    assert abs(Counter(served(pool, loads, 100))[2] - 50) <= 1


def test_who_goes_away_and_comes_back_does_not_jump_the_queue() -> None:
    loads = {1: 0.0, 2: 0.0, 3: 0.0}
    pool = in_turns(loads)
    turns: list[int] = []
    for _ in range(30):
        turns += served(pool, loads, 1)
        pool.leave(3, 0)
        pool.enter(3, 0)
    assert Counter(turns) == {1: 10, 2: 10, 3: 10}


def test_a_worker_that_was_forgotten_begins_anew() -> None:
    loads = {1: 0.0, 2: 0.0}
    pool = in_turns(loads)
    served(pool, loads, 10)
    pool.leave(1, 0)
    pool.forget(1)
    assert pool.turns.keys() == {2}


def test_the_free_shares_are_summed_up_as_they_change() -> None:
    pool = in_turns({1: 0.5, 2: 0.75})
    pool.move(1, millionths(0.5), millionths(0.6))
    assert pool.free == millionths(0.4) + millionths(0.25)
    pool.leave(2, millionths(0.75))
    assert pool.free == millionths(0.4)


def test_a_reservation_of_a_worker_that_is_not_there_moves_its_turn_on() -> None:
    pool = in_turns({1: 0.0})
    pool.leave(1, 0)
    before = pool.turns[1]
    pool.serve(1, 0)
    assert (pool.turns[1], pool.first(1)) == (before + ONE, [])
