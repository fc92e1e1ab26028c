"""Connections to a projection's file, and SQLite's errors in the words of this package."""

import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from sqlite_utils import Database

from roomledger_projections.errors import NotAProjection, ProjectionLocked, ProjectionUnwritable
from roomledger_projections.projection import Projection

PATIENCE_S: Final = 5.0
"""How long a lock that somebody else holds is waited for."""


_PRIMARY_CODE: Final = 0xFF
_LOCKED: Final = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_FOREIGN: Final = {
    sqlite3.SQLITE_NOTADB,
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_ERROR,
    sqlite3.SQLITE_SCHEMA,
}


def connected(path: Path, patience: float = PATIENCE_S) -> sqlite3.Connection:
    """Return a connection to a projection's file, to be used from any thread, by one at a time.

    Args:
        path: The file; created if it is not there.
        patience: How long to wait for somebody else's lock, in seconds.
    """
    return sqlite3.connect(path, timeout=patience, isolation_level=None, check_same_thread=False)


def version_of(db: sqlite3.Connection, projection: Projection) -> int | None:
    """Return the version of a projection that a database holds, None if it holds something else."""
    if not Database(db).table("position").exists():
        return None
    found = db.execute("SELECT version FROM position WHERE projection = ?", (projection.name,)).fetchone()
    return None if found is None else int(found[0])


@contextmanager
def named_errors(path: Path) -> Generator[None]:
    """Turn SQLite's errors about a file into those of this package."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & _PRIMARY_CODE
        if code in _LOCKED:
            raise ProjectionLocked(path, str(error)) from error
        if code in _FOREIGN:
            raise NotAProjection(path, str(error)) from error
        raise ProjectionUnwritable(path, str(error)) from error
