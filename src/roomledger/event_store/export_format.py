"""An exported log: a file of JSON lines that says what it holds, and shows when it was cut or changed.

The first line is a `Header`, the last one an `Ending` with the number of commits and events and the SHA-256
of all lines before it. Every line between is one commit, in log order: ``{"sequence", "boundary", "time",
"events"}``, the events byte for byte as they stand in the log. A body that is no JSON, or not on one line,
stands as Base64 in ``body`` instead. The file may be compressed by gzip.
"""

import base64
import hashlib
from datetime import datetime
from functools import lru_cache
from typing import IO, Final

import msgspec

from roomledger_events.envelope import Commit
from roomledger_events.subjects import Boundary, Kind

FORMAT: Final = 1
"""Grows with every change that an older reader would misread."""


_ABSENT: Final = msgspec.Raw()


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """What an exported log holds.

    Attributes:
        roomledger_export: The version of the format.
        program: The version of roomledger that wrote it.
        log: The log's name.
        created: When the log was created; tells one log from another of the same name.
        head: Where the log stood when it was exported.
        first: The first sequence that was asked for.
        last: The last one; the state at it can be rebuilt where the export is whole.
        rooms: Only what concerns these rooms was exported; empty where all was.
        pseudonyms: Whether names and other personal data were replaced.
    """

    roomledger_export: int
    program: str
    log: str
    created: str
    head: int
    first: int
    last: int
    rooms: tuple[str, ...] = ()
    pseudonyms: bool = False

    @property
    def whole(self) -> bool:
        """Whether it begins where the log began, and leaves nothing out up to its last sequence."""
        return self.first == 1 and not self.rooms


class Ending(msgspec.Struct, frozen=True, kw_only=True):
    """The last line of an exported log.

    Attributes:
        commits: How many lines there are between the first and this one.
        events: How many events stand in them.
        sha256: Of all lines before this one, with their line feeds.
    """

    commits: int
    events: int
    sha256: str


class Record(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One commit as a line.

    Attributes:
        sequence: Its sequence in the log.
        boundary: Such as ``room.r1``.
        time: When the log stored it.
        events: Its body as it stands in the log.
        body: Its body in Base64, where that is no JSON on one line.
    """

    sequence: int
    boundary: str
    time: datetime
    events: msgspec.Raw = _ABSENT
    body: str | None = None

    @classmethod
    def of(cls, sequence: int, boundary: Boundary, time: datetime, body: bytes) -> "Record":
        """Return a commit of the log as a line."""
        if b"\n" not in body and b"\r" not in body and _is_json(body):
            return cls(sequence, str(boundary), time, events=msgspec.Raw(body))
        return cls(sequence, str(boundary), time, body=base64.b64encode(body).decode())

    def stored(self) -> bytes:
        """Return the body as it stood in the log.

        Raises:
            ValueError: There is none.
        """
        if self.events:
            return bytes(self.events)
        if self.body is None:
            raise ValueError("the line has neither events nor a body")
        return base64.b64decode(self.body, validate=True)


@lru_cache(64 * 1024)
def boundary_of(text: str) -> Boundary:
    """Read a boundary such as ``room.r1``.

    Raises:
        ValueError: It is none.
    """
    kind, dot, name = text.partition(".")
    if not dot:
        raise ValueError(f"{text[:80]!r} is no boundary")
    return Boundary(Kind(kind), name)


class ExportWriter:
    """Writes an exported log; what has no ending yet is none.

    Args:
        file: Where to write, opened for bytes.
        header: What it is going to hold.

    Attributes:
        commits: How many were written.
        events: How many events stand in them.
    """

    def __init__(self, file: IO[bytes], header: Header) -> None:
        self.commits = 0
        self.events = 0
        self._file = file
        self._sum = hashlib.sha256()
        self._write(header)

    def add(self, commit: Commit, body: bytes) -> None:
        """Write one commit.

        Args:
            commit: The commit as it was read.
            body: Its body as it stands in the log, or as it is to stand in the file.
        """
        self._write(Record.of(commit.sequence, commit.boundary, commit.time, body))
        self.commits += 1
        self.events += len(commit.events)

    def end(self) -> None:
        """Write the last line."""
        self._write(Ending(commits=self.commits, events=self.events, sha256=self._sum.hexdigest()))

    def _write(self, value: Header | Record | Ending) -> None:
        line = _encode(value) + b"\n"
        self._sum.update(line)
        self._file.write(line)


def _is_json(body: bytes) -> bool:
    try:
        _anything.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True


_anything: Final = msgspec.json.Decoder()
_encode: Final = msgspec.json.Encoder().encode
