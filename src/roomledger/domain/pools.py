"""Workers that can be chosen between, in an order that finds the next one without a scan.

A worker has a number, which counts the joins to its purpose.  A pool keeps *ranks*: whole numbers whose low
bits are the worker's number and whose high bits are what the pool orders by, so that equals stand in joining
order.  Loads are counted in millionths: sums of whole numbers are exact, whatever their order.
"""

from itertools import islice
from typing import Final

from sortedcontainers import SortedList  # type: ignore[import-untyped]  # it ships no types

ONE: Final = 1_000_000
"""A load of 1."""

NUMBER_BITS: Final = 40
NUMBER: Final = (1 << NUMBER_BITS) - 1
"""Mask of the worker's number in a rank."""

Key = tuple[object, str | None, str | None]
"""What the workers of a pool serve: a need (codecs or an algorithm), an isp and a region; None: any, for an
isp: everybody's."""


def millionths(load: float) -> int:
    """Return a load as it is counted with."""
    return round(load * ONE)


class Pool:
    """The available workers that serve the same need, isp and region, in joining order.

    Attributes:
        key: What they serve.
        members: How many workers serve it, available or not.
        count: How many of them are available.
        order: Their ranks.
    """

    __slots__ = ("count", "key", "members", "order")

    def __init__(self, key: Key) -> None:
        self.key = key
        self.members = 0
        self.count = 0
        self.order = SortedList()

    def enter(self, number: int, load: int) -> None:
        """Put a worker in that became available with this effective load."""
        self.count += 1
        self.order.add(self.rank(number, load))

    def leave(self, number: int, load: int) -> None:
        """Take a worker out that stands here with this effective load."""
        self.count -= 1
        self.order.remove(self.rank(number, load))

    def first(self, most: int) -> list[int]:
        """Return the numbers of the first ones."""
        return list(islice(self.order, most))

    def move(self, number: int, before: int, after: int) -> None:
        """Take in that the effective load of a worker changed."""

    def forget(self, number: int) -> None:
        """Take in that a worker is gone for good."""

    def rank(self, number: int, load: int) -> int:  # noqa: ARG002  - others order by it
        """Return where a worker stands in the order."""
        return number


class LeastLoadedFirst(Pool):
    """A pool in the order of effective loads, then in joining order."""

    __slots__ = ()

    def first(self, most: int) -> list[int]:
        """Return the numbers of the first ones."""
        return [rank & NUMBER for rank in islice(self.order, most)]

    def move(self, number: int, before: int, after: int) -> None:
        """Move a worker to its new place."""
        self.order.remove(self.rank(number, before))
        self.order.add(self.rank(number, after))

    def rank(self, number: int, load: int) -> int:
        """Order by the load."""
        return load << NUMBER_BITS | number


class MostLoadedFirst(LeastLoadedFirst):
    """A pool in the order of effective loads, the largest first, then in joining order."""

    __slots__ = ()

    def rank(self, number: int, load: int) -> int:
        """Order by what is free."""
        return (ONE - load) << NUMBER_BITS | number


class InTurns(Pool):
    """A pool whose workers take turns, each in proportion to its free share (stride scheduling).

    A worker that was served waits for a stride, which is the shorter the more of it is free; the one whose
    turn is the earliest is next.  C. Waldspurger, W. Weihl: Stride Scheduling, MIT/LCS/TM-528, 1995.

    Attributes:
        free: The sum of the free shares of those that are available.
        turn: The latest turn that was served: who comes back does not fall behind it.
        turns: A worker's number → its next turn; kept while the worker is known.
    """

    __slots__ = ("free", "turn", "turns")

    STRIDE: Final = ONE * ONE
    """The stride of a worker of which one millionth is free."""

    def __init__(self, key: Key) -> None:
        super().__init__(key)
        self.free = 0
        self.turn = 0
        self.turns: dict[int, int] = {}

    def first(self, most: int) -> list[int]:
        """Return the numbers of those whose turns are next."""
        return [rank & NUMBER for rank in islice(self.order, most)]

    def enter(self, number: int, load: int) -> None:
        """Let a worker take part: from the turn that it has, or a stride from now if it is new."""
        self.free += ONE - load
        turn = self.turns.get(number)
        self.turns[number] = self.turn + self.STRIDE // (ONE - load) if turn is None else max(turn, self.turn)
        super().enter(number, load)

    def leave(self, number: int, load: int) -> None:
        """Take a worker out; it keeps its turn."""
        self.free -= ONE - load
        super().leave(number, load)

    def move(self, number: int, before: int, after: int) -> None:  # noqa: ARG002  - its turn stays
        """Take in that another share of a worker is free."""
        self.free += before - after

    def forget(self, number: int) -> None:
        """Forget a worker's turn."""
        self.turns.pop(number, None)

    def serve(self, number: int, load: int) -> None:
        """Note that a worker was served with this effective load."""
        turn = self.turns.get(number, self.turn)
        later = self.turns[number] = turn + self.STRIDE // max(ONE - load, 1)
        self.turn = max(self.turn, turn)
        try:
            self.order.remove(turn << NUMBER_BITS | number)
        except ValueError:
            return  # it is not available any more
        self.order.add(later << NUMBER_BITS | number)

    def rank(self, number: int, load: int) -> int:  # noqa: ARG002  - its turn counts
        """Order by the turn."""
        return self.turns.get(number, 0) << NUMBER_BITS | number
