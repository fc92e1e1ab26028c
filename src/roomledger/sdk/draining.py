"""What a worker knows of its drain, without any I/O.

- A drain is told when it is asked for, and again when its deadline is set anew; what is left when the
  deadline has come is told once.
- The cluster knows of a drain as long as it knows the worker.  One that has forgotten it is told again, with
  the time that is left.
"""

from typing import Final

from roomledger.sdk.membership_effects import Drain, DrainAsked, DrainEnded, MoveTasks, News

_SAME_S: Final = 1.0
"""Deadlines that differ by less are the same one, told twice."""


class Draining:
    """A worker's drain, if there is one.

    Attributes:
        on: Whether the worker gets no new tasks.
    """

    def __init__(self) -> None:
        self.on = False
        self._to_tell = False
        self._under_way = False
        self._move_at: float | None = None
        self._move_told = False

    def want(self, now: float, deadline_ms: int | None) -> None:
        """Take note that the user wants it."""
        self._move_at = None if deadline_ms is None else now + deadline_ms / 1000
        self._to_tell = True

    def forgotten(self) -> None:
        """Take note that the cluster knows of no drain of this worker any more."""
        self._to_tell = self._to_tell or self.on
        self._under_way = False

    def next(self, term: int, now: float, *, awaited: bool = False) -> list[Drain]:
        """Return the request to drain, if the cluster is to be told and is not being told."""
        if not self._to_tell or self._under_way:
            return []
        self._under_way = True
        left = self._left_ms(now)
        return [Drain(term, None if left is None else max(1, left), awaited)]

    def failed(self, *, for_good: bool) -> None:
        """Take note that the cluster was not told, or will not have it."""
        self._under_way = False
        if for_good:
            self._to_tell = False

    def taken(self, running: tuple[str, ...], now: float) -> list[News]:
        """Take note that the cluster took the request to drain."""
        return self.asked(self._left_ms(now), running, now)

    def asked(self, move_in_ms: int | None, running: tuple[str, ...], now: float) -> list[News]:
        """Take note that the cluster says so, with the time until the tasks are to be moved."""
        self._to_tell = self._under_way = False
        move_at = None if move_in_ms is None else now + move_in_ms / 1000
        over = move_in_ms == 0
        told: list[News] = []
        if not self.on or not (over or _near(move_at, self._move_at)):
            self._move_at, self._move_told = move_at, False
            told.append(DrainAsked(move_in_ms))
        self.on = True
        if over and not self._move_told:
            self._move_told = True
            told.append(MoveTasks(running))
        return told

    def ended(self) -> list[News]:
        """Take note that the cluster knows of no drain, because it was taken back."""
        if not self.on or self._to_tell:
            return []
        self.on = False
        return [DrainEnded()]

    def _left_ms(self, now: float) -> int | None:
        return None if self._move_at is None else max(0, round((self._move_at - now) * 1000))


def _near(one: float | None, other: float | None) -> bool:
    if one is None or other is None:
        return one is other
    return abs(one - other) < _SAME_S
