"""How the projections' files in a directory stand, looked at without touching them."""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

from roomledger.event_store.store import Head
from roomledger_projections.connection import named_errors, version_of
from roomledger_projections.directory import live_path
from roomledger_projections.errors import ProjectionError
from roomledger_projections.projection import Projection


class Status(NamedTuple):
    """How a projection's file stands.

    Attributes:
        projection: Its name.
        path: Its file.
        state: ``ready``, ``missing``, ``older`` or ``newer`` than this version, ``another log`` or
            ``unusable``.
        problem: Why it is unusable; else None.
        version: The version of the file.
        sequence: Up to where it knows the log.
        lag: How many sequences it is behind the log; None where the log is not known.
        unreadable: How many events it had to leave out.
        held: How many of these are put aside in it.
        size: Of the file and its write-ahead log, in bytes.
    """

    projection: str
    path: str
    state: str
    problem: str | None = None
    version: int | None = None
    sequence: int | None = None
    lag: int | None = None
    unreadable: int | None = None
    held: int | None = None
    size: int = 0


def status(directory: Path, projections: Sequence[Projection], head: Head | None) -> list[Status]:
    """Return how the files of projections stand.

    Args:
        directory: Where they are.
        projections: Which ones.
        head: Where the log stands; None if that is not known.
    """
    return [_status(live_path(directory, projection), projection, head) for projection in projections]


def _status(path: Path, projection: Projection, head: Head | None) -> Status:
    if not path.exists():
        return Status(projection.name, str(path), "missing")
    size = sum(part.stat().st_size for part in (path, path.with_name(f"{path.name}-wal")) if part.exists())
    about = Status(projection.name, str(path), "unusable", size=size)
    try:
        with named_errors(path), closing(_opened(path)) as db:
            version = version_of(db, projection)
            if version is None:
                return about._replace(problem="it is something else")
            created, sequence, unreadable = db.execute(
                "SELECT log_created, sequence, unreadable FROM position"
            ).fetchone()
            held = _held(db)
    except ProjectionError as error:
        return about._replace(problem=error.reason)
    found = about._replace(
        version=version,
        sequence=sequence,
        unreadable=unreadable,
        held=held,
        state=_state(version, projection),
    )
    if head is not None:
        if created not in {"", head.created}:
            return found._replace(state="another log")
        return found._replace(lag=max(head.sequence - sequence, 0))
    return found


def _state(version: int, projection: Projection) -> str:
    if version == projection.version:
        return "ready"
    return "older" if version < projection.version else "newer"


def _held(db: sqlite3.Connection) -> int:
    there = db.execute("SELECT 1 FROM sqlite_master WHERE name = 'held'").fetchone()
    found: Any = db.execute("SELECT count(*) FROM held").fetchone() if there else (0,)
    return int(found[0])


def _opened(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=1.0)
