"""Commits in batches: as many at a time as have arrived, without waiting for more."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final

from roomledger.runtime.ending import end
from roomledger_events.envelope import Commit

READ_AHEAD: Final = 1024
"""Commits that may wait for whoever takes the batches."""
BATCH_EVENTS: Final = 4096
"""From so many events on a batch is large enough."""


async def batches(commits: AsyncGenerator[Commit]) -> AsyncGenerator[list[Commit]]:
    """Yield what a reader or follower of the log yields, all that has arrived at once.

    It is read on while a batch is worked on. Whoever stops early closes this generator
    (`contextlib.aclosing`), which closes the other one.

    Raises:
        EventStoreError: What reading the log raises, after all that had arrived before.
    """
    arrived: asyncio.Queue[Commit | None] = asyncio.Queue(READ_AHEAD)
    reading = asyncio.create_task(_read(commits, arrived))
    try:
        more = True
        while more:
            batch: list[Commit] = []
            events = 0
            while events < BATCH_EVENTS and not (batch and arrived.empty()):
                commit = await arrived.get()
                if commit is None:
                    more = False
                    break
                batch.append(commit)
                events += len(commit.events)
            if batch:
                yield batch
        await reading
    finally:
        await end(reading)


async def _read(commits: AsyncGenerator[Commit], arrived: asyncio.Queue[Commit | None]) -> None:
    async with aclosing(commits):
        try:
            async for commit in commits:
                await arrived.put(commit)
        except Exception:
            await arrived.put(None)
            raise
        await arrived.put(None)
