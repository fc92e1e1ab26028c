import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roomledger_projections.gathered import Gathered
from roomledger_projections.statements import Statement, add, change, put, remove, sql_on

TABLES = """
    CREATE TABLE seats
        (row TEXT, number TEXT, guest TEXT, since TEXT, price INTEGER, PRIMARY KEY (row, number));
    CREATE TABLE visits (id INTEGER PRIMARY KEY, guest TEXT);
"""
INTEGERS = {"seats": frozenset({"price"}), "visits": frozenset({"id"})}
PUT = put("seats", "row number", "guest", once="since")
TAKE = put("seats", "row number", "guest price")
SELL = change("seats", "row number", "price since")
MOVE = change("seats", "row number", "guest", where="since")
FREE = remove("seats", "row number", where="guest")
CLEAR = remove("seats", "row number")
CLOSE = sql_on("seats", "DELETE FROM seats WHERE row = ? AND price > ?")
VISIT = add("visits", "id guest")
Step = tuple[Statement, tuple[Any, ...]]


def _steps() -> st.SearchStrategy[list[Step]]:
    """Statements on few rows, so that they meet."""
    rows, numbers, guests = (
        st.sampled_from("ab"),
        st.sampled_from("12"),
        st.sampled_from(["Ada", "Bob", None]),
    )
    times, prices = st.sampled_from(["noon", "dusk", None]), st.sampled_from([1, 2, None])
    step = st.one_of(
        st.tuples(st.just(PUT), st.tuples(rows, numbers, guests, times)),
        st.tuples(st.just(TAKE), st.tuples(rows, numbers, guests, prices)),
        st.tuples(st.just(SELL), st.tuples(rows, numbers, prices, times)),
        st.tuples(st.just(MOVE), st.tuples(rows, numbers, guests, times)),
        st.tuples(st.just(FREE), st.tuples(rows, numbers, guests)),
        st.tuples(st.just(CLEAR), st.tuples(rows, numbers)),
        st.tuples(st.just(CLOSE), st.tuples(rows, prices)),
    )
    return st.lists(step, max_size=40)


class Seats:
    def __init__(self) -> None:
        self.written: list[tuple[str, int]] = []
        self.db = sqlite3.connect(":memory:")
        self.db.executescript(TABLES)

    def gathered(self) -> Gathered:
        return Gathered(self.run, INTEGERS)

    def run(self, sql: str, values: Iterable[Sequence[object]]) -> None:
        those = list(values)
        self.written.append((sql, len(those)))
        self.db.executemany(sql, those)

    def rows(self, table: str = "seats") -> list[tuple[Any, ...]]:
        return self.db.execute(f"SELECT * FROM {table} ORDER BY rowid").fetchall()  # noqa: S608  - our own names


@settings(max_examples=500, deadline=None)
@given(_steps(), st.lists(st.integers(0, 40), max_size=3))
def test_whatever_meets_comes_to_what_it_leads_to_one_by_one(steps: list[Step], cuts: list[int]) -> None:
    one_by_one, at_once = Seats(), Seats()
    gathered = at_once.gathered()
    for place, (statement, values) in enumerate(steps):
        one_by_one.db.execute(statement.sql, values)
        gathered.taker(statement)(values)
        if place in cuts:
            gathered.write()
    gathered.write()
    assert at_once.rows() == one_by_one.rows()


def test_what_came_and_went_is_not_written_but_for_its_removal() -> None:
    seats = Seats()
    gathered = seats.gathered()
    gathered.taker(TAKE)(("a", "1", "Ada", 5))
    gathered.taker(SELL)(("a", "1", 6, "noon"))
    gathered.taker(FREE)(("a", "1", "Ada"))
    gathered.write()
    assert (seats.written, seats.rows()) == ([(CLEAR.sql, 1)], [])


def test_all_that_happened_to_a_row_is_written_at_once() -> None:
    seats = Seats()
    gathered = seats.gathered()
    for number in ("1", "2", "3"):
        gathered.taker(TAKE)(("a", number, "Ada", 5))
        gathered.taker(SELL)(("a", number, 6, "noon"))
    gathered.write()
    assert [count for _, count in seats.written] == [3]
    assert seats.rows()[0] == ("a", "1", "Ada", "noon", 6)


def test_a_new_row_is_behind_those_that_were_there() -> None:
    seats = Seats()
    gathered = seats.gathered()
    gathered.taker(CLEAR)(("a", "1"))
    gathered.taker(TAKE)(("a", "2", "Bob", 5))
    gathered.taker(TAKE)(("a", "1", "Ada", 5))
    gathered.write()
    assert [row[1] for row in seats.rows()] == ["2", "1"]


def test_what_is_none_is_written_as_nothing() -> None:
    seats = Seats()
    gathered = seats.gathered()
    gathered.taker(TAKE)(("a", "1", None, None))
    gathered.taker(CLOSE)(("b", None))
    gathered.write()
    assert seats.rows() == [("a", "1", None, None, None)]


def test_rows_that_are_only_added_are_written_in_their_order() -> None:
    seats = Seats()
    gathered = seats.gathered()
    gathered.taker_of_many(VISIT)([(1, "Ada"), (2, "Bob")])
    gathered.taker_of_many(VISIT)([(3, "Ada")])
    gathered.taker(VISIT)((4, "Bob"))
    gathered.write()
    assert seats.written == [(VISIT.sql, 4)]
    assert seats.rows("visits") == [(1, "Ada"), (2, "Bob"), (3, "Ada"), (4, "Bob")]


def test_several_rows_of_another_statement_are_taken_one_by_one() -> None:
    seats = Seats()
    gathered = seats.gathered()
    gathered.taker_of_many(TAKE)([("a", "1", "Ada", 5), ("a", "1", "Bob", 6)])
    gathered.write()
    assert seats.rows() == [("a", "1", "Bob", None, 6)]


@pytest.mark.parametrize("number", [2**63, -(2**63) - 1])
def test_a_number_that_does_not_fit_is_refused_even_if_it_were_never_written(number: int) -> None:
    gathered = Seats().gathered()
    gathered.taker(CLEAR)(("a", "1"))
    with pytest.raises(OverflowError):
        gathered.taker(SELL)(("a", "1", number, "noon"))
