"""A span of the log played forward: one line an event, as fast as it happened, faster, or at once."""

import asyncio
import sys
from collections.abc import Callable, Sequence
from contextlib import aclosing
from datetime import datetime
from typing import Any, Final

import typer

from roomledger.cli.log import plain, printable
from roomledger.cli.progress import progress_shown
from roomledger.domain.trail import Trail
from roomledger.event_store.store import ReadableLog
from roomledger.runtime.moments import span as span_of
from roomledger.runtime.rebuilding import Moment
from roomledger.runtime.trails import Told, followed, learn
from roomledger_events.envelope import to_json
from roomledger_events.sentences import sentence
from roomledger_projections.projection import moment

MAX: Final = "max"


def speed_of(text: str) -> float | None:
    """Read how many times as fast as it happened; None for as fast as can be.

    Raises:
        typer.BadParameter: It is neither a number above 0 nor ``max``.
    """
    if text == MAX:
        return None
    try:
        speed = float(text)
    except ValueError:
        speed = 0.0
    if not 0 < speed < float("inf"):
        raise typer.BadParameter(f"{text[:40]!r} is neither a number above 0 nor max", param_hint="--speed")
    return speed


async def play(
    log: ReadableLog,
    start: Moment,
    until: Moment,
    trails: Sequence[Trail],
    *,
    speed: float | None,
    as_json: bool,
) -> int:
    """Print the events between two moments that are on all of these trails; return how many these were.

    Args:
        log: The log.
        start: The first moment; None for the log's beginning.
        until: The last one; None for where the log stands.
        trails: What to look for; none means everything.
        speed: How many times as fast as it happened; None for at once.
        as_json: An object a line, for programs.

    Raises:
        NoSuchMoment: The log has nothing between these moments.
        EventStoreError: The log cannot be read.
        BrokenPipeError: Nobody reads what is printed any more.
    """
    span = await span_of(log, start, until)
    with progress_shown("learning") as on_progress:
        await learn(log, trails, until=span.last, on_progress=on_progress)
    line = told_json if as_json else told_text
    pace = None if speed is None else Pace(speed)
    count = 0
    with progress_shown("replay") as on_progress:
        # At a terminal the lines themselves tell how far it is.
        shown = (lambda _: None) if sys.stdout.isatty() else on_progress
        async with aclosing(followed(log, trails, span, on_progress=shown)) as found:
            async for batch in found:
                count += len(batch)
                if pace is None:
                    _print(batch, line)
                    continue
                for told in batch:
                    await pace.wait_for(told.commit.time)
                    _print([told], line)
    return count


class Pace:
    """Waits until it is time for what happened, counted from the first that was waited for.

    Args:
        speed: How many times as fast as it happened.
    """

    def __init__(self, speed: float) -> None:
        self._speed = speed
        self._first: tuple[datetime, float] | None = None

    def due(self, time: datetime, now: float) -> float:
        """Return for how many seconds to wait, at a moment of a clock of one's own."""
        if self._first is None:
            self._first = time, now
        first, begun = self._first
        return max(0.0, begun + (time - first).total_seconds() / self._speed - now)

    async def wait_for(self, time: datetime) -> None:
        """Wait until it is time."""
        seconds = self.due(time, asyncio.get_running_loop().time())
        if seconds:
            await asyncio.sleep(seconds)


def told_text(told: Told) -> str:
    """Return an event as people read it: when, where, by whom, and what happened."""
    event = told.event
    said = sentence(told.commit.boundary, event)
    return printable(f"{moment(event.time)}  {told.address!s:>8}  {event.actor}  {said}")


def told_json(told: Told) -> str:
    """Return an event as an object: its envelope, where it stands, when it was stored, what happened."""
    return to_json(told_plain(told))


def told_plain(told: Told) -> dict[str, Any]:
    """Return an event as plain values; see `told_json`."""
    what = sentence(told.commit.boundary, told.event)
    return plain(told.commit, told.place, told.event) | {"what": what}


def _print(batch: Sequence[Told], line: Callable[[Told], str]) -> None:
    sys.stdout.write("".join(f"{line(told)}\n" for told in batch))
    sys.stdout.flush()
