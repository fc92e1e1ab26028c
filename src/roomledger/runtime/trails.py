"""Following trails through a log."""

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import NamedTuple

from roomledger.domain.trail import Trail, is_on
from roomledger.event_store.store import ReadableLog
from roomledger.runtime.arrivals import batches
from roomledger.runtime.moments import Span
from roomledger.runtime.progress import Progress
from roomledger_events.envelope import Address, Commit, Event


class Told(NamedTuple):
    """An event with where it stands."""

    commit: Commit
    place: int
    event: Event

    @property
    def address(self) -> Address:
        """Where it stands in the log."""
        return Address(self.commit.sequence, self.place)


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
    async with aclosing(batches(log.read(start=span.first, until=span.last))) as arrived:
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
            on_progress(Progress(batch[-1].sequence, span.last, events))
