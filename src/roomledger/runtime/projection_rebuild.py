"""A projection rebuilt from the log beside the live file, whoever else follows the log into that one."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from pathlib import Path
from typing import NamedTuple

from roomledger.event_store.store import Head, ReadableLog
from roomledger.runtime.arrivals import LOADING_EVENTS, batches
from roomledger.runtime.progress import Progress
from roomledger_events.envelope import Commit
from roomledger_events.subjects import ANY, Boundary
from roomledger_projections.directory import rebuilding, replaced
from roomledger_projections.projection import Projection
from roomledger_projections.projection_file import ProjectionFile


class RebuiltProjection(NamedTuple):
    """What was rebuilt.

    Attributes:
        projection: Its name.
        sequence: Up to where it knows the log.
        events: How many events were read.
        unreadable: How many of them this version cannot read.
    """

    projection: str
    sequence: int
    events: int
    unreadable: int


async def rebuild(
    log: ReadableLog,
    directory: Path,
    projection: Projection,
    *,
    holds: bool = True,
    replace: bool = False,
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> RebuiltProjection:
    """Rebuild a projection from the log, and swap it in.

    The live file is as it was until all of it is there, in one transaction. A process that follows the log
    into it just goes on.

    Args:
        log: The log.
        directory: Where the projections are.
        projection: Which one.
        holds: Whether events that cannot be read are put aside in it.
        replace: Whether something else in its place is to be replaced, too.
        on_progress: Told after each batch.

    Raises:
        ProjectionError: Its file cannot be written, is locked, or is something else.
        EventStoreError: The log cannot be read.
    """
    with rebuilding(directory, projection, replace=replace) as file:
        file.holds = holds
        reading = _Reading(log, file, on_progress)
        await reading.catch_up()
        while not await asyncio.to_thread(replaced, directory, file, replace=replace):
            await reading.catch_up()
        position = file.position
        return RebuiltProjection(projection.name, position.sequence, reading.events, position.unreadable)


class _Reading:
    def __init__(self, log: ReadableLog, file: ProjectionFile, told: Callable[[Progress], None]) -> None:
        self.events = 0
        self._log = log
        self._file = file
        self._told = told

    async def catch_up(self) -> None:
        """Take in what the log holds now of the boundaries that the projection folds."""
        head = await self._log.position()
        only = [Boundary(kind, ANY) for kind in sorted(self._file.projection.kinds)]
        await self._take_in(
            self._log.read(only, start=self._file.position.sequence + 1, until=head.sequence), head
        )
        if self._file.position.sequence < head.sequence:
            # Whatever the last commit is: that the log is known up to there is to be seen.
            await self._take_in(self._log.read(start=head.sequence, until=head.sequence), head)

    async def _take_in(self, commits: AsyncGenerator[Commit], head: Head) -> None:
        async with aclosing(batches(commits, events=LOADING_EVENTS)) as arrived:
            async for batch in arrived:
                await asyncio.to_thread(self._file.take_in, batch, head.created)
                self.events += _events(batch)
                self._told(Progress(batch[-1].sequence, head.sequence, self.events))


def _events(batch: list[Commit]) -> int:
    return sum(len(commit.events) for commit in batch)
