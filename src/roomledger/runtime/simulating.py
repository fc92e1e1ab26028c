"""Simulating a span of the log: each purpose's recorded requests decided again, with other settings."""

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from datetime import datetime

import msgspec

from roomledger.domain.purpose import PurposeSettings
from roomledger.domain.simulation import Changes, Result, Simulation
from roomledger.event_store.store import ReadableLog
from roomledger.runtime.arrivals import batches
from roomledger.runtime.moments import span
from roomledger.runtime.progress import Progress
from roomledger_events.envelope import Commit
from roomledger_events.subjects import ANY, Boundary, Kind
from roomledger_events.workers import WorkerJoined

READS = (Boundary(Kind.SCHEDULER, ANY), Boundary(Kind.LOAD, ANY))


class Simulated(msgspec.Struct, frozen=True, kw_only=True):
    """What would have been.

    Attributes:
        first: The first sequence of the span.
        last: Its last one.
        purposes: Each purpose that anything was requested of.
        workers: All workers that there were, with something to do or without.
    """

    first: int
    last: int
    purposes: tuple[Result, ...]
    workers: tuple[str, ...]

    @property
    def moved(self) -> int:
        """How many requests went elsewhere."""
        return sum(result.moved for result in self.purposes)


class _Worlds:
    """The simulations of all purposes, which part at one sequence."""

    def __init__(
        self, settings: Callable[[str], PurposeSettings], changes: Callable[[str], Changes], first: int
    ) -> None:
        self._settings = settings
        self._changes = changes
        self._first = first
        self._parted = False
        self.events = 0
        self.simulations: dict[str, Simulation] = {}
        self.workers: set[str] = set()

    def take_in(self, batch: list[Commit]) -> None:
        """Take commits in."""
        for commit in batch:
            if not self._parted and commit.sequence >= self._first:
                self._parted = True
                for simulation in self.simulations.values():
                    simulation.part(commit.time)
            name = commit.boundary.name
            simulation = self.simulations.get(name) or self._begin(name, commit)
            simulation.take_in(commit)
            self.events += len(commit.events)
            self.workers |= {
                each.data.worker for each in commit.events if isinstance(each.data, WorkerJoined)
            }

    def _begin(self, name: str, commit: Commit) -> Simulation:
        simulation = self.simulations[name] = Simulation(self._settings(name), self._changes(name))
        if self._parted:
            simulation.part(commit.time)
        return simulation


async def simulated(
    log: ReadableLog,
    settings: Callable[[str], PurposeSettings],
    changes: Callable[[str], Changes],
    *,
    start: int | datetime | None = None,
    end: int | datetime | None = None,
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> Simulated:
    """Decide the recorded requests of a span again.

    Args:
        log: The log, from its beginning.
        settings: Returns what counted for a purpose where the log does not say it.
        changes: Returns how a purpose is to differ from the start of the span on.
        start: The first moment of the span; None for the log's beginning.
        end: Its last moment; None for where the log stands.
        on_progress: Told after each batch.

    Raises:
        NoSuchMoment: One of the moments lies beside the log.
        UnknownStrategy: A change names a strategy that does not exist.
        ValueError: A figure of a change is out of its range.
        EventStoreError: The log could not be read.
    """
    _, first, last = await span(log, start, end)
    worlds = _Worlds(settings, changes, first)
    async with aclosing(batches(log.read(READS, until=last))) as arrived:
        async for batch in arrived:
            await asyncio.to_thread(worlds.take_in, batch)
            on_progress(Progress(batch[-1].sequence, last, worlds.events))
    results = [simulation.result() for _, simulation in sorted(worlds.simulations.items())]
    return Simulated(
        first=first,
        last=last,
        purposes=tuple(result for result in results if result.requests),
        workers=tuple(sorted(worlds.workers)),
    )
