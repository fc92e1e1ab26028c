"""A projection's SQLite file: rows and position, committed together.

The position says which commit of which log was taken in last. It is read again in the transaction that adds
to it, so a commit counts once however often it is handed over, and whoever else writes to the file.
"""

import sqlite3
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Concatenate, Final, NamedTuple, ParamSpec, TypeVar

from sqlite_utils import Database

from roomledger_events.envelope import Address, Commit, Event, Payload, Unreadable
from roomledger_events.subjects import EXPIRING, Boundary
from roomledger_projections.connection import PATIENCE_S, connected, named_errors, version_of
from roomledger_projections.errors import NotAProjection
from roomledger_projections.gathered import Gathered
from roomledger_projections.projection import Projection
from roomledger_projections.tables import HELD, POSITION, create, indexes, needed_indexes

Asked = ParamSpec("Asked")
Value = TypeVar("Value")
_Told = tuple[Commit, int, Event]
"""An event with its commit and its place in that."""
_Changes = list[tuple[Callable[[Any], None], Callable[..., Any], bool]]

_MEMORY: Final = Path(":memory:")
_READ: Final = "SELECT log_created, sequence, event, expires, unreadable FROM position"
_HOLD: Final = "INSERT OR REPLACE INTO held VALUES (?, ?, ?, ?, ?)"
_MOVE: Final = "UPDATE position SET log_created = ?, sequence = ?, event = ?, expires = ?, unreadable = ?"
# WAL: readers and the writer do not wait for each other. Transactions are not fsynced one by one: what a
# power failure takes back is taken in again from the log.
_LASTING: Final = ("journal_mode = WAL", "synchronous = NORMAL", "secure_delete = OFF", "cache_size = -16384")
# A file that nobody goes on with who did not begin it is not worth a journal on disk.
_SCRATCH: Final = ("journal_mode = MEMORY", "synchronous = OFF", "secure_delete = OFF", "cache_size = -65536")
_UNFIT: Final = (sqlite3.IntegrityError, sqlite3.InterfaceError, sqlite3.DataError, ValueError, OverflowError)


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
    type: str = ""


