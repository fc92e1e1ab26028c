"""Copies of a part of the log: as JSON lines, to be read like the log, or as SQLite, to be looked at."""

import asyncio
import errno
import gzip
import os
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import aclosing, contextmanager
from datetime import datetime
from pathlib import Path
from typing import IO, NamedTuple, Protocol, cast

from roomledger import __version__
from roomledger.event_store.export_format import FORMAT, ExportWriter, Header
from roomledger.event_store.store import Filter, StoredLog
from roomledger.runtime.errors import FileInTheWay
from roomledger.runtime.export_tables import ExportTables
from roomledger.runtime.moments import span
from roomledger.runtime.progress import Progress
from roomledger.runtime.pseudonyms import Pseudonyms
from roomledger_events.envelope import Commit, Unreadable
from roomledger_events.subjects import ANY, Boundary, Kind

SQLITE_SUFFIXES = frozenset({".db", ".sqlite", ".sqlite3"})
"""A file of such a name becomes a SQLite database."""


BATCH = 2048
"""So many commits are written at once."""

_Stored = tuple[Commit, bytes]


class Wanted(NamedTuple):
    """What is to be exported.

    Attributes:
        start: The first moment; None for the log's beginning.
        end: The last one; None for where the log stands.
        rooms: Only what happened in these rooms, with all that workers, tasks and nodes did; empty for all.
        pseudonyms: What replaces personal data; None to leave it as it is.
    """

    start: int | datetime | None = None
    end: int | datetime | None = None
    rooms: Sequence[str] = ()
    pseudonyms: Pseudonyms | None = None

    @property
    def boundaries(self) -> Filter:
        """What has to be read for it."""
        if not self.rooms:
            return []
        of_rooms = [
            Boundary(kind, room) for room in self.rooms for kind in (Kind.ROOM, Kind.TEXT, Kind.TOKEN)
        ]
        return [*of_rooms, *(Boundary(kind, ANY) for kind in (Kind.SCHEDULER, Kind.LOAD, Kind.NODES))]


class Exported(NamedTuple):
    """What was exported.

    Attributes:
        header: What the file says that it holds.
        commits: How many commits.
        events: How many events.
        unreadable: How many of them this version cannot read; they are in the file as they are in the log.
        left_out: How many of these are not, because nobody can tell what in them is personal.
    """

    header: Header
    commits: int
    events: int
    unreadable: int
    left_out: int


class _Writer(Protocol):
    commits: int
    events: int

    def add(self, commit: Commit, body: bytes) -> None: ...
    def end(self) -> None: ...


async def export(
    log: StoredLog,
    path: Path,
    wanted: Wanted,
    *,
    replace: bool = False,
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> Exported:
    """Write a part of the log to a file. The file is there when it is complete, and not before.

    Args:
        log: The log.
        path: The file; its suffix tells whether it becomes SQLite, and whether it is compressed.
        wanted: What of the log.
        replace: Whether a file that is there may be replaced.
        on_progress: Told after each batch.

    Raises:
        FileInTheWay: There is one already.
        NoSuchMoment: The span lies beside the log.
        EventStoreError: The log cannot be read.
        OSError: The file cannot be written.
    """
    head, first, last = await span(log, wanted.start, wanted.end)
    header = Header(
        roomledger_export=FORMAT,
        program=__version__,
        log=log.name,
        created=head.created,
        head=head.sequence,
        first=first,
        last=last,
        rooms=tuple(wanted.rooms),
        pseudonyms=wanted.pseudonyms is not None,
    )
    unreadable = 0
    with _replacing(path, replace=replace) as beside, _writer(beside, path, header) as writer:
        async with aclosing(log.stored(wanted.boundaries, start=first, until=last)) as commits:
            async for batch in _batches(commits):
                await asyncio.to_thread(_add, writer, batch, wanted.pseudonyms)
                unreadable += sum(
                    isinstance(event.data, Unreadable) for commit, _ in batch for event in commit.events
                )
                on_progress(Progress(batch[-1][0].sequence, last, writer.events))
        await asyncio.to_thread(writer.end)
    left_out = 0 if wanted.pseudonyms is None else wanted.pseudonyms.left_out
    return Exported(header, writer.commits, writer.events, unreadable, left_out)


async def _batches(commits: AsyncIterator[_Stored]) -> AsyncIterator[list[_Stored]]:
    batch: list[_Stored] = []
    async for stored in commits:
        batch.append(stored)
        if len(batch) >= BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _add(writer: _Writer, batch: Sequence[_Stored], pseudonyms: Pseudonyms | None) -> None:
    for commit, body in batch:
        writer.add(commit, body if pseudonyms is None else pseudonyms.body(commit))


@contextmanager
def _writer(beside: Path, path: Path, header: Header) -> Iterator[_Writer]:
    if path.suffix in SQLITE_SUFFIXES:
        tables = ExportTables(beside, header)
        try:
            yield tables
        finally:
            tables.close()
        return
    opened = gzip.open(beside, "wb") if path.suffix == ".gz" else beside.open("wb")  # noqa: SIM115  - closed below
    with opened as file:
        yield ExportWriter(cast("IO[bytes]", file), header)


@contextmanager
def _replacing(path: Path, *, replace: bool) -> Iterator[Path]:
    """Yield a file beside another one, whose place it takes when the block has succeeded.

    Raises:
        FileInTheWay: The other one is there, and is not to be replaced.
        FileNotFoundError: There is no directory for it.
    """
    if not path.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, "there is no such directory", str(path.parent))
    if not replace and path.exists():
        raise FileInTheWay(path)
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield beside
        if replace:
            beside.replace(path)
        else:
            try:
                path.hardlink_to(beside)
            except FileExistsError:
                raise FileInTheWay(path) from None
    finally:
        beside.unlink(missing_ok=True)
