"""What every event names: where in the log all that concerns a token, a participant, a room, ... stands.

It holds for events what `roomledger_events.mentions` says of them, but for load reports: these are many, and
have expired when somebody asks. One row an event is what makes it cheap to fold; only what few events name is
indexed, for what many name is found by looking through the rows.
"""

import sqlite3
from collections.abc import Callable, Collection, Iterable, Sequence
from itertools import chain
from operator import attrgetter, itemgetter
from typing import Any, Final

import msgspec

from roomledger_events.catalogue import CATALOGUE
from roomledger_events.envelope import Address, Commit, Event, Payload
from roomledger_events.mentions import ACTORS, ALL, BOUNDARIES, CONFERENCE, FIELDS, Mention, Thing
from roomledger_events.subjects import Kind
from roomledger_projections.projection import Projection, Table, each, moment
from roomledger_projections.statements import NULL, add

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
_ADD: Final = add("events", " ".join(TABLES["events"].columns))
_HEAD: Final = len(TABLES["events"].columns) - len(COLUMNS)
"""So many columns say which event it is."""
_AT: Final = {Thing(name): place for place, name in enumerate(COLUMNS, _HEAD)}
_ROOM, _TOKEN, _CORRELATION = _AT[Thing.ROOM], _AT[Thing.TOKEN], _AT[Thing.CORRELATION]
_ACTORS: Final = {who: _AT[thing] for who, thing in ACTORS.items()}


def _folded(cause: type[Payload]) -> Callable[[Commit, Event, Any, int], Sequence[list[Any]]]:
    """Return what makes the rows of one type of event.

    What it says goes straight into the columns; what is of the same kind as something else comes after that.
    """
    fields = [field.name for field in msgspec.structs.fields(cause) if field.name in FIELDS]
    straight = {FIELDS[name]: name for name in reversed(fields)}
    again = [(_AT[FIELDS[name]], name) for name in fields if name not in straight.values()]
    values_of = _values_of(list(straight.values()))
    places = {thing: place for place, thing in enumerate(straight)}
    of_boundary = BOUNDARIES.get(cause.kind)
    if of_boundary is not None:
        places.setdefault(of_boundary, len(straight))
    in_columns = itemgetter(*(places.get(Thing(name), len(straight) + 1) for name in COLUMNS))
    boundary_again = _AT[of_boundary] if of_boundary in straight else None
    may_be_of_conference = cause.kind is CONFERENCE.kind and "task" in fields
    nobody = ALL if cause.kind is Kind.TEXT else None

    def rows(c: Commit, e: Event, d: Any, place: int) -> Sequence[list[Any]]:  # noqa: ANN401  - of that type
        names = values_of(d)
        if "" in names or nobody in names:
            names = tuple(NULL if name in {"", nobody} else name for name in names)
        number, boundary = c.sequence, c.boundary
        columns = in_columns((*names, boundary.name, NULL))
        row = [number * PLACES + 2 * place, number, place, e.type, moment(e.time), *columns]
        chain = e.correlationid
        if chain and chain not in (e.causationid, e.subject, row[_TOKEN]):
            row[_CORRELATION] = chain
        more = [(at, getattr(d, name)) for at, name in again] if again else []
        if boundary_again is not None and boundary.name != row[boundary_again]:
            more.append((boundary_again, boundary.name))
        if may_be_of_conference and boundary == CONFERENCE:
            more.append((_ROOM, d.task))
        who, _, actor = e.actor.partition(":")
        if who in _ACTORS:
            more.append((_ACTORS[who], actor))
        return _with_more(row, more, nobody) if more else (row,)

    return rows


def _values_of(fields: Sequence[str]) -> Callable[[Payload], tuple[Any, ...]]:
    if len(fields) > 1:
        return attrgetter(*fields)
    return lambda data: tuple([getattr(data, name) for name in fields])


def _with_more(
    row: list[Any], more: Iterable[tuple[int, str | None]], nobody: str | None
) -> Sequence[list[Any]]:
    """Name more things in a row, and those for which there is no room in it in a second one."""
    second: list[Any] | None = None
    for at, name in more:
        if not name or name in {nobody, row[at]}:
            continue
        if row[at] is NULL:
            row[at] = name
        else:
            second = second or [row[0] + 1, *row[1:_HEAD], *[NULL] * len(COLUMNS)]
            second[at] = name
    return (row,) if second is None else (row, second)


FOLD: Final = tuple(
    each(cause, _ADD, _folded(cause)) for cause in CATALOGUE.values() if cause.kind is not Kind.LOAD
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
