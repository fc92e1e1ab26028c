"""Long work on the log in slices, so that whoever shares the event loop has a turn after each."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Final

from roomledger.runtime.progress import Progress
from roomledger_events.envelope import Commit

SLICE_S: Final = 0.001
"""So long is worked before the others have their turn: what they wait for grows by no more each time."""


async def in_slices(
    commits: AsyncGenerator[Commit], last: int, on_progress: Callable[[Progress], None] = lambda _: None
) -> AsyncGenerator[Commit]:
    """Yield what is read of the log; what is done with it counts as the work of a slice.

    Whoever stops early closes this generator (`contextlib.aclosing`), which closes the other one.

    Args:
        commits: What is read.
        last: Where that will end at the latest.
        on_progress: Told after each slice.

    Raises:
        EventStoreError: What reading the log raises.
    """
    events = 0
    end = time.perf_counter() + SLICE_S
    async with aclosing(commits):
        async for commit in commits:
            yield commit
            events += len(commit.events)
            if time.perf_counter() >= end:
                on_progress(Progress(commit.sequence, last, events))
                await asyncio.sleep(0)
                end = time.perf_counter() + SLICE_S
