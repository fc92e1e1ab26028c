"""Asking a projection's file while somebody else writes to it."""

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Concatenate, Final, ParamSpec, TypeVar

from roomledger_projections.connection import PATIENCE_S, connected, named_errors

Asked = ParamSpec("Asked")
Value = TypeVar("Value")
_SEQUENCE: Final = "SELECT sequence FROM position"


class Reader:
    """A second connection to a projection's file, for one thread at a time. It changes nothing.

    Raises:
        ProjectionError: The file cannot be opened.
    """

    def __init__(self, path: Path, *, patience: float = PATIENCE_S) -> None:
        self.path = path
        with named_errors(path):
            self._db = connected(path, patience)
            self._db.execute("PRAGMA query_only = ON")

    def ask(
        self,
        query: Callable[Concatenate[sqlite3.Connection, Asked], Value],
        *args: Asked.args,
        **more: Asked.kwargs,
    ) -> tuple[Value, int]:
        """Return what a query finds, and the sequence of the log that it reflects.

        Raises:
            ProjectionError: The file cannot be read.
        """
        with named_errors(self.path):
            self._db.execute("BEGIN")
            try:
                return query(self._db, *args, **more), int(self._db.execute(_SEQUENCE).fetchone()[0])
            finally:
                self._db.execute("ROLLBACK")

    def close(self) -> None:
        """Close the connection."""
        self._db.close()
