"""Who was heard of, and when: by a monotonic clock, in memory only."""

from collections import OrderedDict
from collections.abc import Iterator
from datetime import datetime
from typing import NamedTuple


class Heard(NamedTuple):
    """When a worker was last heard of.

    Attributes:
        monotonic: By the monotonic clock, in seconds.
        time: By the wall clock, UTC; None where it was not heard of since this manager became active.
    """

    monotonic: float
    time: datetime | None


class Liveness:
    """The workers of one purpose, in the order in which they were heard of, the longest silent first.

    Args:
        lease_ms: A worker that is silent for so long is lost.
    """

    def __init__(self, lease_ms: int) -> None:
        self.lease_ms = lease_ms
        self._heard: OrderedDict[str, Heard] = OrderedDict()

    def hear(self, worker: str, monotonic: float, time: datetime | None) -> None:
        """Take note that a worker is there; without a time it is only given the benefit of the doubt."""
        self._heard[worker] = Heard(monotonic, time)
        self._heard.move_to_end(worker)

    def forget(self, worker: str) -> None:
        """Take note that a worker is gone."""
        self._heard.pop(worker, None)

    def last_seen(self, worker: str) -> datetime | None:
        """Return when a worker was last heard of, UTC."""
        heard = self._heard.get(worker)
        return None if heard is None else heard.time

    def silent(self, monotonic: float) -> Iterator[tuple[str, int]]:
        """Yield the workers that are lost, with their silence in ms; the others are not looked at."""
        for worker, heard in self._heard.items():
            silence = round((monotonic - heard.monotonic) * 1000)
            if silence < self.lease_ms:
                return
            yield worker, silence
