"""The tables of a projection's file: those that every one has, and how tables and indexes are made."""

from collections.abc import Iterable, Sequence
from typing import Final

from sqlite_utils import Database

from roomledger_projections.projection import Table

POSITION: Final = Table(
    {
        "projection": str, "version": int, "log_created": str, "sequence": int, "event": str, "expires": bool,
        "unreadable": int,
    },
    ("projection",),
)  # fmt: skip  # a table is read at a glance
HELD: Final = Table(
    {"address": str, "sequence": int, "boundary": str, "type": str, "reason": str},
    ("address",),
)
"""The events that the projection left out, to be looked at until a version rebuilds it that can read them."""


def create(db: Database, name: str, table: Table) -> None:
    """Create a table, with the indexes that it is folded by."""
    key = table.key[0] if len(table.key) == 1 else table.key
    references = list(table.references)
    db.table(name).create(dict(table.columns), pk=key, foreign_keys=references, not_null=set(table.key))
    for statement in needed_indexes(name, table):
        db.execute(statement)


def needed_indexes(name: str, table: Table, schema: str = "main") -> Iterable[str]:
    """Return the statements that make the indexes by which a table is folded."""
    return (_index(schema, name, columns) for columns in table.needed)


def indexes(name: str, table: Table, schema: str = "main") -> Iterable[str]:
    """Return the statements that make the indexes by which a table is asked."""
    yield from (_index(schema, name, columns) for columns in table.indexes)
    for column in table.sparse:
        yield f"{_index(schema, name, (column,))} WHERE {column} IS NOT NULL"


def _index(schema: str, table: str, columns: Sequence[str]) -> str:
    name = "_".join(("idx", table, *columns))
    return f"CREATE INDEX IF NOT EXISTS {schema}.{name} ON {table} ({', '.join(columns)})"
