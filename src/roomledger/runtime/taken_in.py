"""What a writer has taken in: the state of its boundary, and up to where of the log it stands for.

The state takes in the boundary's events, and perhaps those of others, such as a room's tokens.  What the
writer writes itself is taken in when it is decided; what others write is read.  The two are kept apart: a
commit of its own may stand behind one of another's that was not read yet.
"""

import math
from collections.abc import Iterable, Sequence
from time import monotonic
from typing import Any, Generic, TypeVar

from roomledger.domain.decider import Decider
from roomledger.event_store.store import EventStore
from roomledger.runtime.earlier import Earlier
from roomledger_events.envelope import Commit, Event
from roomledger_events.subjects import Boundary

State = TypeVar("State")


class TakenIn(Generic[State]):
    """A state and its place in the log.

    Args:
        store: The log.
        boundary: What its writer writes.
        decider: The rules.
        source: What the writer's own events have as their source.
        also: Further boundaries that the state takes in.

    Attributes:
        state: What the events have led to, those included that are not in the log yet.
        expected: The last sequence of the boundary in it.
        basis: The last sequence of the log in it.
        earlier: The commands that have been carried out up to there.
    """

    def __init__(
        self,
        store: EventStore,
        boundary: Boundary,
        decider: Decider[State, Any],
        *,
        source: str,
        also: Sequence[Boundary],
    ) -> None:
        self.state = decider.initial()
        self.expected = 0
        self.basis = 0
        self.earlier = Earlier()
        self._store = store
        self._boundary = boundary
        self._decider = decider
        self._source = source
        self._read_from = (boundary, *also)
        self._confirmed = -math.inf
        self._read_to = 0
        self._last_beside = 0
        self._outside = 0
        self._outside_beside = 0

    @property
    def unconfirmed_s(self) -> float:
        """For how long the log has not shown that nobody else wrote to the boundary."""
        return monotonic() - self._confirmed

    @property
    def is_behind(self) -> bool:
        """Whether there is something in the log that has not been read."""
        return self._outside > self.expected or self._outside_beside > self._read_to

    def adopt(self, state: State, *, expected: int, basis: int, earlier: Earlier | None) -> None:
        """Begin with a state that somebody folded; it belongs to this from now on."""
        self.state, self.expected, self.basis = state, expected, basis
        self.earlier = earlier or Earlier()
        self._read_to, self._last_beside = basis, 0

    def notice(self, boundary: Boundary, sequence: int) -> None:
        """Take note that a commit is in the log."""
        if boundary == self._boundary:
            self._outside = max(self._outside, sequence)
        else:
            self._outside_beside = max(self._outside_beside, sequence)

    def evolve(self, events: Iterable[Event]) -> None:
        """Take in what was decided here."""
        evolve = self._decider.evolve
        for event in events:
            self.state = evolve(self.state, event)

    def wrote(self, boundary: Boundary, sequence: int) -> None:
        """Take note of the sequence that a commit of what was decided here has in the log."""
        self.basis = sequence
        if boundary == self._boundary:
            self.expected = sequence
        else:
            self._last_beside = sequence

    def confirm(self, at: float) -> None:
        """Take note that at this time, by the monotonic clock, the log showed that nobody else wrote."""
        self._confirmed = at

    async def read(self) -> None:
        """Fold the state from the log, from its beginning.

        Raises:
            LogUnavailable: The log could not be read.
        """
        self.adopt(self._decider.initial(), expected=0, basis=0, earlier=None)
        await self.read_on()

    async def read_on(self) -> None:
        """Take in what others wrote, to the log's present end; not while something is under way.

        Raises:
            LogUnavailable: The log could not be read.
        """
        began = monotonic()
        head = await self._store.position()
        # Not from the basis on: a commit of our own may stand behind one of another's that was not read yet.
        async for commit in self._store.read(self._read_from, start=self._read_to + 1, until=head.sequence):
            self.earlier.note(commit)
            if self._has(commit):
                continue
            self.evolve(commit.events)
            if commit.boundary == self._boundary:
                self.expected = commit.sequence
        self._read_to = head.sequence
        self.basis = max(self.basis, head.sequence)
        self.confirm(began)

    async def commit(self, sequence: int) -> Commit | None:
        """Return the commit that has a sequence, if the state takes such ones in.

        Raises:
            LogUnavailable: The log could not be read.
        """
        async for commit in self._store.read(self._read_from, start=sequence, until=sequence):
            return commit
        return None

    def _has(self, commit: Commit) -> bool:
        """Whether it was written here, or read already."""
        if commit.boundary == self._boundary:
            return commit.sequence <= self.expected
        mine = bool(commit.events) and commit.events[0].source == self._source
        return mine and commit.sequence <= self._last_beside
