"""What is set for one purpose: how its workers are chosen, and for how long a task is held for one."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Self

from roomledger.domain.errors import UnknownStrategy
from roomledger_events.identifiers import check_id
from roomledger_events.workers import SchedulerSettings

MAX_RESERVE_MS: Final = 24 * 60 * 60 * 1000
"""The longest time that a task can be reserved for, in milliseconds: a day."""

MAX_REPORT_DELAY_MS: Final = 10 * 60 * 1000
"""The longest that load reports may be late, in milliseconds: ten minutes."""


class StrategyName(StrEnum):
    """The strategies, by the names that stand in settings and in the log."""

    LEAST_USED = "least-used"
    MOST_USED = "most-used"
    LAST_USED = "last-used"
    ROUND_ROBIN = "round-robin"
    RANDOMLY_PICK = "randomly-pick"
    WEIGHT_ROBIN = "weight-robin"


DEFAULT_STRATEGIES: Final = {
    "video": StrategyName.LEAST_USED,
    "analytics": StrategyName.LEAST_USED,
    "audio": StrategyName.MOST_USED,
    "sip": StrategyName.ROUND_ROBIN,
    "streaming": StrategyName.ROUND_ROBIN,
    "recording": StrategyName.RANDOMLY_PICK,
}
"""Purpose → its strategy where none is set; any other purpose has `LAST_USED`."""


BY_LOAD: Final = frozenset({StrategyName.LEAST_USED, StrategyName.MOST_USED, StrategyName.WEIGHT_ROBIN})
"""The strategies that choose by load."""

DEFAULT_REPORT_DELAY_MS: Final[Mapping[str, int]] = {
    strategy: 5_000 if strategy in BY_LOAD else 0 for strategy in StrategyName
}
"""Strategy → how late reports may be where nothing else is set.

A longer time spreads a burst better and lets fewer tasks a second onto a worker: those of the whole time
count on top of its load.  Where the choice does not go by load, only the latter would be felt.
"""


@dataclass(frozen=True, slots=True)
class PurposeSettings:
    """The settings of one purpose.

    Attributes:
        purpose: Its name, which stands in a subject of the log.
        strategy: The name of the strategy that picks among the candidates.
        task_load: What a reservation adds to a worker's load until a report contains it; 0 adds nothing.
        reserve_ms: How long a task is held when the request does not say it.
        lease_ms: A worker that is silent for this long is lost.
        load_threshold: A report is recorded if it changes the load reckoned with by this much.
        report_delay_ms: How long before a report its load may have been measured: it does not contain younger
            reservations.
    """

    purpose: str
    strategy: str
    task_load: float = 0.005
    reserve_ms: int = 60_000
    lease_ms: int = 3_000
    load_threshold: float = 0.05
    report_delay_ms: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot work.

        Raises:
            UnknownStrategy: There is no strategy of this name.
            ValueError: The purpose is no id, or a figure is out of its range.
        """
        check_id(self.purpose)
        if self.strategy not in set(StrategyName):
            raise UnknownStrategy(self.strategy, tuple(StrategyName))
        # A plain text: it goes into every decision's event, and an enumeration's member costs more to encode.
        object.__setattr__(self, "strategy", StrategyName(self.strategy).value)
        for name, figure in (("task_load", self.task_load), ("load_threshold", self.load_threshold)):
            if not (math.isfinite(figure) and 0 <= figure <= 1):
                raise ValueError(f"{name} of {self.purpose} is {figure}: it lies between 0 and 1")
        if not 1 <= self.reserve_ms <= MAX_RESERVE_MS:
            raise ValueError(f"reserve_ms of {self.purpose} is {self.reserve_ms}: 1 to {MAX_RESERVE_MS}")
        if self.lease_ms < 1:
            raise ValueError(f"lease_ms of {self.purpose} is {self.lease_ms}: it is at least 1")
        if not 0 <= self.report_delay_ms <= MAX_REPORT_DELAY_MS:
            raise ValueError(
                f"report_delay_ms of {self.purpose} is {self.report_delay_ms}: 0 to {MAX_REPORT_DELAY_MS}"
            )

    def recorded(self) -> SchedulerSettings:
        """Return them as they stand in the log."""
        return SchedulerSettings(
            strategy=self.strategy,
            task_load=self.task_load,
            reserve_ms=self.reserve_ms,
            lease_ms=self.lease_ms,
            load_threshold=self.load_threshold,
            report_delay_ms=self.report_delay_ms,
        )

    @classmethod
    def of(cls, purpose: str, recorded: SchedulerSettings) -> Self:
        """Return what stands in the log of a purpose.

        Raises:
            UnknownStrategy: There is no strategy of this name here.
            ValueError: A figure is out of its range.
        """
        return cls(
            purpose=purpose,
            strategy=recorded.strategy,
            task_load=recorded.task_load,
            reserve_ms=recorded.reserve_ms,
            lease_ms=recorded.lease_ms,
            load_threshold=recorded.load_threshold,
            report_delay_ms=recorded.report_delay_ms,
        )

    @classmethod
    def default(cls, purpose: str) -> Self:
        """Return the settings of a purpose for which nothing is set."""
        strategy = DEFAULT_STRATEGIES.get(purpose, StrategyName.LAST_USED)
        return cls(purpose, strategy, report_delay_ms=DEFAULT_REPORT_DELAY_MS[strategy])
