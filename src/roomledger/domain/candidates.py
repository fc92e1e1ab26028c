"""The workers of a purpose, indexed so that a decision looks at none but the first of those that match."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import msgspec

from roomledger.domain.matching import Available, PreferenceClass, matcher_of
from roomledger.domain.pools import InTurns, Key, Pool, millionths
from roomledger.domain.purpose import PurposeSettings
from roomledger.domain.strategies import RANKED, STRATEGIES, RandomlyPick, RememberingStrategy
from roomledger.domain.worker import Worker
from roomledger_events.tasks import Preference

MATCHES: Final = 1_024
"""For so many preferences what the matcher leaves is kept in mind."""


class Choice(msgspec.Struct, frozen=True, gc=False):
    """What a decision is made from.

    Attributes:
        ranked: The winner and its runners-up, three unless others are asked for; empty where nobody matches.
        available: How many workers are available.
        candidates: How many of them match.
        refused: The rule → how many workers it refused; others may be told the same object.
    """

    ranked: list[Worker]
    available: int
    candidates: int
    refused: dict[str, int]


class _Match(msgspec.Struct, frozen=True, gc=False):
    """What the matcher leaves for a preference, as long as the same workers are available."""

    pools: Sequence[Pool]
    candidates: int
    refused: dict[str, int]
    about: PreferenceClass


class Candidates:
    """An index of workers by what they serve and by the order of the strategy.

    Whoever changes a worker tells it by `settle`.
    """

    def __init__(self, settings: PurposeSettings) -> None:
        self.matcher: Final = matcher_of(settings.purpose)
        self.strategy: Final = STRATEGIES[settings.strategy]()
        self.available = 0
        self.unavailable: dict[str, int] = {}
        self.needs: dict[object, int] = {}
        self.pools: dict[Key, Pool] = {}
        self._workers: dict[int, Worker] = {}
        self._match = lru_cache(MATCHES)(self._find_match)
        self._by_load: Final = self.strategy.pool.move is not Pool.move

    @property
    def draws(self) -> bool:
        """Whether the strategy leaves it to chance."""
        return isinstance(self.strategy, RandomlyPick)

    def succeeded_by(self, other: "Candidates") -> "Candidates":
        """Hand on to an index by another strategy, still empty, what both strategies remember alike."""
        mine, theirs = self.strategy, other.strategy
        if isinstance(mine, RememberingStrategy) and isinstance(theirs, RememberingStrategy):
            theirs.picked = mine.picked
        return other

    def join(self, worker: Worker) -> None:
        """Take a worker in, available or not."""
        pools = []
        for key in self.matcher.places(worker.info.capacity):
            pool = self.pools.get(key)
            if pool is None:
                pool = self.pools[key] = self.strategy.pool(key)
            pool.members += 1
            pools.append(pool)
        worker.pools = tuple(pools)
        worker.placed = None
        worker.unavailable = worker.refused_by()
        self._workers[worker.number] = worker
        if worker.unavailable is None:
            self._enter(worker)
        else:
            self._count(worker.unavailable, 1)

    def leave(self, worker: Worker) -> None:
        """Forget a worker."""
        if worker.placed is None:
            self._count(worker.unavailable or "", -1)
        else:
            self._leave(worker, worker.placed)
        for pool in worker.pools:
            pool.members -= 1
            pool.forget(worker.number)
            if not pool.members:
                del self.pools[pool.key]
        worker.pools = ()
        del self._workers[worker.number]

    def settle(self, worker: Worker) -> None:
        """Take in that a worker has changed."""
        placed, before = worker.placed, worker.unavailable
        now = worker.unavailable = worker.refused_by()
        if placed is None:
            if now != before:
                self._count(before or "", -1)
                if now is None:
                    self._enter(worker)
                else:
                    self._count(now, 1)
        elif now is not None:
            self._leave(worker, placed)
            self._count(now, 1)
        elif placed != worker.effective:
            if self._by_load:
                for pool in worker.pools:
                    pool.move(worker.number, placed, worker.effective)
            worker.placed = worker.effective

    def choose(self, preference: Preference, draw: float, most: int = RANKED) -> Choice:
        """Return who could serve a preference, and in what order, at most so many."""
        match = self._match(preference)
        pools = match.pools
        if not pools:
            return Choice([], self.available, 0, match.refused)
        workers = self._workers
        numbers = self.strategy.choose(pools, match.about, draw, most)
        return Choice(
            [workers[number] for number in numbers], self.available, match.candidates, match.refused
        )

    def remember(self, preference: Preference, worker: Worker, load: float | None) -> None:
        """Let the strategy note that a worker was reserved, which had this effective load, if it is known."""
        strategy = self.strategy
        if strategy.pool is InTurns:
            place = self.pools.get(self.matcher.place(worker.info.capacity, preference))
            counted = worker.effective if load is None else millionths(load)
            strategy.remember(self.matcher.class_of(preference), worker.number, place, counted)
        elif isinstance(strategy, RememberingStrategy):
            strategy.remember(self.matcher.class_of(preference), worker.number, None, 0)

    def picked_last(self, preference: Preference) -> Worker | None:
        """Return the worker that the strategy remembers for a preference, if it is known."""
        if not isinstance(self.strategy, RememberingStrategy):
            return None
        return self._workers.get(self.strategy.picked.get(self.matcher.class_of(preference), 0))

    def _find_match(self, preference: Preference) -> _Match:
        refused = self.unavailable.copy()
        pools: Sequence[Pool] = ()
        if self.available:
            found = self.matcher.find(preference, Available(self.pools, self.needs, self.available))
            refused.update(found.refused)
            pools = found.pools
        count = sum(pool.count for pool in pools)
        return _Match(pools, count, refused, self.matcher.class_of(preference))

    def _enter(self, worker: Worker) -> None:
        for pool in worker.pools:
            pool.enter(worker.number, worker.effective)
        worker.placed = worker.effective
        self._count_available(worker, 1)

    def _leave(self, worker: Worker, placed: int) -> None:
        for pool in worker.pools:
            pool.leave(worker.number, placed)
        worker.placed = None
        self._count_available(worker, -1)

    def _count_available(self, worker: Worker, change: int) -> None:
        self.available += change
        self._match.cache_clear()
        for need in {pool.key[0] for pool in worker.pools}:
            count = self.needs.get(need, 0) + change
            if count:
                self.needs[need] = count
            else:
                del self.needs[need]

    def _count(self, rule: str, change: int) -> None:
        self._match.cache_clear()
        count = self.unavailable.get(rule, 0) + change
        if count:
            self.unavailable[rule] = count
        else:
            del self.unavailable[rule]
