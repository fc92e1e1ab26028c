"""What every manager does while it is not the active one: it follows the log, ready to take over."""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from roomledger.domain.decider import Decider
from roomledger.domain.scheduler_state import SchedulerState
from roomledger.event_store.store import EventStore
from roomledger.runtime.earlier import Earlier
from roomledger.runtime.ending import end
from roomledger_events.envelope import Commit
from roomledger_events.subjects import ANY, Boundary, Kind

_SCHEDULER: Final = Kind.SCHEDULER  # to look it up in its class takes ten times as long
READS: Final = (Boundary(_SCHEDULER, ANY), Boundary(Kind.LOAD, ANY))


@dataclass(slots=True)
class Followed:
    """The state of one purpose.

    Attributes:
        state: What the log has led to.
        sequence: The last sequence of the purpose's boundary in it.
        basis: Up to where of the log nothing of the purpose is to be taken in any more.
        earlier: The commands that were carried out.
    """

    state: SchedulerState
    sequence: int = 0
    basis: int = 0
    earlier: Earlier = field(default_factory=Earlier)


class Following:
    """Folds the states of all purposes.

    Args:
        store: The log.
        decider: Returns the rules of a purpose.

    Attributes:
        purposes: The states, by purpose.
        sequence: The last sequence of the log in them.
        events: How many events they have taken in since they were begun with.
    """

    def __init__(self, store: EventStore, decider: Callable[[str], Decider[SchedulerState, Any]]) -> None:
        self.purposes: dict[str, Followed] = {}
        self.sequence = 0
        self.events = 0
        self._store = store
        self._decider = decider
        self._task: asyncio.Task[None] | None = None

    def start(self) -> "asyncio.Task[None]":
        """Follow in the background, from where it stopped; the task ends only by a failure."""
        self._task = asyncio.create_task(self._follow(), name="following the log")
        return self._task

    async def stop(self) -> None:
        """Follow no more.

        Raises:
            LogReplaced: The log that was followed was replaced.
        """
        task, self._task = self._task, None
        if task is not None:
            await end(task)
            if not task.cancelled():
                task.result()

    async def catch_up(self) -> None:
        """Read to the log's present end; not while it follows in the background.

        Raises:
            LogUnavailable: The log could not be read.
        """
        head = await self._store.position()
        stretches = self._store.stretches(READS, start=self.sequence + 1, until=head.sequence)
        async with contextlib.aclosing(stretches):
            async for commits in stretches:
                self._take_in(commits)
        self.sequence = max(self.sequence, head.sequence)

    def begin(self, purposes: dict[str, Followed], sequence: int) -> None:
        """Begin with states that were folded before, up to a sequence; with none at the log's beginning."""
        self.purposes, self.sequence, self.events = purposes, sequence, 0

    async def _follow(self) -> None:
        async with contextlib.aclosing(self._store.follow(READS, start=self.sequence + 1)) as commits:
            async for commit in commits:
                self._take_in([commit])

    def _take_in(self, commits: list[Commit]) -> None:
        purposes = self.purposes
        for commit in commits:
            (kind, name), sequence, events = commit.boundary, commit.sequence, commit.events
            decider, followed = self._decider(name), purposes.get(name)
            if followed is None:
                followed = purposes[name] = Followed(decider.initial())
            self.sequence = sequence
            if sequence <= followed.basis:
                continue
            self.events += len(events)
            followed.earlier.note(commit)
            state, evolve = followed.state, decider.evolve
            for event in events:
                state = evolve(state, event)
            followed.state = state
            if kind is _SCHEDULER:
                followed.sequence = sequence
