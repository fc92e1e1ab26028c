"""Whether commits are missing: what has expired leaves gaps, nothing else does."""

from bisect import bisect_right
from collections.abc import Callable, Iterable
from datetime import datetime

from roomledger.domain.findings import Finding
from roomledger_events.envelope import Commit, Unreadable

NAME = "sequences"


class Gaps:
    """Sequences at which nothing is any more, because what stood there can have expired."""

    def __init__(self) -> None:
        self._firsts: list[int] = []
        self._lasts: list[int] = []
        self._missing = 0

    def add(self, first: int, last: int) -> None:
        """Take note of the next ones, from the first to the last."""
        self._firsts.append(first)
        self._lasts.append(last)
        self._missing += last - first + 1

    def __contains__(self, sequence: object) -> bool:
        if not isinstance(sequence, int):
            return False
        place = bisect_right(self._firsts, sequence) - 1
        return place >= 0 and sequence <= self._lasts[place]

    def __len__(self) -> int:
        return self._missing


class SequenceCheck:
    """Looks for gaps that no expired load report or text message explains.

    Args:
        last: The last sequence that there has to be.
        expired_before: Tells before when what was stored may have expired by now; None where that is not
            known, so that any commit may have.

    Attributes:
        expired: Where commits are missing that can have expired.
    """

    def __init__(self, last: int, expired_before: Callable[[], datetime] | None) -> None:
        self.expired = Gaps()
        self._last = last
        self._expired_before = expired_before
        self._at = 0
        self._time: datetime | None = None
        self._unreadable = 0

    def take_in(self, commit: Commit) -> Iterable[Finding]:
        """Compare a commit's sequence with the one before."""
        found = self._gap(commit.sequence)
        self._at, self._time = commit.sequence, commit.time
        for event in commit.events:
            if isinstance(event.data, Unreadable):
                self._unreadable += 1
        return found

    def end(self) -> Iterable[Finding]:
        """Compare the last sequence with the log's."""
        return self._gap(self._last + 1)

    def figures(self) -> dict[str, int]:
        """Return how many commits have expired, and how many events could not be read."""
        return {"expired commits": len(self.expired), "unreadable events": self._unreadable}

    def _gap(self, following: int) -> Iterable[Finding]:
        missing = following - self._at - 1
        if missing <= 0:
            return ()
        if self._expired_before is None or self._time is None or self._time <= self._expired_before():
            self.expired.add(self._at + 1, following - 1)
            return ()
        what = str(self._at + 1) if missing == 1 else f"{self._at + 1} to {following - 1}"
        message = f"{what} is not there, and nothing that was stored after {self._time} can have expired"
        return (Finding(NAME, self._at + 1, 0, "log", message),)
