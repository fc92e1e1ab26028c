"""An exported log to be read like the log that it was taken of."""

import asyncio
import bisect
import gzip
import hashlib
import os
import shutil
import tempfile
import zlib
from array import array
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing
from io import BufferedReader
from pathlib import Path
from typing import IO, Final, Self, TypeVar, cast

import msgspec

from roomledger.event_store.errors import ExportDamaged, ExportTooNew, NotAnExport
from roomledger.event_store.export_format import FORMAT, Ending, Header, Record, boundary_of
from roomledger.event_store.store import Filter, Head, without_overlaps
from roomledger_events.catalogue import decode
from roomledger_events.envelope import MAX_BYTES, Commit
from roomledger_events.subjects import ANY, Boundary

LONGEST_LINE: Final = 8 * MAX_BYTES
"""No line of an export is longer: a commit's body in Base64 and what stands around it."""
TOLD_AFTER: Final = 4096
"""After so many commits whoever opens a file is told how far it was looked at."""

_GZIP: Final = b"\x1f\x8b"
"""What a compressed file begins with (RFC 1952, 2.3.1)."""
_CHUNK: Final = 1024 * 1024
_IN_A_TURN: Final = 64
"""After so many commits others get their turn, as they do while a server is asked."""
_UNFIT: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError)
Line = TypeVar("Line", Header, Ending, Record)


class _Placed(msgspec.Struct, gc=False):
    sequence: int


class _Versioned(msgspec.Struct, gc=False):
    roomledger_export: int
    program: str = "?"


_decode_placed: Final = msgspec.json.Decoder(_Placed).decode
_decode_record: Final = msgspec.json.Decoder(Record).decode


class FileLog:
    """The log that a file holds; made by `open`. Several may read it side by side.

    Attributes:
        path: The file.
        header: What it holds.
        commits: How many.
    """

    def __init__(
        self, path: Path, file: IO[bytes], header: Header, sequences: "array[int]", offsets: "array[int]"
    ) -> None:
        self.path = path
        self.header = header
        self.commits = len(sequences)
        self._file = file
        self._sequences = sequences
        self._offsets = offsets

    @classmethod
    def open(cls, path: Path, on_progress: Callable[[int, int], None] = lambda _, __: None) -> Self:
        """Open an exported log, having made sure that it is whole and as it was written.

        Args:
            path: The file.
            on_progress: Told now and then up to which sequence it was looked at, and which is the last.

        Raises:
            NotAnExport: It is something else.
            ExportTooNew: A newer version has written it.
            ExportDamaged: Something of it is missing, or was changed.
            OSError: It cannot be read.
        """
        file = path.open("rb")
        if file.peek(len(_GZIP))[: len(_GZIP)] == _GZIP:
            file.close()
            file = _unpacked(path)
        try:
            return cls(path, file, *_checked(path, file, on_progress))
        except BaseException:
            file.close()
            raise

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    @property
    def name(self) -> str:
        """The log's name."""
        return self.header.log

    async def read(
        self, only: Filter = (), *, start: int = 1, until: int | None = None
    ) -> AsyncGenerator[Commit]:
        """Yield the commits that are there; see `ReadableLog.read`.

        Raises:
            ExportDamaged: The file was changed since it was opened, or a line is no commit.
        """
        async with aclosing(self.stored(only, start=start, until=until)) as commits:
            async for commit, _ in commits:
                yield commit

    async def stretches(
        self, only: Filter = (), *, start: int = 1, until: int | None = None
    ) -> AsyncGenerator[list[Commit]]:
        """Yield the commits that are there, many at a time; see `ReadableLog.stretches`.

        Raises:
            ExportDamaged: As `read`.
        """
        stretch: list[Commit] = []
        async with aclosing(self.read(only, start=start, until=until)) as commits:
            async for commit in commits:
                stretch.append(commit)
                if len(stretch) == _IN_A_TURN:
                    yield stretch
                    stretch = []
        if stretch:
            yield stretch

    def follow(self, only: Filter = (), *, start: int = 1) -> AsyncGenerator[Commit]:
        """Yield the commits from a sequence on, and end: nothing is added to a file.

        Raises:
            ExportDamaged: As `read`.
        """
        return self.read(only, start=start)

    async def position(self) -> Head:
        """Return where the log stood at the end of the file."""
        return Head(self.header.created, self.header.last)

    async def stored(
        self, only: Filter = (), *, start: int = 1, until: int | None = None
    ) -> AsyncGenerator[tuple[Commit, bytes]]:
        """Yield the commits that are there with their bodies; see `StoredLog.stored`.

        Raises:
            ExportDamaged: As `read`.
        """
        wanted = set(without_overlaps(only))
        end = self.header.last if until is None else until
        for place, line in enumerate(self._lines(bisect.bisect_left(self._sequences, start)), 1):
            try:
                record = _decode_record(line)
                if record.sequence > end:
                    return
                boundary = boundary_of(record.boundary)
                there = not wanted or boundary in wanted or Boundary(boundary.kind, ANY) in wanted
                body = record.stored() if there else b""
                commit = decode(record.sequence, boundary, record.time, body) if there else None
            except _UNFIT as error:
                raise ExportDamaged(self.path, f"a line is no commit: {error}") from error
            if commit is not None:
                yield commit, body
            if place % _IN_A_TURN == 0:
                await asyncio.sleep(0)

    def _lines(self, first: int) -> Iterator[bytes]:
        """Yield the commits' lines from one of them on, whoever else reads meanwhile."""
        offset, end = self._offsets[first], self._offsets[-1]
        rest = b""
        while offset < end:
            chunk = os.pread(self._file.fileno(), min(_CHUNK, end - offset), offset)
            if not chunk:
                raise ExportDamaged(self.path, "it has become shorter since it was opened")
            offset += len(chunk)
            *lines, rest = (rest + chunk).split(b"\n")
            yield from lines


