"""A projection's SQLite file: rows and position, committed together.

The position says which commit of which log was taken in last. It is read again in the transaction that adds
to it, so a commit counts once however often it is handed over, and whoever else writes to the file.
"""

import sqlite3
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Concatenate, Final, NamedTuple, ParamSpec, TypeVar

from sqlite_utils import Database

from roomledger_events.envelope import Address, Commit, Unreadable
from roomledger_events.subjects import EXPIRING, Boundary
from roomledger_projections.errors import NotAProjection, ProjectionLocked, ProjectionUnwritable
from roomledger_projections.projection import Projection, Table, Values

Asked = ParamSpec("Asked")
Value = TypeVar("Value")

POSITION: Final = Table(
    {
        "projection": str, "version": int, "log_created": str, "sequence": int, "event": str, "expires": bool,
        "unreadable": int,
    },
    ("projection",),
)  # fmt: skip  # a table is read at a glance
PATIENCE_S: Final = 5.0
"""How long a lock that somebody else holds is waited for."""

_MEMORY: Final = Path(":memory:")
_READ: Final = "SELECT log_created, sequence, event, expires, unreadable FROM position"
_MOVE: Final = "UPDATE position SET log_created = ?, sequence = ?, event = ?, expires = ?, unreadable = ?"
# WAL: readers and the writer do not wait for each other. Transactions are not fsynced one by one: what a
# power failure takes back is taken in again from the log.
_PRAGMAS: Final = ("journal_mode = WAL", "synchronous = NORMAL", "secure_delete = OFF", "cache_size = -16384")
_UNFIT: Final = (sqlite3.IntegrityError, sqlite3.InterfaceError, sqlite3.DataError, ValueError, OverflowError)
_PRIMARY_CODE: Final = 0xFF
_LOCKED: Final = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_FOREIGN: Final = {
    sqlite3.SQLITE_NOTADB,
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_ERROR,
    sqlite3.SQLITE_SCHEMA,
}


class Position(NamedTuple):
    """How far a projection has taken a log in.

    Attributes:
        created: When that log was created; empty before the first commit.
        sequence: The last sequence taken in, 0 for none.
        event: The id of the first event there.
        expires: Whether that commit may have expired since.
        unreadable: How many events were skipped because this version could not read them.
    """

    created: str = ""
    sequence: int = 0
    event: str = ""
    expires: bool = False
    unreadable: int = 0


class Skipped(NamedTuple):
    """An event that could not be read, and why."""

    address: Address
    boundary: Boundary
    reason: str


