"""A worker as the scheduler of its purpose knows it, and whether it can be given a task."""

from bisect import bisect_right
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from roomledger.domain.pools import ONE, Pool, millionths
from roomledger.domain.task import Task
from roomledger_events.workers import WorkerInfo

READY: Final = 2
STATES: Final = (0, 1, READY)
"""What a worker can report: not ready, initializing, ready."""

STATE: Final = "state"
DRAINING: Final = "draining"
NOT_REPORTED: Final = "not_reported"
FULL_LOAD: Final = "full_load"
UNAVAILABLE: Final = (STATE, DRAINING, NOT_REPORTED, FULL_LOAD)
"""The rules by which a worker is not available, in the order in which they are looked at."""


@dataclass(slots=True, eq=False)
class Worker:
    """A worker.

    Attributes:
        id: Its id.
        number: Counts the joins to the purpose: who joined first has the smaller one.
        info: What it told of itself.
        state: What it reported last, or None.
        load: What it reported last, in millionths, or None.
        draining: Whether it gets no new tasks.
        drain_until: When it is to move the tasks that it still has, if that was said.
        due: The same until that has been recorded.
        tasks: The tasks that it runs or that are held for it.
        claims: What it ran when it was lost; True for those that it has been told are another's now.
        taken: What it ran and another worker has picked up since, with when that was.
        joined_at: When it became known.
        effective: Its load with the reservations that its report does not contain, in millionths.
        recent: When these were made; empty where reports are never late.
        unavailable: The rule by which it is not available, or None.
        placed: The effective load that it stands in its pools with; None while it stands in none.
        pools: Where it stands while it is available.
        limit: The load from which on it gets no new task, in millionths.
    """

    id: str
    number: int
    info: WorkerInfo
    joined_at: datetime
    state: int | None = None
    load: int | None = None
    draining: bool = False
    drain_until: datetime | None = None
    due: datetime | None = None
    tasks: dict[str, Task] = field(default_factory=dict)
    claims: dict[str, bool] = field(default_factory=dict)
    taken: dict[str, datetime] = field(default_factory=dict)
    effective: int = 0
    recent: list[datetime] = field(default_factory=list)
    unavailable: str | None = NOT_REPORTED
    placed: int | None = None
    pools: tuple[Pool, ...] = ()
    limit: int = field(init=False)

    def __post_init__(self) -> None:
        self.tell(self.info)

    def tell(self, info: WorkerInfo) -> None:
        """Take in what it tells of itself."""
        self.info = info
        self.limit = millionths(info.max_load)

    def missed_by(self, report: datetime, delay: timedelta) -> int:
        """Return how many reservations a report of this moment, so late at most, does not contain."""
        return len(self.recent) - bisect_right(self.recent, report - delay)

    def refused_by(self) -> str | None:
        """Return the rule by which it cannot be given a task, or None."""
        if self.state is not None and self.state != READY:
            return STATE
        if self.draining:
            return DRAINING
        if self.load is None:
            return NOT_REPORTED
        return FULL_LOAD if self.effective >= self.limit else None


def shown(load: int) -> float:
    """Return a load as it is shown."""
    return load / ONE