class ProjectionFile:
    """One projection in one SQLite database, for one thread at a time.

    Attributes:
        projection: What it holds.
        path: Where it is; ``:memory:`` for one that ends with the process.
        position: How far it has taken the log in.
        holds: Whether events that it leaves out are put into the table ``held``, beside being counted.
    """

    def __init__(
        self,
        projection: Projection,
        path: Path = _MEMORY,
        *,
        patience: float = PATIENCE_S,
        loading: bool = False,
        scratch: bool = False,
    ) -> None:
        """Open the file, or create it if it is not there or empty.

        Args:
            projection: What it holds, or is to hold.
            path: Where it is.
            patience: How long to wait for somebody else's lock, in seconds.
            loading: Whether much is taken in before anybody asks: the indexes that only questions need are
                made by `complete`, which is faster than to keep them up with every row.
            scratch: Whether the file is worth nothing to whoever finds it after this process has died.

        Raises:
            NotAProjection: It is something else, or of another version.
            ProjectionLocked: Somebody else keeps it locked.
            ProjectionUnwritable: It cannot be opened or written.
        """
        self.projection = projection
        self.path = path
        self.holds = True
        self._kinds = projection.kinds
        with named_errors(path):
            self._db = connected(path, patience)
            try:
                for pragma in _SCRATCH if scratch else _LASTING:
                    self._db.execute(f"PRAGMA {pragma}")
                with self._transaction():
                    self._create_or_check()
                    if not loading:
                        self._index()
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

    def complete(self) -> None:
        """Make the indexes that are not there yet.

        Raises:
            ProjectionLocked: Somebody else keeps it locked; it is as it was.
            ProjectionUnwritable: It cannot be written; it is as it was.
        """
        with named_errors(self.path), self._transaction():
            self._index()

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

    def copy_to(self, other: Path, *, patience: float = PATIENCE_S) -> bool:
        """Replace another file's contents by these, in one transaction of that file, unless it knows more.

        Whoever reads or writes the other file goes on, and sees the new contents once they are complete. A
        process that is killed meanwhile leaves the old ones.

        Returns:
            Whether they were replaced: not where the other one, of the same version, has taken in more of the
            same log.

        Raises:
            NotAProjection: The other file is no database.
            ProjectionLocked: Somebody else keeps it locked; it is as it was.
            ProjectionUnwritable: It cannot be written; it is as it was.
        """
        with named_errors(other):
            self._db.execute(f"PRAGMA busy_timeout = {int(patience * 1000)}")
            self._db.execute("ATTACH ? AS other", (str(other),))
            try:
                with self._transaction():
                    if self._is_behind("other"):
                        return False
                    self._copy_to("other")
            finally:
                self._db.execute("DETACH other")
        return True

    def copy_from(self, other: Path) -> None:
        """Replace these contents by those of another file of the same projection.

        Raises:
            NotAProjection: It is something else, or of another version; these contents are lost.
            ProjectionError: It cannot be read; likewise.
        """
        with named_errors(other):
            source = connected(other)
            try:
                source.backup(self._db)
                self._create_or_check()
            finally:
                source.close()
            self.position = self._read_position()

    def close(self) -> None:
        """Close the file; what was taken in stays."""
        self._db.close()

    def _is_behind(self, schema: str) -> bool:
        """Whether the same projection of the same log in another database has taken more in."""
        if not self._db.execute(f"SELECT 1 FROM {schema}.sqlite_master WHERE name = 'position'").fetchone():  # noqa: S608  - our own name
            return False
        such = "SELECT sequence FROM {}.position WHERE projection = ? AND version = ? AND log_created = ?"
        mine = self._read_position()
        found = self._db.execute(
            such.format(schema), (self.projection.name, self.projection.version, mine.created)
        ).fetchone()
        return found is not None and found[0] > mine.sequence

    def _copy_to(self, schema: str) -> None:
        """Put all tables of this database in the place of all those of another one."""
        run = self._db.execute
        for (name,) in run(f"SELECT name FROM {schema}.sqlite_master WHERE type = 'table'").fetchall():  # noqa: S608  - our own name
            run(f'DROP TABLE {schema}."{name}"')
        made = run("SELECT name, sql FROM main.sqlite_master WHERE type = 'table'").fetchall()
        for name, sql in made:
            run(sql.replace("CREATE TABLE ", f"CREATE TABLE {schema}.", 1))
            run(f'INSERT INTO {schema}."{name}" SELECT * FROM main."{name}"')  # noqa: S608  - our own names
        self._index(schema)

    def _index(self, schema: str = "main") -> None:
        for name, table in self.projection.tables.items():
            for statement in (*needed_indexes(name, table, schema), *indexes(name, table, schema)):
                self._db.execute(statement)

    def _create_or_check(self) -> None:
        found = Database(self._db).table_names()
        if not found:
            for name, table in {"position": POSITION, **self.projection.tables, "held": HELD}.items():
                create(Database(self._db), name, table)
            row = (self.projection.name, self.projection.version, *Position())
            self._db.execute("INSERT INTO position VALUES (?, ?, ?, ?, ?, ?, ?)", row)
            return
        stored = version_of(self._db, self.projection)
        if stored is None:
            raise NotAProjection(self.path, f"it holds the tables {', '.join(sorted(found)[:5])}")
        if stored != self.projection.version:
            raise NotAProjection(self.path, f"version {stored}, and this one is {self.projection.version}")
        if "held" not in found:
            create(Database(self._db), "held", HELD)

    def _take_in(
        self, commits: Sequence[Commit], created: str, fold: Callable[[Iterable[_Told]], list[Skipped]]
    ) -> list[Skipped]:
        with self._transaction():
            position = self._read_position()
            skipped: list[Skipped] = []
            new = commits
            if commits and commits[0].sequence <= position.sequence:
                new = [commit for commit in commits if commit.sequence > position.sequence]
            if new:
                skipped = fold(
                    [
                        (commit, place, event)
                        for commit in new
                        if commit.boundary.kind in self._kinds
                        for place, event in enumerate(commit.events)
                    ]
                )
                last = new[-1]
                event = last.events[0].id if last.events else ""
                expires = last.boundary.kind in EXPIRING
                unreadable = position.unreadable + len(skipped)
                position = Position(created, last.sequence, event, expires, unreadable)
                self._db.execute(_MOVE, position)
                if skipped and self.holds:
                    held = [
                        (str(each.address), each.address.sequence, str(each.boundary), each.type, each.reason)
                        for each in skipped
                    ]
                    self._db.executemany(_HOLD, held)
        self.position = position
        return skipped

    def _fold(self, told: Iterable[_Told]) -> list[Skipped]:
        """Make the changes of all events, those of one row at once."""
        gathered = Gathered(self._db.executemany, self.projection.integers)
        caused: dict[type[Payload], _Changes] = {}
        skipped: list[Skipped] = []
        for commit, place, event in told:
            data = event.data
            cause = type(data)
            changes = caused.get(cause)
            if changes is None:
                changes = caused[cause] = self._changes(cause, gathered)
            for take, values, many in changes:
                if many:
                    take(values(commit, event, data, place))
                else:
                    take(values(commit, event, data))
            if isinstance(data, Unreadable):
                address = Address(commit.sequence, place)
                skipped.append(Skipped(address, commit.boundary, data.reason, event.type))
        gathered.write()
        return skipped

    def _changes(self, cause: type[Payload], gathered: Gathered) -> _Changes:
        """Return what takes each change in that a type of event causes, and what makes its parameters."""
        return [
            (gathered.taker_of_many(statement) if many else gathered.taker(statement), values, many)
            for _, statement, values, many in self.projection.changes.get(cause, ())
        ]

    def _fold_one_by_one(self, told: Iterable[_Told]) -> list[Skipped]:
        """Make the changes of each event, or none of them where its values do not go into the tables."""
        skipped: list[Skipped] = []
        for each in told:
            commit, place, event = each
            self._db.execute("SAVEPOINT event")
            try:
                skipped += self._fold([each])
            except _UNFIT as error:
                self._db.execute("ROLLBACK TO event")
                address = Address(commit.sequence, place)
                skipped.append(Skipped(address, commit.boundary, str(error), event.type))
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