def _unpacked(path: Path) -> BufferedReader:
    file = cast("BufferedReader", tempfile.TemporaryFile(prefix="roomledger-log-"))  # noqa: SIM115  - kept open
    try:
        with gzip.open(path) as packed:
            shutil.copyfileobj(packed, file, _CHUNK)
    except EOFError as error:
        file.close()
        raise ExportDamaged(path, "its end is missing") from error
    except (gzip.BadGzipFile, zlib.error) as error:
        file.close()
        raise ExportDamaged(path, f"it cannot be unpacked: {error}") from error
    except BaseException:
        file.close()
        raise
    file.seek(0)
    return file


def _checked(
    path: Path, file: IO[bytes], on_progress: Callable[[int, int], None]
) -> tuple[Header, "array[int]", "array[int]"]:
    """Read a whole file and return its header, and the sequences and offsets of its commits.

    The last offset is that of the ending.
    """
    line = file.readline(LONGEST_LINE)
    header = _header(path, line)
    total = hashlib.sha256()
    sequences, offsets = array("q"), array("q")
    at = 0
    last = header.first - 1
    while True:
        total.update(line)
        at += len(line)
        line = file.readline(LONGEST_LINE)
        if not line.endswith(b"\n"):
            raise ExportDamaged(path, f"its end is missing: it stops after sequence {last}")
        offsets.append(at)
        try:
            sequence = _decode_placed(line).sequence
        except _UNFIT:
            break
        if not last < sequence <= header.last:
            raise ExportDamaged(path, f"sequence {sequence} follows {last}, up to {header.last} was exported")
        sequences.append(sequence)
        last = sequence
        if len(sequences) % TOLD_AFTER == 0:
            on_progress(last, header.last)
    ending = _line(
        path, line, Ending, f"after sequence {last} stands something that is neither commit nor end"
    )
    if file.read(1):
        raise ExportDamaged(path, "something follows its end")
    if ending.commits != len(sequences):
        raise ExportDamaged(path, f"{ending.commits} commits were written, and {len(sequences)} are there")
    if ending.sha256 != total.hexdigest():
        raise ExportDamaged(path, "it is not as it was written: its checksum is another one")
    return header, sequences, offsets


def _header(path: Path, line: bytes) -> Header:
    try:
        versioned = msgspec.json.decode(line, type=_Versioned)
    except _UNFIT:
        raise NotAnExport(path, "its first line is not that of an exported log") from None
    if versioned.roomledger_export > FORMAT:
        raise ExportTooNew(path, versioned.roomledger_export, FORMAT, versioned.program)
    return _line(path, line, Header, "its first line is not as it was written")


def _line(path: Path, line: bytes, kind: type[Line], otherwise: str) -> Line:
    try:
        return msgspec.json.decode(line, type=kind)
    except _UNFIT:
        raise ExportDamaged(path, otherwise) from None
