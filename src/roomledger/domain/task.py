"""A task as the scheduler of its purpose knows it."""

from datetime import datetime
from enum import IntEnum
from typing import Final

import msgspec


class Phase(IntEnum):
    """What a known task is doing."""

    RESERVED = 0
    RUNNING = 1
    LAID_DOWN = 2
    """Held for the worker that ran it, so that it can come back: a reservation like any other, except that
    the worker cannot give it up by laying it down once more."""


RESERVED: Final = Phase.RESERVED
RUNNING: Final = Phase.RUNNING
LAID_DOWN: Final = Phase.LAID_DOWN
# To look a member up in its class takes ten times as long.


class Task(msgspec.Struct, gc=False):
    """A task that has a worker.

    Attributes:
        id: Its id.
        worker: The id of its worker.
        phase: What it is doing.
        reserve_ms: For how long it is held when it is not running.
        due: When its reservation runs out; None while it runs.
        correlation: What set the chain off that led to its reservation.
    """

    id: str
    worker: str
    phase: Phase
    reserve_ms: int
    due: datetime | None
    correlation: str

    @property
    def running(self) -> bool:
        """Whether its worker runs it."""
        return self.phase is RUNNING