class ProjectionFile:
    """One projection in one SQLite database, for one thread at a time.

    Attributes:
        projection: What it holds.
        path: Where it is; ``:memory:`` for one that ends with the process.
        position: How far it has taken the log in.
    """

    def __init__(self, projection: Projection, path: Path = _MEMORY, *, patience: float = PATIENCE_S) -> None:
        """Open the file, or create it if it is not there or empty.

        Raises:
            NotAProjection: It is something else, or of another version.
            ProjectionLocked: Somebody else keeps it locked.
            ProjectionUnwritable: It cannot be opened or written.
        """
        self.projection = projection
        self.path = path
        self._changes = projection.changes
        self._kinds = projection.kinds
        with named_errors(path):
            self._db = connected(path, patience)
            try:
                for pragma in _PRAGMAS:
                    self._db.execute(f"PRAGMA {pragma}")
                with self._transaction():
                    self._create_or_check()
                self.position = self._read_position()
            except BaseException:
                self._db.close()
                raise

    def take_in(self, commits: Sequence[Commit], created: str) -> list[Skipped]:
        """Fold commits in and move the position, in one transaction; those it has already are left out.

        Args:
            commits: In log order, without a gap behind the position other than what has expired.
            created: When their log was created.

        Returns:
            The events that could not be read.

        Raises:
            NotAProjection: The file was damaged, or its tables were changed.
            ProjectionLocked: Somebody else keeps it locked; nothing was taken in.
            ProjectionUnwritable: It cannot be written; nothing was taken in.
        """
        with named_errors(self.path):
            try:
                return self._take_in(commits, created, self._fold)
            except _UNFIT:
                return self._take_in(commits, created, self._fold_one_by_one)

    def ask(
        self,
        query: Callable[Concatenate[sqlite3.Connection, Asked], Value],
        *args: Asked.args,
        **more: Asked.kwargs,
    ) -> Value:
        """Return what a query of the projection finds.

        Raises:
            ProjectionError: The file cannot be read.
        """
        with named_errors(self.path):
            return query(self._db, *args, **more)

    def copy_to(self, other: Path, *, patience: float = PATIENCE_S) -> None:
        """Replace another file's contents by these, in one transaction of that file.

        Whoever reads the other file goes on, and sees the new contents once they are complete. A process that
        is killed meanwhile leaves the old ones.

        Raises:
            ProjectionLocked: Somebody else keeps the other file locked; it is as it was.
            ProjectionUnwritable: It cannot be written; it is as it was.
        """

        def give_up_when_locked(status: int, _remaining: int, _total: int) -> None:
            if status & _PRIMARY_CODE in _LOCKED:
                raise ProjectionLocked(other, "database is locked")

        with named_errors(other):
            target = connected(other, patience)
            try:
                self._db.backup(target, progress=give_up_when_locked)
            finally:
                target.close()

    def close(self) -> None:
        """Close the file; what was taken in stays."""
        self._db.close()

    def _create_or_check(self) -> None:
        found = Database(self._db).table_names()
        if not found:
            for name, table in {"position": POSITION, **self.projection.tables}.items():
                _create_table(Database(self._db), name, table)
            row = (self.projection.name, self.projection.version, *Position())
            self._db.execute("INSERT INTO position VALUES (?, ?, ?, ?, ?, ?, ?)", row)
            return
        stored = version_of(self._db, self.projection)
        if stored is None:
            raise NotAProjection(self.path, f"it holds the tables {', '.join(sorted(found)[:5])}")
        if stored != self.projection.version:
            raise NotAProjection(self.path, f"version {stored}, and this one is {self.projection.version}")

    def _take_in(
        self, commits: Sequence[Commit], created: str, fold: Callable[[Sequence[Commit]], list[Skipped]]
    ) -> list[Skipped]:
        with self._transaction():
            position = self._read_position()
            skipped: list[Skipped] = []
            new = [commit for commit in commits if commit.sequence > position.sequence]
            if new:
                skipped = fold([commit for commit in new if commit.boundary.kind in self._kinds])
                last = new[-1]
                event = last.events[0].id if last.events else ""
                expires = last.boundary.kind in EXPIRING
                unreadable = position.unreadable + len(skipped)
                position = Position(created, last.sequence, event, expires, unreadable)
                self._db.execute(_MOVE, position)
        self.position = position
        return skipped

    def _fold(self, commits: Sequence[Commit]) -> list[Skipped]:
        """Make the changes of all events; those in a row that share a statement at once, which is faster."""
        changes, run = self._changes, self._db.executemany
        skipped: list[Skipped] = []
        shared = ""
        waiting: list[Values] = []
        for commit in commits:
            for place, event in enumerate(commit.events):
                data = event.data
                for _, statement, values, many in changes.get(type(data), ()):
                    if statement is not shared:
                        if waiting:
                            run(shared, waiting)
                            waiting = []
                        shared = statement
                    if many:
                        waiting.extend(values(commit, event, data))
                    else:
                        waiting.append(values(commit, event, data))
                if isinstance(data, Unreadable):
                    skipped.append(Skipped(Address(commit.sequence, place), commit.boundary, data.reason))
        if waiting:
            run(shared, waiting)
        return skipped

    def _fold_one_by_one(self, commits: Sequence[Commit]) -> list[Skipped]:
        """Make the changes of each event, or none of them where its values do not go into the tables."""
        skipped: list[Skipped] = []
        for commit in commits:
            for place, event in enumerate(commit.events):
                address = Address(commit.sequence, place)
                self._db.execute("SAVEPOINT event")
                try:
                    found = self._fold([Commit(commit.sequence, commit.boundary, commit.time, (event,))])
                    skipped += [unreadable._replace(address=address) for unreadable in found]
                except _UNFIT as error:
                    self._db.execute("ROLLBACK TO event")
                    skipped.append(Skipped(address, commit.boundary, str(error)))
                self._db.execute("RELEASE event")
        return skipped

    def _read_position(self) -> Position:
        created, sequence, event, expires, unreadable = self._db.execute(_READ).fetchone()
        return Position(created, sequence, event, bool(expires), unreadable)

    @contextmanager
    def _transaction(self) -> Generator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:  # a full disk has rolled it back already
                self._db.execute("ROLLBACK")
            raise


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


def _create_table(db: Database, name: str, table: Table) -> None:
    key = table.key[0] if len(table.key) == 1 else table.key
    references = list(table.references)
    created = db.table(name).create(
        dict(table.columns), pk=key, foreign_keys=references, not_null=set(table.key)
    )
    for columns in table.indexes:
        created.create_index(columns)
