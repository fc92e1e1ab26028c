"""Which of the candidates gets the task: six strategies over pools of workers.

What a strategy remembers is changed by `remember` only, from what the log says about a reservation, so that
the next pick after a restart is the one that it would have been without.  It is remembered by class of
preference, for the `CLASSES` classes that were used last.
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import ClassVar, Final, NamedTuple, Protocol, TypeVar

from roomledger.domain.matching import PreferenceClass
from roomledger.domain.pools import NUMBER, ONE, InTurns, Key, LeastLoadedFirst, MostLoadedFirst, Pool
from roomledger.domain.purpose import StrategyName

Memory = TypeVar("Memory")

CLASSES: Final = 4_096
"""The most classes of preference that are remembered."""

RANKED: Final = 4
"""How many candidates a decision names: the winner and three runners-up."""


class Strategy(Protocol):
    """A way to choose among candidates.

    Attributes:
        pool: Makes a pool in the order that the strategy needs.
    """

    pool: ClassVar[type[Pool]]

    def choose(
        self, pools: Sequence[Pool], about: PreferenceClass, draw: float, most: int = RANKED
    ) -> list[int]:
        """Return the numbers of the winner and of those that follow it, at most so many."""

    def remember(self, about: PreferenceClass, number: int, place: Pool | None, load: int) -> None:
        """Note that a worker was reserved, which the preference found at `place` with this effective load."""


class _First:
    """The first in the order of the pool."""

    pool: ClassVar[type[Pool]] = Pool

    def choose(
        self, pools: Sequence[Pool], _about: PreferenceClass, _draw: float, most: int = RANKED
    ) -> list[int]:
        """Return the first ones."""
        return _first(pools, most)

    def remember(self, about: PreferenceClass, number: int, place: Pool | None, load: int) -> None:
        """Remember nothing."""


class LeastUsed(_First):
    """The smallest effective load; of equals, who joined first."""

    pool: ClassVar[type[Pool]] = LeastLoadedFirst


class MostUsed(_First):
    """The largest effective load; of equals, who joined first."""

    pool: ClassVar[type[Pool]] = MostLoadedFirst


class RememberingStrategy(_First):
    """Remembers the worker picked last of each class."""

    def __init__(self) -> None:
        self.picked: OrderedDict[PreferenceClass, int] = OrderedDict()

    def remember(self, about: PreferenceClass, number: int, _place: Pool | None, _load: int) -> None:
        """Remember the pick."""
        _put(self.picked, about, number)


class LastUsed(RememberingStrategy):
    """The worker picked last while it is still a candidate, else who joined first."""

    def choose(
        self, pools: Sequence[Pool], about: PreferenceClass, _draw: float, most: int = RANKED
    ) -> list[int]:
        """Return the worker picked last, then the others in joining order."""
        first = _first(pools, most)
        last = self.picked.get(about)
        if last is None or last == first[0] or not any(last in pool.order for pool in pools):
            return first
        return [last, *islice((number for number in first if number != last), most - 1)]


class RoundRobin(RememberingStrategy):
    """The candidate after the one picked last, in joining order."""

    def choose(
        self, pools: Sequence[Pool], about: PreferenceClass, _draw: float, most: int = RANKED
    ) -> list[int]:
        """Return those that follow the one picked last, and from the first again."""
        last = self.picked.get(about)
        if last is None:
            return _first(pools, most)
        after = []
        for pool in pools:
            start = pool.order.bisect_right(last)
            after += pool.order[start : start + most]
        after.sort()
        if len(after) < most:
            after += [number for number in _first(pools, most) if number <= last]
        return after[:most]


class RandomlyPick(_First):
    """Each with the same chance: the draw counts through the pools, each in joining order."""

    def choose(
        self, pools: Sequence[Pool], _about: PreferenceClass, draw: float, most: int = RANKED
    ) -> list[int]:
        """Return the worker drawn and those that follow it."""
        count = sum(pool.count for pool in pools)
        index = min(int(draw * count), count - 1)
        for start, pool in enumerate(pools):  # noqa: B007  - where it stops counts
            if index < pool.count:
                break
            index -= pool.count
        chosen: list[int] = pool.order[index : index + most]
        for pool in (*pools[start + 1 :], *pools[: start + 1]):
            if len(chosen) < most:
                chosen += pool.first(most - len(chosen))
        return list(dict.fromkeys(chosen))[:most]


class Turns(NamedTuple):
    """Whose turn it is among the pools of a class.

    Attributes:
        turn: The turn of the pool that was served last.
        later: The pools whose next turn comes later than that.
    """

    turn: int
    later: Mapping[Key, int]


class WeightRobin:
    """Each in proportion to its free share, evenly spread.

    Where a class has several pools, they take turns in proportion to the sums of their free shares, and in a
    pool its workers do.
    """

    pool: ClassVar[type[Pool]] = InTurns
    STRIDE: Final = ONE**3
    """The stride of a pool of which one millionth is free; it leaves room for 10¹⁰ workers."""

    def __init__(self) -> None:
        self.turns: OrderedDict[PreferenceClass, Turns] = OrderedDict()

    def choose(
        self, pools: Sequence[Pool], about: PreferenceClass, _draw: float, most: int = RANKED
    ) -> list[int]:
        """Return those whose turns are next, in the pool whose turn it is."""
        if len(pools) > 1:
            turn, later = self.turns.get(about, _NO_TURNS)
            pools = sorted(pools, key=lambda pool: later.get(pool.key, turn))
        chosen: list[int] = []
        for pool in pools:
            if len(chosen) < most:
                chosen += pool.first(most - len(chosen))
        return chosen

    def remember(self, about: PreferenceClass, number: int, place: Pool | None, load: int) -> None:
        """Move the turns of the worker and of its pool on."""
        if not isinstance(place, InTurns):
            return
        turn, later = self.turns.get(about, _NO_TURNS)
        mine = later.get(place.key, turn)
        moved = {key: each for key, each in later.items() if each > mine}
        moved[place.key] = mine + self.STRIDE // max(place.free, ONE - load, 1)
        _put(self.turns, about, Turns(mine, moved))
        place.serve(number, load)


STRATEGIES: Final[Mapping[str, Callable[[], Strategy]]] = {
    StrategyName.LEAST_USED: LeastUsed,
    StrategyName.MOST_USED: MostUsed,
    StrategyName.LAST_USED: LastUsed,
    StrategyName.ROUND_ROBIN: RoundRobin,
    StrategyName.RANDOMLY_PICK: RandomlyPick,
    StrategyName.WEIGHT_ROBIN: WeightRobin,
}
"""Name → strategy."""

_NO_TURNS: Final = Turns(0, {})


def _first(pools: Sequence[Pool], most: int) -> list[int]:
    if len(pools) == 1:
        return pools[0].first(most)
    ranks = [rank for pool in pools for rank in islice(pool.order, most)]
    ranks.sort()
    return [rank & NUMBER for rank in ranks[:most]]


def _put(remembered: OrderedDict[PreferenceClass, Memory], about: PreferenceClass, value: Memory) -> None:
    remembered[about] = value
    remembered.move_to_end(about)
    if len(remembered) > CLASSES:
        remembered.popitem(last=False)
