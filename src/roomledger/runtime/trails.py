"""Following trails through a log, and finding the part of it that lies between two moments."""

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from datetime import datetime
from typing import NamedTuple

from roomledger.domain.trail import Trail, is_on
from roomledger.event_store.store import ReadableLog
from roomledger.runtime.arrivals import batches
from roomledger.runtime.errors import NoSuchMoment
from roomledger.runtime.rebuilding import Moment, Progress
from roomledger_events.envelope import Address, Commit, Event
from roomledger_projections.projection import moment


class Told(NamedTuple):
    """An event with where it stands."""

    commit: Commit
    place: int
    event: Event

    @property
    def address(self) -> Address:
        """Where it stands in the log."""
        return Address(self.commit.sequence, self.place)


class Span(NamedTuple):
    """A part of a log: from a sequence up to and with another."""

    start: int
    until: int


async def span_of(log: ReadableLog, start: Moment = None, until: Moment = None) -> Span:
    """Return the part of a log between two moments, both of them with it.

    Args:
        log: The log.
        start: A sequence, a time, or None for the log's beginning.
        until: Likewise; None for where the log stands.

    Raises:
        NoSuchMoment: The log has nothing between them.
        EventStoreError: The log cannot be read.
    """
    head = (await log.position()).sequence
    if head == 0:
        raise NoSuchMoment("the log is empty")
    first = await first_at(log, start, head) if isinstance(start, datetime) else max(start or 1, 1)
    if isinstance(until, datetime):
        last = await first_at(log, until, head, after=True) - 1
    else:
        last = head if until is None else min(until, head)
    if first > head:
        raise NoSuchMoment(f"the log ends at sequence {head}, before {_shown(start)}")
    if last < 1:
        raise NoSuchMoment(f"the log begins after {_shown(until)}")
    if first > last:
        raise NoSuchMoment(f"there is nothing between {_shown(start)} and {_shown(until)}")
    return Span(first, last)


async def first_at(log: ReadableLog, time: datetime, head: int, *, after: bool = False) -> int:
    """Return the first sequence that was stored at a time or later; the one behind the head if none was.

    Args:
        log: The log.
        time: The time, with its zone.
        head: Where the log stands.
        after: Whether what was stored at that very time is still too early.

    Raises:
        EventStoreError: The log cannot be read.
    """
    low, high = 1, head + 1
    while low < high:
        middle = (low + high) // 2
        found = await _first_from(log, middle)
        if found is None or found.time > time or (found.time == time and not after):
            high = middle
        else:
            low = found.sequence + 1
    return low


async def _first_from(log: ReadableLog, sequence: int) -> Commit | None:
    # Most sequences are there, and one alone is had at once.
    for until in (sequence, None):
        async with aclosing(log.read(start=sequence, until=until)) as commits:
            async for commit in commits:
                return commit
    return None


async def learn(
    log: ReadableLog,
    trails: Sequence[Trail],
    *,
    until: int | None = None,
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> None:
    """Let trails learn what they have to, so that they can tell which events are on them.

    Raises:
        EventStoreError: The log cannot be read.
    """
    boundaries = sorted({boundary for trail in trails for boundary in trail.told_by})
    if not boundaries:
        return
    last = (await log.position()).sequence if until is None else until
    events = 0
    async with aclosing(batches(log.read(boundaries, until=until))) as arrived:
        async for batch in arrived:
            for commit in batch:
                events += len(commit.events)
                for event in commit.events:
                    for trail in trails:
                        trail.learn(event)
            on_progress(Progress(batch[-1].sequence, last, events))


async def followed(
    log: ReadableLog,
    trails: Sequence[Trail],
    span: Span,
    *,
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> AsyncGenerator[list[Told]]:
    """Yield the events of a span that are on all of these trails, as many at a time as have arrived.

    Args:
        log: The log.
        trails: They have learnt; none means all events.
        span: The part of the log to be read.
        on_progress: Told after each batch that was read.

    Raises:
        EventStoreError: The log cannot be read.
    """
    sought = [trail.sought for trail in trails]
    events = 0
    async with aclosing(batches(log.read(start=span.start, until=span.until))) as arrived:
        async for batch in arrived:
            found = [
                Told(commit, place, event)
                for commit in batch
                for place, event in enumerate(commit.events)
                if all(is_on(each, commit.boundary, event) for each in sought)
            ]
            events += sum(len(commit.events) for commit in batch)
            if found:
                yield found
            on_progress(Progress(batch[-1].sequence, span.until, events))


def _shown(at: Moment) -> str:
    return moment(at) or "" if isinstance(at, datetime) else f"sequence {at}"
