"""Statements gathered within a transaction, so that each row is written once, whatever happens to it.

A task is reserved, picked up, laid down and gone within minutes: whoever folds a long log takes its end in
together with its beginning, and nothing of it has to reach the file.

What comes of it is what the statements would have led to one by one, also the order of the rows: a new row is
behind those that were there. Where that cannot be told without looking into the table, what waits is written
first.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import Enum, auto
from functools import cache, partial
from itertools import groupby
from operator import itemgetter
from typing import Any, Final, NamedTuple

from roomledger_projections.statements import NULL, Statement, Verb, change, put, remove

Values = tuple[Any, ...]
_Write = tuple[Statement, Values]
_Waiting = tuple[Statement, Values, _Write | None]
"""What waits for a row; a statement that puts it there may have another one before it."""
_Rows = dict[Values, _Waiting]
_MIN: Final = -(2**63)
_MAX: Final = 2**63 - 1


class Gathered:
    """Statements that wait to be run.

    Args:
        run: Runs a statement for each of several rows of parameters.
        integers: Table → its columns of whole numbers.
    """

    def __init__(
        self, run: Callable[[str, Iterable[Sequence[object]]], object], integers: Mapping[str, frozenset[str]]
    ) -> None:
        self._run = run
        self._integers = integers
        self._added: dict[Statement, list[Values]] = {}
        self._rows: dict[str, _Rows] = {}

    def taker(self, statement: Statement) -> Callable[[Values], None]:
        """Return what takes a statement in, with its parameters, behind all the others.

        What is returned raises `OverflowError` where a value does not go into its column, and `sqlite3.Error`
        where what waited cannot be written.
        """
        if statement.verb is Verb.ADD:
            return self._added.setdefault(statement, []).append
        rows = self._rows.setdefault(statement.table, {})
        if statement.verb is Verb.ANY:
            return partial(self._run_behind, rows, statement)
        width = len(statement.key)
        whole = self._integers[statement.table]
        integers = [at for at, name in enumerate(statement.parameters) if name in whole]
        meet = self._meet

        def take(values: Values) -> None:
            for at in integers:
                number = values[at]
                if number is not None and not _MIN <= number <= _MAX:
                    raise OverflowError(f"{number} is too large for {statement.parameters[at]}")
            key = values[:width]
            waiting = rows.get(key)
            if waiting is None:
                rows[key] = (statement, values, None)
            else:
                meet(rows, key, waiting, statement, values)

        return take

    def taker_of_many(self, statement: Statement) -> Callable[[Iterable[Values]], None]:
        """Return what takes a statement in for each of several rows of parameters; see `taker`."""
        if statement.verb is Verb.ADD:
            return self._added.setdefault(statement, []).extend
        take = self.taker(statement)

        def take_all(rows: Iterable[Values]) -> None:
            for row in rows:
                take(row)

        return take_all

    def write(self) -> None:
        """Run all that waits.

        Raises:
            sqlite3.Error: It could not be written.
        """
        for statement, added in self._added.items():
            self._run(statement.sql, added)
            added.clear()
        for rows in self._rows.values():
            self._write(rows)

    def _meet(
        self, rows: _Rows, key: Values, waiting: _Waiting, statement: Statement, values: Values
    ) -> None:
        """Take a statement in on a row for which another one waits."""
        last, kept, before = waiting
        becomes, one, pick, asks = _meeting(last, statement)
        if asks is not None and kept[asks] != values[-1]:
            return
        if becomes is _Becomes.ONE:
            rows[key] = (one, pick(kept + values), before)
        elif becomes is _Becomes.REMOVED:
            rows[key] = (one, key, None)
        elif becomes is _Becomes.PUT_BEHIND:
            del rows[key]  # a row that is new now is behind the others
            rows[key] = (statement, values, (last, kept))
        elif becomes is _Becomes.UNKNOWN:
            if last.verb is Verb.PUT:
                self._write(rows)
            else:
                self._run(last.sql, [_bound(kept)])
            rows[key] = (statement, values, None)

    def _write(self, rows: _Rows) -> None:
        firsts: dict[Statement, list[Values]] = {}
        puts: list[_Write] = []
        for statement, values, before in rows.values():
            if statement.verb is Verb.PUT:
                puts.append((statement, values))
                if before is None:
                    continue
                statement, values = before  # noqa: PLW2901  - what comes first
            firsts.setdefault(statement, []).append(values)
        rows.clear()
        for statement, those in firsts.items():
            self._run(statement.sql, map(_bound, those))
        for statement, group in groupby(puts, itemgetter(0)):
            self._run(statement.sql, [_bound(values) for _, values in group])

    def _run_behind(self, rows: _Rows, statement: Statement, values: Values) -> None:
        """Run a statement on a whole table, behind what waits for its rows."""
        self._write(rows)
        self._run(statement.sql, [_bound(values)])


def _bound(values: Values) -> Values:
    return tuple([NULL if value is None else value for value in values]) if None in values else values


class _Becomes(Enum):
    """What a statement and a further one on the same row become."""

    ONE = auto()
    REMOVED = auto()
    PUT_BEHIND = auto()
    NOTHING_NEW = auto()
    UNKNOWN = auto()


class _Met(NamedTuple):
    """What a statement that waits and a further one on the same row become.

    Attributes:
        becomes: What.
        statement: The one that stands for both.
        pick: Makes its parameters from those of the one and the other.
        asks: Which parameter of the one has to be the last of the other, or else that one does nothing.
    """

    becomes: _Becomes
    statement: Statement
    pick: Callable[[Values], Values] = tuple
    asks: int | None = None


@cache
def _meeting(last: Statement, new: Statement) -> _Met:
    if last.verb is Verb.REMOVE and not last.where:
        return _Met(_Becomes.PUT_BEHIND if new.verb is Verb.PUT else _Becomes.NOTHING_NEW, last)
    if new.verb is Verb.REMOVE and not new.where:
        return _Met(_Becomes.REMOVED, new)
    if new.verb is Verb.PUT and last.verb is not Verb.PUT:
        return _Met(_Becomes.PUT_BEHIND, new)
    if last.where or (new.where and new.where not in last.columns):
        return _Met(_Becomes.UNKNOWN, new)
    asks = last.parameters.index(new.where) if new.where else None
    key = " ".join(last.key)
    if new.verb is Verb.REMOVE:
        return _Met(_Becomes.REMOVED, remove(last.table, key), asks=asks)
    columns = " ".join(dict.fromkeys((*last.columns, *new.columns)))
    if last.verb is Verb.CHANGE:
        one = change(last.table, key, columns)
    else:
        one = put(last.table, key, columns, once=" ".join(n for n in last.once if n not in new.columns))
    return _Met(_Becomes.ONE, one, _picker(last, new, one), asks)


def _picker(last: Statement, new: Statement, one: Statement) -> Callable[[Values], Values]:
    """Return what takes the parameters of one statement from those of two that it stands for."""
    places = {name: place for place, name in enumerate(last.parameters)}
    behind = len(last.parameters) + len(new.key)
    places |= {name: place for place, name in enumerate(new.columns, behind)}
    wanted = [places[name] for name in one.parameters]
    return itemgetter(*wanted) if len(wanted) > 1 else lambda both: (both[wanted[0]],)
