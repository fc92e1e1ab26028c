"""What every event names: where in the log all that concerns a token, a participant, a room, ... stands.

It holds for events what `roomledger_events.mentions` says of them, but for load reports: these are many, and
have expired when somebody asks. One row an event is what makes it cheap to fold; only what few events name is
indexed, for what many name is found by looking through the rows.
"""

import sqlite3
from collections.abc import Callable, Collection, Sequence
from itertools import chain
from typing import Any, Final

import msgspec

from roomledger_events.catalogue import CATALOGUE
from roomledger_events.envelope import Address, Commit, Event, Payload
from roomledger_events.mentions import ACTORS, ALL, BOUNDARIES, CONFERENCE, FIELDS, Mention, Thing
from roomledger_events.subjects import Kind
from roomledger_projections.projection import Projection, Table, Values, each, moment

# -- Tables

TABLES: Final = {
    "events": Table(
        {
            "id": int, "sequence": int, "place": int, "type": str, "time": str, "room": str,
            "participant": str, "token": str, "task": str, "worker": str, "user": str, "correlation": str,
        },
        ("id",), sparse=("participant", "token", "task", "correlation"),
    ),
}  # fmt: skip  # a table is read at a glance
COLUMNS: Final = tuple(list(TABLES["events"].columns)[5:])
"""The columns of what an event names, each called as the thing is."""

# -- Fold

PLACES: Final = 1000
"""A row's id is the sequence times this, and twice the place; an event's second row is behind its first."""
MAX_ID: Final = 2**63 - 1
_INSERT: Final = f"INSERT INTO events VALUES ({', '.join('?' * len(TABLES['events'].columns))})"  # noqa: S608  - placeholders
_AT: Final = {thing: place for place, thing in enumerate(COLUMNS)}
_EMPTY: Final = (None,) * len(COLUMNS)
_ROOM, _CORRELATION = _AT[Thing.ROOM], _AT[Thing.CORRELATION]


def _folded(cause: type[Payload]) -> Callable[[Commit, Event, Any], Sequence[Values]]:
    """Return what makes the rows of one type of event."""
    fields = [field.name for field in msgspec.structs.fields(cause) if field.name in FIELDS]
    named = [(name, _AT[FIELDS[name]]) for name in fields]
    stands_for = BOUNDARIES.get(cause.kind)
    boundary = None if stands_for is None else _AT[stands_for]

    def rows(c: Commit, e: Event, d: Payload) -> Sequence[Values]:
        row: list[str | None] = [*_EMPTY]
        more: list[str | None] | None = None
        found = [(at, getattr(d, name)) for name, at in named]
        if boundary is not None:
            found.append((boundary, c.boundary.name))
        elif c.boundary == CONFERENCE and "task" in fields:
            found.append((_ROOM, getattr(d, "task")))  # noqa: B009  - not all have one
        who, _, actor = e.actor.partition(":")
        if actor and who in ACTORS:
            found.append((_AT[ACTORS[who]], actor))
        for at, name in found:
            if not name or (name == ALL and cause.kind is Kind.TEXT):
                continue
            if row[at] is None:
                row[at] = name
            elif row[at] != name:
                more = more or [*_EMPTY]
                more[at] = name
        correlation = e.correlationid
        if correlation and correlation not in {e.causationid, e.subject, row[_AT[Thing.TOKEN]]}:
            row[_CORRELATION] = correlation
        place = c.events.index(e) if len(c.events) > 1 else 0
        head = (c.sequence, place, e.type, moment(e.time))
        number = c.sequence * PLACES + 2 * place
        first = (number, *head, *row)
        return (first,) if more is None else (first, (number + 1, *head, *more))

    return rows


FOLD: Final = tuple(
    each(cause, _INSERT, _folded(cause)) for cause in CATALOGUE.values() if cause.kind is not Kind.LOAD
)

# -- Queries


def addresses_of(
    db: sqlite3.Connection,
    sought: Collection[Mention],
    *,
    after: Address | None = None,
    start: int = 1,
    until: int | None = None,
    limit: int,
) -> list[Address]:
    """Return where the events stand that name at least one of these, in log order.

    Args:
        db: The projection's file.
        sought: What they name; nothing means all events.
        after: Only what stands behind this.
        start: The first sequence that counts.
        until: The last one.
        limit: At most so many.
    """
    by_column: dict[str, list[str]] = {}
    for thing, name in sought:
        by_column.setdefault(thing, []).append(name)
    named = " OR ".join(f"{column} IN ({', '.join('?' * len(each))})" for column, each in by_column.items())
    behind = 0 if after is None else after.sequence * PLACES + 2 * after.place + 2
    first = min(max(start * PLACES, behind), MAX_ID)
    last = MAX_ID if until is None else min((until + 1) * PLACES - 1, MAX_ID)
    query = f"SELECT sequence, place FROM events WHERE id BETWEEN ? AND ? AND ({named or 'TRUE'}) ORDER BY id"  # noqa: S608  - names from the code
    found: dict[Address, None] = {}
    for row in db.execute(query, (first, last, *chain.from_iterable(by_column.values()))):
        found[Address(*row)] = None
        if len(found) == limit:
            break
    return list(found)


AUDIT: Final = Projection("audit", 1, TABLES, FOLD, (addresses_of,))
