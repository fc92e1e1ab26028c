"""Live projections compared, row by row, with what the log leads to.

The live files are copied when it begins and not touched after that; what is compared is what stood in them
then, with the log up to the sequence that they had taken in.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Final, NamedTuple, Self

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
_Rows = dict[tuple[object, ...], tuple[object, ...]]


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
                copy = sqlite3.connect(":memory:", check_same_thread=False)
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
        passed_over = _OF_REPORTS if expired else frozenset()
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
                live = _rows(each.live, table_name, table)
                rebuilt = each.rebuilt.ask(_rows, table_name, table)
                self._rows += len(rebuilt)
                columns = tuple(table.columns)
                for key in _of_expired(live, columns, expired):
                    if key not in rebuilt:
                        del live[key]
                        self._expired += 1
                for message in _differences(live, rebuilt, columns, passed_over):
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


def _rows(db: sqlite3.Connection, name: str, table: Table) -> _Rows:
    columns = tuple(table.columns)
    places = [columns.index(column) for column in table.key]
    quoted = ", ".join(f'"{column}"' for column in columns)
    found = db.execute(f'SELECT {quoted} FROM "{name}"')  # noqa: S608  - names from the code
    return {tuple(row[place] for place in places): tuple(row) for row in found}


def _of_expired(live: _Rows, columns: tuple[str, ...], expired: Gaps) -> list[tuple[object, ...]]:
    """Return the keys of rows that stand for an event of a kind that expires, where the log has a gap."""
    if not expired or not {"sequence", "type"} <= set(columns):
        return []
    sequence, kind = columns.index("sequence"), columns.index("type")
    return [key for key, row in live.items() if row[kind] in _EXPIRING and row[sequence] in expired]


def _differences(
    live: _Rows, rebuilt: _Rows, columns: tuple[str, ...], passed_over: frozenset[str]
) -> Iterator[str]:
    for key, row in rebuilt.items():
        there = live.get(key)
        if there is None:
            yield f"the row {_shown(key)} is missing"
        elif there != row:
            for column, is_, should in zip(columns, there, row, strict=True):
                if is_ != should and not (should is None and column in passed_over):
                    yield f"{column} of the row {_shown(key)} is {is_!r}, and {should!r} by the log"
    for key in live:
        if key not in rebuilt:
            yield f"the row {_shown(key)} is not in the log"


def _shown(key: tuple[object, ...]) -> str:
    return ", ".join(map(str, key))
