"""What can go wrong with the log.

EventStoreError
├── NotConnected        no server could be reached at the first attempt, or it did not let us in
├── NotPermitted        the server does not let this user do what is to be done
├── Conflict            somebody else appended to the boundary first
├── LogUnavailable      no answer in time; a commit that was under way may or may not be in the log
├── LogFull             the log has reached its size limit; nothing was stored
├── LogMismatch         the log's configuration differs in what matters
├── LogReplaced         the log is not the one that was known: another one, or one that went back
├── ServerTooOld        the server cannot keep such a log
└── ExportUnusable      a file that was to be read as an exported log
    ├── NotAnExport         it is something else
    ├── ExportTooNew        a newer version has written it
    └── ExportDamaged       something of it is missing, or was changed
"""

import re
from pathlib import Path
from typing import Final

from roomledger_events.subjects import Boundary

_credentials: Final = re.compile(r"//[^/,@]*@")


class EventStoreError(Exception):
    """What all errors of the log have in common."""


class NotConnected(EventStoreError):
    """No server could be reached at the first attempt, or it did not let us in.

    Attributes:
        url: Where the server was looked for, without credentials.
        reason: What went wrong.
    """

    def __init__(self, url: str, reason: str) -> None:
        self.url = _credentials.sub("//", url)
        self.reason = reason
        super().__init__(self.url, reason)

    def __str__(self) -> str:
        return f"no connection to nats-server at {self.url}: {self.reason}"


class NotPermitted(EventStoreError):
    """The server does not let this user do what is to be done.

    Attributes:
        user: Who that is; None where nobody was named.
        subject: What may not be published to, where the server said it.
    """

    def __init__(self, user: str | None, subject: str | None = None) -> None:
        self.user = user
        self.subject = subject
        super().__init__(user, subject)

    def __str__(self) -> str:
        who = "whoever names no user" if self.user is None else f"the user {self.user}"
        what = "write to the log" if self.subject is None else f"publish to {self.subject}"
        return f"nats-server does not let {who} {what}: connect as one who may, as service in nats.conf"


class Conflict(EventStoreError):
    """Somebody else appended to the boundary first; nothing was stored.

    Attributes:
        boundary: Whose expectation failed.
        expected: The last sequence that the caller thought it had.
    """

    def __init__(self, boundary: Boundary, expected: int) -> None:
        self.boundary = boundary
        self.expected = expected
        super().__init__(boundary, expected)

    def __str__(self) -> str:
        return f"{self.boundary} has moved on since sequence {self.expected}"


class LogUnavailable(EventStoreError):
    """The log did not answer in time.

    Attributes:
        what: What was tried.
        unknown_outcome: Whether a commit was under way that may or may not have been stored.
    """

    def __init__(self, what: str, *, unknown_outcome: bool = False) -> None:
        self.what = what
        self.unknown_outcome = unknown_outcome
        super().__init__(what, unknown_outcome)

    def __str__(self) -> str:
        fate = "; whether it was stored is not known" if self.unknown_outcome else ""
        return f"the log did not answer: {self.what}{fate}"


class LogFull(EventStoreError):
    """The log has reached its size limit.

    Attributes:
        reason: What the server said.
    """

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)

    def __str__(self) -> str:
        return f"the log is full ({self.reason}): raise its max_bytes, then everything goes on by itself"


class LogMismatch(EventStoreError):
    """The log's configuration differs from what this version needs.

    Attributes:
        log: The log's name.
        differences: One sentence for each difference.
    """

    def __init__(self, log: str, differences: list[str]) -> None:
        self.log = log
        self.differences = differences
        super().__init__(log, differences)

    def __str__(self) -> str:
        return f"the log {self.log} is not kept as it has to be: {'; '.join(self.differences)}"


class LogReplaced(EventStoreError):
    """The log is not the one that a position was taken in.

    Attributes:
        reason: How that shows.
    """

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)

    def __str__(self) -> str:
        return f"this is not the log that was known: {self.reason}"


class ServerTooOld(EventStoreError):
    """The server's version is below the one that is needed.

    Attributes:
        version: The server's.
        needed: The oldest that will do.
    """

    def __init__(self, version: str, needed: str) -> None:
        self.version = version
        self.needed = needed
        super().__init__(version, needed)

    def __str__(self) -> str:
        return f"nats-server {self.version} is too old: {self.needed} or newer is needed"


class ExportUnusable(EventStoreError):
    """What all errors of an exported log have in common.

    Attributes:
        path: The file.
        reason: How it shows.
    """

    def __init__(self, path: Path, reason: str) -> None:
        self.path = path
        self.reason = reason
        super().__init__(path, reason)


class NotAnExport(ExportUnusable):
    """The file is something else."""

    def __str__(self) -> str:
        return f"{self.path} is no exported log: {self.reason}"


class ExportTooNew(ExportUnusable):
    """A newer version has written the file.

    Attributes:
        version: The file's format.
        known: The newest that this version reads.
        program: The version of roomledger that wrote it.
    """

    def __init__(self, path: Path, version: int, known: int, program: str) -> None:
        self.version = version
        self.known = known
        self.program = program
        super().__init__(path, f"format {version}, and this version reads {known}")

    def __str__(self) -> str:
        return (
            f"{self.path} was written by a newer roomledger ({self.program[:40]}, {self.reason}): "
            "read it with that one"
        )


class ExportDamaged(ExportUnusable):
    """Something of the file is missing, or was changed."""

    def __str__(self) -> str:
        return f"{self.path} is damaged: {self.reason}; export it again"
