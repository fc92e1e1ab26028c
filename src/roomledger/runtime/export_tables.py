"""An exported log as SQLite, for those who look at it with sqlite-utils or Datasette."""

import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec
from sqlite_utils import Database

from roomledger.event_store.export_format import Header
from roomledger_events.envelope import Address, Commit, Unreadable, to_json
from roomledger_projections.projection import moment

BATCH: Final = 4096
"""So many events are written at once."""

_EXPORT: Final = {
    "program": str, "log": str, "log_created": str, "head": int, "first": int, "last": int, "rooms": str,
    "pseudonyms": bool, "commits": int, "events": int,
}  # fmt: skip  # a table is read at a glance
_COMMITS: Final = {"sequence": int, "kind": str, "name": str, "stored_at": str, "events": int}
_EVENTS: Final = {
    "address": str, "sequence": int, "place": int, "type": str, "subject": str, "time": str, "actor": str,
    "correlation": str, "causation": str, "source": str, "data": str, "unreadable": str, "id": str,
}  # fmt: skip  # a table is read at a glance
_ADD_COMMIT: Final = "INSERT INTO commits VALUES (?, ?, ?, ?, ?)"
_ADD_EVENT: Final = f"INSERT INTO events VALUES ({', '.join('?' * len(_EVENTS))})"  # noqa: S608  - no value in it
_INDEXED: Final = ("type", "subject", "correlation", "time", "causation")


class ExportTables:
    """Writes an exported log into the tables ``export``, ``commits`` and ``events``.

    Args:
        path: The file, which is not there yet.
        header: What it is going to hold.

    Attributes:
        commits: How many were written.
        events: How many events stand in them.
    """

    def __init__(self, path: Path, header: Header) -> None:
        self.commits = 0
        self.events = 0
        self._header = header
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._waiting: tuple[list[tuple[object, ...]], list[tuple[object, ...]]] = [], []
        # It is a new file that is thrown away when anything goes wrong.
        for pragma in ("journal_mode = OFF", "synchronous = OFF"):
            self._db.execute(f"PRAGMA {pragma}")
        shown = Database(self._db)
        shown.table("export").create(dict(_EXPORT))
        shown.table("commits").create(dict(_COMMITS), pk="sequence")
        shown.table("events").create(
            dict(_EVENTS), pk="address", foreign_keys=[("sequence", "commits", "sequence")]
        )

    def add(self, commit: Commit, body: bytes) -> None:
        """Write one commit.

        Args:
            commit: The commit as it was read.
            body: Its body as it is to stand in the file.
        """
        commits, events = self._waiting
        kind, name = commit.boundary
        commits.append((commit.sequence, str(kind), name, moment(commit.time), len(commit.events)))
        parts = _parts(body)
        for place, event in enumerate(commit.events):
            part = parts[place] if place < len(parts) else {}
            data = event.data
            shown, why = to_json(part.get("data")), None
            if isinstance(data, Unreadable):
                shown, why = "" if self._header.pseudonyms else data.body, data.reason
            events.append((
                str(Address(commit.sequence, place)), commit.sequence, place, event.type, event.subject,
                moment(event.time), part.get("actor", event.actor), event.correlationid, event.causationid,
                event.source, shown, why, event.id,
            ))  # fmt: skip  # as the table
        self.commits += 1
        self.events += len(commit.events)
        if len(events) >= BATCH:
            self._write()

    def end(self) -> None:
        """Write what is still to be written, and what the file holds."""
        self._write()
        for column in _INDEXED:
            self._db.execute(f"CREATE INDEX idx_events_{column} ON events ({column})")
        header = self._header
        row = (
            header.program, header.log, header.created, header.head, header.first, header.last,
            " ".join(header.rooms), header.pseudonyms, self.commits, self.events,
        )  # fmt: skip  # as the table
        self._db.execute(f"INSERT INTO export VALUES ({', '.join('?' * len(row))})", row)  # noqa: S608  - no value in it

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def _write(self) -> None:
        commits, events = self._waiting
        self._db.execute("BEGIN")
        self._db.executemany(_ADD_COMMIT, commits)
        self._db.executemany(_ADD_EVENT, events)
        self._db.execute("COMMIT")
        self._waiting = [], []


def _parts(body: bytes) -> list[Mapping[str, object]]:
    try:
        found = msgspec.json.decode(body, type=list[dict[str, object] | None])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return []
    return [part or {} for part in found]
