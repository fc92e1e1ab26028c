"""Long work in slices, so that whoever shares the event loop has a turn after each."""

import asyncio
import time
from typing import Final

SLICE_S: Final = 0.001
"""So long is worked before the others have their turn: what they wait for grows by no more each time."""


class Slices:
    """Counts the time of the slice that is worked in; it begins when this is made."""

    def __init__(self) -> None:
        self._end = time.perf_counter() + SLICE_S

    async def pause(self) -> None:
        """Let the others have their turn where the slice is over."""
        if time.perf_counter() >= self._end:
            await asyncio.sleep(0)
            self._end = time.perf_counter() + SLICE_S
