"""What has to be done by itself at a certain time: a heap whose entries are dropped when they are stale.

A million of them cost nothing while they wait.  The heap is made when somebody asks for the first time: who
only follows what happens pays nothing for it.  An entry counts as long as its item is due when it says.
"""

from collections.abc import Callable, Iterable
from datetime import datetime
from heapq import heapify, heappop, heappush
from typing import Final, Generic, Protocol, TypeVar

MIN_STALE: Final = 1_024
"""As many stale entries may always lie about."""


class Timed(Protocol):
    """Something that may have a deadline.

    Attributes:
        due: When it is due, or None.
    """

    due: datetime | None


Item = TypeVar("Item", bound=Timed)


class Deadlines(Generic[Item]):
    """All deadlines of a state, the earliest first.

    Args:
        items: Returns everything that may have one.
    """

    __slots__ = ("_entered", "_heap", "_items", "_stale")

    def __init__(self, items: Callable[[], Iterable[Item]]) -> None:
        self._items = items
        self._heap: list[tuple[datetime, int, Item]] | None = None
        self._entered = 0
        self._stale = 0

    def __len__(self) -> int:
        return len(self._heap or ())

    def move(self, item: Item, due: datetime | None) -> None:
        """Give an item another deadline, its first one, or None for no more."""
        before, item.due = item.due, due
        heap = self._heap
        if heap is None or before == due:
            return
        if before is not None:
            self._stale += 1
            if self._stale > MIN_STALE and self._stale * 2 > len(heap):
                self._heap = heap = [entry for entry in heap if entry[2].due == entry[0]]
                heapify(heap)
                self._stale = 0
        if due is not None:
            self._entered += 1
            heappush(heap, (due, self._entered, item))

    def earliest(self) -> datetime | None:
        """Return the earliest deadline, or None."""
        heap = self._made()
        while heap and heap[0][2].due != heap[0][0]:
            heappop(heap)
            self._stale -= 1
        return heap[0][0] if heap else None

    def until(self, now: datetime, limit: int) -> list[Item]:
        """Return the items that are due, in order of their deadlines, at most `limit`; they stay entered."""
        heap = self._made()
        found: list[tuple[datetime, int, Item]] = []
        while len(found) < limit and (earliest := self.earliest()) is not None and earliest <= now:
            found.append(heappop(heap))
        for entry in found:
            heappush(heap, entry)
        return [item for _, _, item in found]

    def _made(self) -> list[tuple[datetime, int, Item]]:
        if self._heap is None:
            self._heap = []
            for item in self._items():
                if item.due is not None:
                    self._entered += 1
                    self._heap.append((item.due, self._entered, item))
            heapify(self._heap)
        return self._heap
