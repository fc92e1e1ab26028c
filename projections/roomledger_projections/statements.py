"""Statements that a fold is made of: on the row of a table that has a key, or any other SQL on one table.

What is known of a statement beside its SQL makes one of several that meet on a row (`gathered.py`).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum, auto
from functools import cache
from math import nan
from typing import Final

NULL: Final = nan
"""Nothing, as a value of a parameter.

SQLite takes it for NULL, as any NaN. None means the same, but sqlite3 looks for an adapter for it each
time, as for a bool, and that for all the columns of a row takes longer than to insert it.
"""


class Verb(Enum):
    """What a statement does."""

    ADD = auto()
    PUT = auto()
    CHANGE = auto()
    REMOVE = auto()
    ANY = auto()


@dataclass(frozen=True, eq=False)
class Statement:
    """A statement; its parameters are the key's columns, then the others, in this order.

    Attributes:
        sql: Its SQL.
        verb: What it does.
        table: To which table.
        key: The key's columns: it concerns the row with these values only.
        columns: The columns that it sets.
        once: The columns that it sets in a new row only.
        where: The column that must have the value of its last parameter; empty for none.
    """

    sql: str
    verb: Verb
    table: str
    key: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    once: tuple[str, ...] = ()
    where: str = ""

    @property
    def parameters(self) -> tuple[str, ...]:
        """The columns that its parameters are values of."""
        return (*self.key, *self.columns, *self.once, *filter(None, [self.where]))


@cache
def add(table: str, columns: str) -> Statement:
    """Return the statement that adds a row to a table in which no row is ever changed.

    Args:
        table: Its name.
        columns: All its columns, with blanks between them.
    """
    names = tuple(columns.split())
    sql = f"INSERT INTO {table} VALUES ({_commas('?' for _ in names)})"  # noqa: S608  - names from the code
    return Statement(sql, Verb.ADD, table, columns=names)


@cache
def put(table: str, key: str, columns: str = "", *, once: str = "") -> Statement:
    """Return the statement that inserts a row, or sets these columns of the one with that key.

    Args:
        table: Its name.
        key: The key's columns, with blanks between them.
        columns: Those that are set in either case, likewise.
        once: Those that a row which is there keeps.
    """
    keys, others, firsts = tuple(key.split()), tuple(columns.split()), tuple(once.split())
    names = (*keys, *others, *firsts)
    changed = _commas(f"{name} = excluded.{name}" for name in others)
    sql = (
        f"INSERT INTO {table} ({_commas(names)}) VALUES ({_commas('?' for _ in names)})"  # noqa: S608  - names from the code
        f" ON CONFLICT ({_commas(keys)}) DO {f'UPDATE SET {changed}' if changed else 'NOTHING'}"
    )
    return Statement(sql, Verb.PUT, table, keys, others, firsts)


@cache
def change(table: str, key: str, columns: str, *, where: str = "") -> Statement:
    """Return the statement that sets columns of the row with a key, if it is there.

    Args:
        table: Its name.
        key: The key's columns, with blanks between them.
        columns: Those that are set, likewise.
        where: Only if this column has the value of the last parameter.
    """
    keys, others = tuple(key.split()), tuple(columns.split())
    # The key's parameters come first, wherever they stand.
    changed = _commas(f"{name} = ?{number}" for number, name in enumerate(others, len(keys) + 1))
    sql = f"UPDATE {table} SET {changed} WHERE {_such(keys, where, 1 + len(keys) + len(others))}"  # noqa: S608  - names from the code
    return Statement(sql, Verb.CHANGE, table, keys, others, where=where)


@cache
def remove(table: str, key: str, *, where: str = "") -> Statement:
    """Return the statement that removes the row with a key, if it is there.

    Args:
        table: Its name.
        key: The key's columns, with blanks between them.
        where: Only if this column has the value of the last parameter.
    """
    keys = tuple(key.split())
    sql = f"DELETE FROM {table} WHERE {_such(keys, where, 1 + len(keys))}"  # noqa: S608  - names from the code
    return Statement(sql, Verb.REMOVE, table, keys, where=where)


@cache
def sql_on(table: str, sql: str) -> Statement:
    """Return any other statement that reads and changes one table, with parameters as the SQL has them."""
    return Statement(sql, Verb.ANY, table)


def _such(key: tuple[str, ...], where: str, last: int) -> str:
    conditions = [f"{name} = ?{number}" for number, name in enumerate(key, 1)]
    if where:
        conditions.append(f"{where} IS ?{last}")
    return " AND ".join(conditions)


def _commas(names: Iterable[str]) -> str:
    return ", ".join(names)
