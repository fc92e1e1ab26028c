"""How loaded workers were over a span: on average by time, and at most."""

from collections.abc import Iterator
from datetime import datetime

import msgspec


class Loads(msgspec.Struct, frozen=True):
    """The effective load of a worker over a span; null where it was not there."""

    mean: float | None
    largest: float | None


class _Line(msgspec.Struct):
    since: datetime
    load: float | None
    sum: float = 0.0
    seconds: float = 0.0
    largest: float | None = None


class LoadMeter:
    """Notes the loads of workers as they change."""

    def __init__(self) -> None:
        self._lines: dict[str, _Line] = {}

    def __iter__(self) -> Iterator[str]:
        return iter(self._lines)

    def note(self, worker: str, load: float | None, now: datetime) -> None:
        """Note a load from now on; None for a worker that is not there."""
        line = self._lines.get(worker)
        if line is None:
            line = self._lines[worker] = _Line(now, None)
        self._pass(line, now)
        line.load = load
        if load is not None:
            line.largest = load if line.largest is None else max(line.largest, load)

    def of(self, worker: str, now: datetime) -> Loads:
        """Return what was noted of a worker up to now."""
        line = self._lines.get(worker)
        if line is None:
            return Loads(None, None)
        self._pass(line, now)
        return Loads(line.sum / line.seconds if line.seconds else line.load, line.largest)

    @staticmethod
    def _pass(line: _Line, now: datetime) -> None:
        if line.load is not None:
            seconds = (now - line.since).total_seconds()
            line.sum += line.load * seconds
            line.seconds += seconds
        line.since = now
