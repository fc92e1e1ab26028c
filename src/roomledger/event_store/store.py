"""What an event store is: four verbs over one log, and the bookmark of those who keep a position in it."""

from collections.abc import AsyncGenerator, Sequence
from typing import NamedTuple, Protocol

from roomledger.event_store.errors import LogReplaced
from roomledger_events.envelope import Commit, Event
from roomledger_events.identifiers import check_id
from roomledger_events.subjects import ANY, EXPIRING, GUARDED, Boundary

Filter = Sequence[Boundary]
"""Boundaries, or patterns of them (name ``*``), that are read together in log order; empty means all."""


class Head(NamedTuple):
    """Where the log stands.

    Attributes:
        created: When the log was created, RFC 3339; tells one log from another of the same name.
        sequence: The last sequence in it, 0 when it is empty.
    """

    created: str
    sequence: int


class Bookmark(NamedTuple):
    """A position in one particular log, for those who keep it beyond their process.

    Attributes:
        created: When the log was created.
        sequence: The last sequence taken in, 0 for none.
        event: The id of the first event at that sequence.
        expires: Whether that commit may have expired since.
    """

    created: str
    sequence: int = 0
    event: str = ""
    expires: bool = False

    @classmethod
    def at(cls, head: Head, commit: Commit | None) -> "Bookmark":
        """Return the bookmark of one who has taken in everything up to and with this commit."""
        if commit is None:
            return cls(head.created)
        return cls(head.created, commit.sequence, _first_id(commit), commit.boundary.kind in EXPIRING)


class ReadableLog(Protocol):
    """One log of commits in one order, for those who only read it."""

    def read(self, only: Filter = (), *, start: int = 1, until: int | None = None) -> AsyncGenerator[Commit]:
        """Yield the commits that are there, in order, each once, up to and with `until` or the present end.

        Raises:
            LogUnavailable: The log could not be reached, for longer than the store's time limit.
            LogReplaced: The log was replaced or went back since the store was opened or while it was read.
        """
        ...

    def stretches(
        self, only: Filter = (), *, start: int = 1, until: int | None = None
    ) -> AsyncGenerator[list[Commit]]:
        """Yield the same commits as `read` does, as many at a time as came together; never none.

        For those who take in a long log: it saves them a step for each commit.

        Raises:
            EventStoreError: As `read`.
        """
        ...

    def follow(self, only: Filter = (), *, start: int = 1) -> AsyncGenerator[Commit]:
        """Yield the commits from a sequence on, and those to come, in order, each once, for ever.

        Lost connections are waited out; a slow reader holds nothing up and misses nothing. Whoever stops
        following closes the generator (`contextlib.aclosing`).

        Raises:
            LogReplaced: The log was replaced since the store was opened, ends before `start` - 1, or went
                back while it was followed.
            LogUnavailable: The connection was closed for good.
        """
        ...

    async def position(self) -> Head:
        """Return where the log stands now.

        Raises:
            LogUnavailable: No answer came in time.
            LogReplaced: The log is not there any more.
        """
        ...


class StoredLog(ReadableLog, Protocol):
    """A log that also tells what stands in it byte for byte, for those who copy it."""

    @property
    def name(self) -> str:
        """The log's name."""
        ...

    def stored(
        self, only: Filter = (), *, start: int = 1, until: int | None = None
    ) -> AsyncGenerator[tuple[Commit, bytes]]:
        """Yield the commits as `read` does, each with its body as it stands in the log.

        Raises:
            EventStoreError: As `read`.
        """
        ...


class EventStore(ReadableLog, Protocol):
    """One log of commits, in one order, with an expectation for each boundary."""

    async def append(
        self,
        boundary: Boundary,
        events: Sequence[Event],
        expected: int | None,
        *,
        guard: tuple[Boundary, int] | None = None,
    ) -> int:
        """Store events together as one commit and return its sequence, when it is safe on disk.

        The same events under the same expectation may be appended again at any time, for instance after
        `LogUnavailable`: if they are in the log already, that is a success with the sequence that they have.

        Args:
            boundary: Whose commit it is.
            events: At least one, at most `envelope.MAX_EVENTS`.
            expected: The last sequence of this boundary, 0 for none; None for kinds that need none.
            guard: Another boundary and its last sequence, which must hold for kinds that need no expectation.

        Raises:
            Conflict: The last sequence of the boundary, or of the guard, is another one.
            LogUnavailable: No answer came in time. The same commit may be sent again.
            LogFull: The log has reached its size limit.
            LogMismatch: The log was changed so that it cannot take this commit.
            CommitTooLarge: It would exceed the limits of a commit.
            ValueError: There are no events, or an expectation where none belongs, or none where one does.
        """
        ...


async def check(log: ReadableLog, bookmark: Bookmark) -> Head:
    """Return where the log stands, having made sure that it is the one in which the bookmark was taken.

    Raises:
        LogReplaced: It is another log, or one that went back behind the bookmark or was written anew there.
        LogUnavailable: No answer came in time.
    """
    head = await log.position()
    if head.created != bookmark.created:
        raise LogReplaced(f"it was created at {head.created}, the known one at {bookmark.created}")
    if head.sequence < bookmark.sequence:
        raise LogReplaced(f"it ends at sequence {head.sequence}, before the known {bookmark.sequence}")
    if bookmark.sequence == 0:
        return head
    found: Commit | None = None
    async for commit in log.read(start=bookmark.sequence, until=bookmark.sequence):
        found = commit
    if found is None:
        if not bookmark.expires:
            raise LogReplaced(f"there is nothing at sequence {bookmark.sequence} any more")
    elif _first_id(found) != bookmark.event:
        raise LogReplaced(f"another event than {bookmark.event} stands at sequence {bookmark.sequence}")
    return head


def _first_id(commit: Commit) -> str:
    return commit.events[0].id if commit.events else ""


def check_append(
    boundary: Boundary, events: Sequence[Event], expected: int | None, guard: tuple[Boundary, int] | None
) -> None:
    """Make sure that a commit has what its kind needs; every store does this first.

    Raises:
        ValueError: It has not. The text says what is wrong.
    """
    if not events:
        raise ValueError("a commit holds at least one event")
    if boundary.kind in GUARDED:
        if expected is None:
            raise ValueError(f"{boundary} is appended to with the last sequence that is expected there")
        if guard is not None:
            raise ValueError(f"{boundary} has an expectation of its own and takes no guard")
    elif expected is not None:
        raise ValueError(f"{boundary} is appended to without expectation")
    if guard is not None and guard[0].kind not in GUARDED:
        raise ValueError(f"{guard[0]} has no expectation that could guard {boundary}")


def without_overlaps(only: Filter) -> list[Boundary]:
    """Return a filter without what it names twice, in its order.

    Raises:
        InvalidId: A name in it is neither ``*`` nor an id.
    """
    for boundary in only:
        if boundary.name != ANY:
            check_id(boundary.name)
    whole = {boundary.kind for boundary in only if boundary.name == ANY}
    return list(dict.fromkeys(each for each in only if each.name == ANY or each.kind not in whole))
