"""Commits in batches: as many at a time as have arrived, without waiting for more."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final

from roomledger.runtime.ending import end
from roomledger_events.envelope import Commit

BATCH_EVENTS: Final = 4096
"""From so many events on a batch is large enough, and no more is read ahead."""
LOADING_EVENTS: Final = 16_384
"""Likewise for whoever loads a whole log: what comes and goes within a batch is not written at all."""


async def batches(
    commits: AsyncGenerator[Commit], *, events: int = BATCH_EVENTS
) -> AsyncGenerator[list[Commit]]:
    """Yield what a reader or follower of the log yields, all that has arrived at once.

    It is read on while a batch is worked on. Whoever stops early closes this generator
    (`contextlib.aclosing`), which closes the other one.

    Args:
        commits: What is read.
        events: From so many on a batch is large enough.

    Raises:
        EventStoreError: What reading the log raises, after all that had arrived before.
    """
    arrivals = _Arrivals(events)
    reading = asyncio.create_task(_read(commits, arrivals))
    try:
        while batch := await arrivals.next_batch():
            yield batch
        await reading
    finally:
        await end(reading)


class _Arrivals:
    """What waits for whoever takes the batches."""

    def __init__(self, enough: int) -> None:
        self._enough = enough
        self._commits: list[Commit] = []
        self._events = 0
        self._more = True
        self._something = asyncio.Event()
        self._room = asyncio.Event()

    def add(self, commit: Commit) -> bool:
        """Put a commit in, and return whether these are enough."""
        if not self._commits:
            self._something.set()
        self._commits.append(commit)
        self._events += len(commit.events) or 1
        return self._events >= self._enough

    async def taken(self) -> None:
        """Return when what is there has been taken."""
        self._room.clear()
        await self._room.wait()

    def end(self) -> None:
        """Say that nothing more comes."""
        self._more = False
        self._something.set()

    async def next_batch(self) -> list[Commit]:
        """Return all that is there, waiting for something; nothing once nothing more comes."""
        await self._something.wait()
        batch, self._commits, self._events = self._commits, [], 0
        if self._more:
            self._something.clear()
        self._room.set()
        return batch


async def _read(commits: AsyncGenerator[Commit], arrivals: _Arrivals) -> None:
    async with aclosing(commits):
        try:
            async for commit in commits:
                if arrivals.add(commit):
                    await arrivals.taken()
        finally:
            arrivals.end()
