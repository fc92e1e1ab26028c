"""What has to be done by itself at a certain time: a heap whose entries are dropped when they are stale.

A million of them cost nothing while they wait.  Whatever is due has an attribute ``due``; an entry counts as
long as that is the time that it was entered with.
"""

from datetime import datetime
from heapq import heapify, heappop, heappush
from typing import Final, Generic, Protocol, TypeVar

MIN_STALE: Final = 1_024
"""As many stale entries may always lie about."""


class Timed(Protocol):
    """Something that may have a deadline."""

    @property
    def due(self) -> datetime | None:
        """When it is due, or None."""


Item = TypeVar("Item", bound=Timed)


class Deadlines(Generic[Item]):
    """All deadlines of a state, the earliest first."""

    __slots__ = ("_entered", "_heap", "_stale")

    def __init__(self) -> None:
        self._heap: list[tuple[datetime, int, Item]] = []
        self._entered = 0
        self._stale = 0

    def __len__(self) -> int:
        return len(self._heap)

    def enter(self, item: Item) -> None:
        """Take in the deadline of an item; the one that it had before is to be `forget`-ed first."""
        if item.due is not None:
            self._entered += 1
            heappush(self._heap, (item.due, self._entered, item))

    def forget(self, item: Item) -> None:
        """Note that the deadline of an item is about to change."""
        if item.due is None:
            return
        self._stale += 1
        if self._stale > MIN_STALE and self._stale * 2 > len(self._heap):
            self._heap = [entry for entry in self._heap if entry[2].due == entry[0] and entry[2] is not item]
            heapify(self._heap)
            self._stale = 0

    def earliest(self) -> datetime | None:
        """Return the earliest deadline, or None."""
        heap = self._heap
        while heap and heap[0][2].due != heap[0][0]:
            heappop(heap)
            self._stale -= 1
        return heap[0][0] if heap else None

    def until(self, now: datetime, limit: int) -> list[Item]:
        """Return the items that are due, in order of their deadlines, at most `limit`; they stay entered."""
        found: list[tuple[datetime, int, Item]] = []
        while len(found) < limit and (earliest := self.earliest()) is not None and earliest <= now:
            found.append(heappop(self._heap))
        for entry in found:
            heappush(self._heap, entry)
        return [item for _, _, item in found]
