"""What a projection is: a part of what we know, as tables, a fold and queries, in a value without I/O.

The fold is a list of changes, each a statement (`statements.py`) that one type of event causes.  It never
refuses: what is in the log has happened, so a statement that finds no row to change changes none.  Foreign
keys are declared for those who look at the tables; they are not enforced, since the row they point to may
have been unreadable.
"""

import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, Final, NamedTuple, TypeVar

import msgspec

from roomledger_events.envelope import Commit, Event, Payload
from roomledger_events.subjects import Kind
from roomledger_projections.statements import Statement

P = TypeVar("P", bound=Payload)
Values = tuple[Any, ...]
Row = dict[str, Any]
"""A row as it is shown: by column name, JSON columns read."""


@dataclass(frozen=True)
class Table:
    """A table of a projection.

    Attributes:
        columns: Name → ``str``, ``int``, ``float`` or ``bool``.
        key: The primary key's columns.
        references: Foreign keys: columns, the table that they point to, its columns.
        needed: Columns by which the fold itself looks rows up, beside the key.
        indexes: Columns by which questions look rows up.
        sparse: Likewise, each by itself: those that are empty in many rows.
    """

    columns: Mapping[str, type]
    key: tuple[str, ...]
    references: tuple[tuple[tuple[str, ...], str, tuple[str, ...]], ...] = ()
    needed: tuple[tuple[str, ...], ...] = ()
    indexes: tuple[tuple[str, ...], ...] = ()
    sparse: tuple[str, ...] = ()


class Change(NamedTuple):
    """What one type of event changes.

    Attributes:
        cause: The type of event.
        statement: The change.
        values: The values of its parameters; where `many` is set, those of each time that it is made.
        many: Whether it is made once for each row that the event tells of.
    """

    cause: type[Payload]
    statement: Statement
    values: Callable[..., Any]
    many: bool = False


def on(cause: type[P], statement: Statement, values: Callable[[Commit, Event, P], Values]) -> Change:
    """Return the change that makes a statement once for each event of a type."""
    return Change(cause, statement, values)


def each(
    cause: type[P], statement: Statement, rows: Callable[[Commit, Event, P, int], Iterable[Sequence[object]]]
) -> Change:
    """Return the change that makes a statement for each of the rows that an event tells of.

    Args:
        cause: The type of event.
        statement: The statement.
        rows: Returns the parameters of each, from the commit, the event, its data and its place there.
    """
    return Change(cause, statement, rows, many=True)


@dataclass(frozen=True)
class Projection:
    """A part of what we know.

    Attributes:
        name: Its name, which is its file's too.
        version: Grows with every change of the tables or of the fold; a file of another version is rebuilt.
        tables: Name → table.
        fold: The changes, in the order in which those of one event are made.
        queries: What it can be asked: functions whose first argument is a connection to its file.
    """

    name: str
    version: int
    tables: Mapping[str, Table]
    fold: Sequence[Change]
    queries: Sequence[Callable[..., Any]]

    @cached_property
    def changes(self) -> dict[type[Payload], tuple[Change, ...]]:
        """Type of event → its changes."""
        causes = dict.fromkeys(change.cause for change in self.fold)
        return {cause: tuple(change for change in self.fold if change.cause is cause) for cause in causes}

    @cached_property
    def kinds(self) -> frozenset[Kind]:
        """The kinds of boundaries whose events it folds."""
        return frozenset(change.cause.kind for change in self.fold)

    @cached_property
    def integers(self) -> dict[str, frozenset[str]]:
        """Table → its columns of whole numbers."""
        return {
            name: frozenset(column for column, kind in table.columns.items() if kind is int)
            for name, table in self.tables.items()
        }


_text_of: Final = msgspec.to_builtins
_WHOLE_SECOND: Final = len("2026-01-01T00:00:00Z")


def moment(time: datetime | None) -> str | None:
    """Return a time as it stands in the tables: RFC 3339, UTC; such texts sort as the times do."""
    if time is None:
        return None
    if time.tzinfo is not UTC:
        time = time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    text: str = _text_of(time)  # many times as fast as isoformat
    return text if len(text) > _WHOLE_SECOND else f"{text[:-1]}.000000Z"


def rows(db: sqlite3.Connection, query: str, *values: object) -> list[Row]:
    """Return the rows that a query finds."""
    cursor = db.execute(query, values)
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor]


def where(**columns: object) -> tuple[str, list[object]]:
    """Return the condition that columns have these values, and its parameters; None is not asked for."""
    asked = {name: value for name, value in columns.items() if value is not None}
    return " AND ".join(f"{name} = ?" for name in asked) or "TRUE", list(asked.values())
