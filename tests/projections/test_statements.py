import sqlite3

import pytest

from roomledger_projections.projection import rows
from roomledger_projections.statements import NULL, Statement, add, change, put, remove, sql_on


@pytest.fixture
def db() -> sqlite3.Connection:
    db = sqlite3.connect(":memory:")
    db.execute(
        "CREATE TABLE seats (row TEXT, number TEXT, guest TEXT, since TEXT, PRIMARY KEY (row, number))"
    )
    db.execute("INSERT INTO seats VALUES ('b', '1', 'Bea', 'noon')")
    return db


def run(db: sqlite3.Connection, statement: Statement, *values: object) -> None:
    db.execute(statement.sql, values)


def seats(db: sqlite3.Connection) -> list[tuple[object, ...]]:
    return [tuple(row.values()) for row in rows(db, "SELECT * FROM seats ORDER BY row, number")]


BEA = ("b", "1", "Bea", "noon")


def test_adding_a_row_inserts_it(db: sqlite3.Connection) -> None:
    run(db, add("seats", "row number guest since"), "a", "1", "Ada", "noon")
    assert seats(db) == [("a", "1", "Ada", "noon"), BEA]


def test_putting_a_row_inserts_it(db: sqlite3.Connection) -> None:
    run(db, put("seats", "row number", "guest", once="since"), "a", "1", "Ada", "noon")
    assert seats(db) == [("a", "1", "Ada", "noon"), BEA]


def test_putting_a_row_again_sets_all_but_what_is_set_once(db: sqlite3.Connection) -> None:
    run(db, put("seats", "row number", "guest", once="since"), "b", "1", "Bob", "midnight")
    assert seats(db) == [("b", "1", "Bob", "noon")]


def test_putting_a_bare_key_leaves_a_row_that_is_there_as_it_is(db: sqlite3.Connection) -> None:
    run(db, put("seats", "row number"), "b", "1")
    assert seats(db) == [BEA]


def test_a_change_sets_columns_of_the_row_that_is_there(db: sqlite3.Connection) -> None:
    run(db, change("seats", "row number", "guest since"), "b", "1", "Bob", "dusk")
    run(db, change("seats", "row number", "guest"), "a", "1", "Ada")
    assert seats(db) == [("b", "1", "Bob", "dusk")]


def test_a_row_is_changed_or_removed_only_where_it_has_the_value_asked_for(db: sqlite3.Connection) -> None:
    run(db, change("seats", "row number", "since", where="guest"), "b", "1", "dusk", "Bob")
    run(db, remove("seats", "row number", where="since"), "b", "1", None)
    assert seats(db) == [BEA]
    run(db, change("seats", "row number", "since", where="guest"), "b", "1", None, "Bea")
    run(db, remove("seats", "row number", where="since"), "b", "1", None)
    assert seats(db) == []


def test_null_stands_for_nothing(db: sqlite3.Connection) -> None:
    run(db, put("seats", "row number", "guest since"), "b", "1", NULL, NULL)
    assert rows(db, "SELECT guest IS NULL AS empty, since FROM seats") == [{"empty": 1, "since": None}]


def test_a_removed_row_is_gone(db: sqlite3.Connection) -> None:
    run(db, remove("seats", "row number"), "b", "1")
    assert seats(db) == []


def test_parameters_are_named_in_their_order() -> None:
    assert put("seats", "row number", "guest", once="since").parameters == ("row", "number", "guest", "since")
    assert remove("seats", "row number", where="guest").parameters == ("row", "number", "guest")
    assert sql_on("seats", "DELETE FROM seats").parameters == ()


def test_what_says_the_same_is_the_same_statement() -> None:
    assert change("seats", "row number", "guest") is change("seats", "row number", "guest")
