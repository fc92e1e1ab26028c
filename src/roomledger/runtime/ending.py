"""Ending tasks for good."""

import asyncio
from typing import Any, Final

_AGAIN_S: Final = 0.2


async def end(*tasks: "asyncio.Task[Any] | None") -> None:
    """Cancel tasks and return when they have ended, however they end.

    One cancellation is not always enough: `asyncio.wait_for`, which nats-py waits with, forgets it when what
    it waits for is done in the same moment (mended in Python 3.12).  So it is repeated until the task ends.
    """
    there = {task for task in tasks if task is not None}
    left = there
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=_AGAIN_S)
    for task in there:
        if not task.cancelled():
            task.exception()  # whoever watches the task has it; here it is only not to be reported as lost
