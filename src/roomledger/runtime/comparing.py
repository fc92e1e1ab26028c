"""Live projections compared, row by row, with what the log leads to.

The live files are copied when it begins and not touched after that; what is compared is what stood in them
then, with the log up to the sequence that they had taken in.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

from roomledger.domain.checking_sequences import Gaps
from roomledger.domain.findings import Finding
from roomledger_events.catalogue import CATALOGUE
from roomledger_events.envelope import Commit
from roomledger_events.subjects import EXPIRING
from roomledger_projections import PROJECTIONS
from roomledger_projections.connection import connected, named_errors, version_of
from roomledger_projections.directory import live_path
from roomledger_projections.projection import Projection, Table
from roomledger_projections.projection_file import ProjectionFile

NAME: Final = "projections"
_OF_REPORTS: Final = frozenset({"load", "load_reported_at"})
"""Columns that are filled from events which expire."""
_EXPIRING: Final = frozenset(name for name, data in CATALOGUE.items() if data.kind in EXPIRING)
_Row = tuple[Any, ...]


class _Compared(NamedTuple):
    live: sqlite3.Connection
    rebuilt: ProjectionFile
    sequence: int
    created: str


class ComparedProjections:
    """Copies of live projections, and beside each the same rebuilt in memory."""

    def __init__(self) -> None:
        self._compared: dict[str, _Compared] = {}
        self._created = ""
        self._rows = self._expired = 0

    def open(self, directory: Path, projections: Sequence[Projection] = PROJECTIONS) -> list[str]:
        """Copy the live files of a directory; return what cannot be compared, and why.

        Raises:
            ProjectionError: One cannot be read.
        """
        notes = []
        for projection in projections:
            path = live_path(directory, projection)
            if not path.exists():
                notes.append(f"there is no projection {projection.name} in {directory}")
                continue
            with named_errors(path), closing(connected(path)) as live:
                live.execute("PRAGMA query_only = ON")
                version = version_of(live, projection)
                if version != projection.version:
                    notes.append(f"{path} is of version {version}, this one is {projection.version}")
                    continue
                # A file of SQLite's own, which it deletes: there may be more than memory holds.
                copy = sqlite3.connect("", check_same_thread=False)
                live.backup(copy)
            created, sequence = copy.execute("SELECT log_created, sequence FROM position").fetchone()
            rebuilt = ProjectionFile(projection, loading=True)  # it is not asked, only compared
            self._compared[projection.name] = _Compared(copy, rebuilt, sequence, created)
            self._created = created or self._created
        return notes

    def take_in(self, commits: Sequence[Commit]) -> None:
        """Fold commits in, as far as the live files have."""
        for each in self._compared.values():
            if commits[0].sequence <= each.sequence:
                wanted = [commit for commit in commits if commit.sequence <= each.sequence]
                each.rebuilt.take_in(wanted, each.created)

    def compared(self, created: str, expired: Gaps) -> Iterator[Finding]:
        """Return what is different.

        Args:
            created: When the log was created.
            expired: Where commits have expired since: the log does not tell any more what stood there, and
                not all loads.
        """
        for name, each in self._compared.items():
            if each.created not in {"", created}:
                message = f"it was built from a log created at {each.created}, this one was at {created}"
                yield Finding(NAME, each.sequence, 0, name, message)
                continue
            unreadable = each.live.execute("SELECT unreadable FROM position").fetchone()[0]
            if unreadable != each.rebuilt.position.unreadable:
                message = f"{unreadable} unreadable events, and {each.rebuilt.position.unreadable} by the log"
                yield Finding(NAME, each.sequence, 0, f"{name}.position", message)
            for table_name, table in each.rebuilt.projection.tables.items():
                comparison = _Comparison(each.live, table_name, table, expired)
                messages = each.rebuilt.ask(comparison.messages)
                self._rows += comparison.rows
                self._expired += comparison.expired
                for message in messages:
                    yield Finding(NAME, each.sequence, 0, f"{name}.{table_name}", message)

    def figures(self) -> dict[str, int]:
        """Return how many rows were compared."""
        return {
            "projections": len(self._compared),
            "rows compared": self._rows,
            "rows whose events have expired": self._expired,
        }

    def close(self) -> None:
        """Let go of the copies."""
        for each in self._compared.values():
            each.live.close()
            each.rebuilt.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Comparison:
    """One table, gone through in the order of its key on both sides at once.

    Args:
        live: Where the copy of the live table is.
        name: The table's name.
        table: What it is made of.
        gaps: Where commits have expired.

    Attributes:
        rows: How many rows the log leads to.
        expired: How many live rows stand for events that have expired.
    """

    def __init__(self, live: sqlite3.Connection, name: str, table: Table, gaps: Gaps) -> None:
        self.rows = self.expired = 0
        self._live = live
        self._gaps = gaps
        self._columns = tuple(table.columns)
        self._key = [self._columns.index(column) for column in table.key]
        self._passed_over = _OF_REPORTS if gaps else frozenset()
        columns, key = (", ".join(f'"{each}"' for each in names) for names in (self._columns, table.key))
        self._query = f'SELECT {columns} FROM "{name}" ORDER BY {key}'  # noqa: S608  - names from the code

    def messages(self, rebuilt: sqlite3.Connection) -> list[str]:
        """Return what is different from the rebuilt table, each in a sentence."""
        return list(self._differences(rebuilt.execute(self._query), self._live.execute(self._query)))

    def _differences(self, rebuilt: Iterator[_Row], live: Iterator[_Row]) -> Iterator[str]:
        row, there = next(rebuilt, None), next(live, None)
        while row is not None or there is not None:
            if there is None or (row is not None and self._place(row) < self._place(there)):
                yield f"the row {self._shown(row)} is missing"
                self.rows += 1
                row = next(rebuilt, None)
            elif row is None or self._place(there) < self._place(row):
                if self._has_expired(there):
                    self.expired += 1
                else:
                    yield f"the row {self._shown(there)} is not in the log"
                there = next(live, None)
            else:
                if row != there:
                    yield from self._changes(row, there)
                self.rows += 1
                row, there = next(rebuilt, None), next(live, None)

    def _changes(self, row: _Row, there: _Row) -> Iterator[str]:
        for column, is_, should in zip(self._columns, there, row, strict=True):
            if is_ != should and not (should is None and column in self._passed_over):
                yield f"{column} of the row {self._shown(row)} is {is_!r}, and {should!r} by the log"

    def _place(self, row: _Row) -> list[tuple[int, Any]]:
        """Return where a row stands in SQLite's order: nothing, numbers, texts by their bytes, bytes."""
        found: list[tuple[int, Any]] = []
        for place in self._key:
            value = row[place]
            if value is None:
                found.append((0, 0))
            elif isinstance(value, str):
                found.append((2, value.encode()))
            else:
                found.append((3 if isinstance(value, bytes) else 1, value))
        return found

    def _has_expired(self, row: _Row) -> bool:
        """Whether a row stands for an event of a kind that expires, where the log has a gap."""
        if not self._gaps:
            return False
        told = dict(zip(self._columns, row, strict=True))
        return told.get("type") in _EXPIRING and told.get("sequence") in self._gaps

    def _shown(self, row: _Row | None) -> str:
        return "" if row is None else ", ".join(str(row[place]) for place in self._key)
