"""The event store in memory: the same contract, and what can befall a log, for tests of what lies above."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from datetime import UTC, datetime
from typing import NamedTuple

from roomledger.event_store.errors import Conflict, LogFull, LogReplaced, LogUnavailable
from roomledger.event_store.store import Bookmark, Filter, Head, check, check_append, without_overlaps
from roomledger_events.catalogue import decode
from roomledger_events.envelope import Commit, Event, encode
from roomledger_events.identifiers import check_id
from roomledger_events.subjects import ANY, Boundary, Kind


class _Message(NamedTuple):
    boundary: Boundary
    time: datetime
    body: bytes


class MemoryStore:
    """The four verbs on a log that is gone with its process.

    What it holds are the same bytes that JetStream would hold. Nothing expires by itself.

    Args:
        max_bytes: How large it may grow.
        clock: Tells when a commit is stored.

    Attributes:
        available: Set it to False to make the log unreachable, and to True to bring it back.
    """

    def __init__(
        self, *, max_bytes: int = 1024**3, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._max_bytes = max_bytes
        self._clock = clock
        self._replacements = 0
        self._known = self.created
        self._messages: dict[int, _Message] = {}
        self._sequence = 0
        self._last: dict[Boundary, int] = {}
        self._appended: dict[tuple[str, ...], tuple[int, int | None]] = {}
        self._bytes = 0
        self._waiting: set[asyncio.Event] = set()
        self._available = True

    @property
    def created(self) -> str:
        """When the log was created; it is another one after `replace`."""
        return f"1970-01-01T00:00:{self._replacements:02}Z"

    @property
    def available(self) -> bool:
        """Whether the log can be reached."""
        return self._available

    @available.setter
    def available(self, value: bool) -> None:
        self._available = value
        self._wake()

    # -- The four verbs

    async def append(
        self,
        boundary: Boundary,
        events: Sequence[Event],
        expected: int | None,
        *,
        guard: tuple[Boundary, int] | None = None,
    ) -> int:
        """Store events together as one commit; see `EventStore.append`."""
        check_append(boundary, events, expected, guard)
        check_id(boundary.name)
        body = encode(events)
        await asyncio.sleep(0)  # others get their turn, as they do while a server is asked
        self._must_be_available(f"appending to {boundary}")
        ids = tuple(event.id for event in events)
        sequence, under = self._appended.get(ids, (0, None))
        if sequence and under == expected and boundary.kind is not Kind.LOAD:
            return sequence
        where, wanted = (boundary, expected) if guard is None else guard
        if wanted is not None and self._last.get(where, 0) != wanted:
            raise Conflict(where, wanted)
        if self._bytes + len(body) > self._max_bytes:
            raise LogFull("maximum bytes exceeded")
        sequence = self.put(boundary, body)
        self._appended[ids] = sequence, expected
        return sequence

    async def read(
        self, only: Filter = (), *, start: int = 1, until: int | None = None
    ) -> AsyncGenerator[Commit]:
        """Yield the commits that are there; see `EventStore.read`."""
        wanted = without_overlaps(only)
        self._must_be_available("reading")
        self._must_be_the_known_one()
        end = self._sequence if until is None else min(until, self._sequence)
        for sequence in range(max(start, 1), end + 1):
            commit = self._commit(sequence, wanted)
            if commit is not None:
                yield commit

    async def stretches(
        self, only: Filter = (), *, start: int = 1, until: int | None = None
    ) -> AsyncGenerator[list[Commit]]:
        """Yield the commits that are there, one at a time; see `EventStore.stretches`."""
        async with aclosing(self.read(only, start=start, until=until)) as commits:
            async for commit in commits:
                yield [commit]

    async def follow(self, only: Filter = (), *, start: int = 1) -> AsyncGenerator[Commit]:
        """Yield the commits from a sequence on and those to come; see `EventStore.follow`."""
        wanted = without_overlaps(only)
        next_one = max(start, 1)
        if self._sequence < next_one - 1:
            raise LogReplaced(f"it ends at sequence {self._sequence}, before the known {next_one - 1}")
        changed = asyncio.Event()
        self._waiting.add(changed)
        taken: Commit | None = None
        try:
            while True:
                changed.clear()
                if self._available:
                    self._must_be_the_known_one()
                    await check(self, Bookmark.at(Head(self._known, 0), taken))
                    while next_one <= self._sequence and self._available:
                        commit = self._commit(next_one, wanted)
                        next_one += 1
                        if commit is not None:
                            taken = commit
                            yield commit
                await changed.wait()
        finally:
            self._waiting.discard(changed)

    async def position(self) -> Head:
        """Return where the log stands now; see `EventStore.position`."""
        self._must_be_available("asking where it stands")
        return Head(self.created, self._sequence)

    # -- What can befall a log

    def put(self, boundary: Boundary, body: bytes) -> int:
        """Store whatever it is, as somebody with another program could, and return its sequence."""
        self._sequence += 1
        self._messages[self._sequence] = _Message(boundary, self._clock(), body)
        self._last[boundary] = self._sequence
        self._bytes += len(body)
        self._wake()
        return self._sequence

    def expire(self, sequence: int) -> None:
        """Let a commit expire, as those of load reports and text messages do."""
        message = self._messages.pop(sequence)
        self._bytes -= len(message.body)
        left = [other for other, each in self._messages.items() if each.boundary == message.boundary]
        self._last[message.boundary] = max(left, default=0)

    def go_back(self, sequence: int) -> None:
        """Lose everything after a sequence, as an old backup that was put back would."""
        for lost in range(sequence + 1, self._sequence + 1):
            if lost in self._messages:
                self.expire(lost)
        self._sequence = sequence
        self._appended = {ids: at for ids, at in self._appended.items() if at[0] <= sequence}
        self._wake()

    def replace(self) -> None:
        """Become another log of the same name, with nothing in it."""
        self.go_back(0)
        self._replacements += 1
        self._wake()

    def reopen(self) -> None:
        """Take the log as it is now for the known one, as a store that is opened does."""
        self._known = self.created

    def _commit(self, sequence: int, wanted: Filter) -> Commit | None:
        message = self._messages.get(sequence)
        if message is None:
            return None
        boundary = message.boundary
        if wanted and boundary not in wanted and Boundary(boundary.kind, ANY) not in wanted:
            return None
        return decode(sequence, boundary, message.time, message.body)

    def _must_be_the_known_one(self) -> None:
        if self.created != self._known:
            raise LogReplaced(f"it was created at {self.created}, the known one at {self._known}")

    def _must_be_available(self, what: str) -> None:
        if not self._available:
            raise LogUnavailable(what)

    def _wake(self) -> None:
        for changed in self._waiting:
            changed.set()
