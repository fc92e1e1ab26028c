"""Which sequences a span of moments is of."""

from contextlib import aclosing
from datetime import datetime
from typing import NamedTuple

from roomledger.event_store.store import Head, ReadableLog
from roomledger.runtime.errors import NoSuchMoment
from roomledger_events.envelope import Commit
from roomledger_projections.projection import moment


class Span(NamedTuple):
    """A part of the log.

    Attributes:
        head: Where the log stands.
        first: The first sequence.
        last: The last one; before the first where nothing lies between.
    """

    head: Head
    first: int
    last: int


async def span(log: ReadableLog, start: int | datetime | None, end: int | datetime | None) -> Span:
    """Return the sequences from one moment to another, both included.

    Args:
        log: The log.
        start: A sequence, a time with its zone, or None for the beginning.
        end: Likewise, or None for where the log stands.

    Raises:
        NoSuchMoment: One of them lies beside the log, or the end before the start.
        EventStoreError: The log cannot be read.
    """
    head = await log.position()
    for wanted in (start, end):
        if isinstance(wanted, int) and not 1 <= wanted <= head.sequence:
            raise NoSuchMoment(f"the log holds the sequences 1 to {head.sequence}, not {wanted}")
    first = 1 if start is None else await _at_or_after(log, start, head)
    if isinstance(end, datetime):
        found = await _first_after(log, end, head)
        last = head.sequence if found is None else found.sequence - 1
    else:
        last = head.sequence if end is None else end
    if (start is not None or end is not None) and last < first:
        raise NoSuchMoment(f"the span ends at sequence {last}, before it begins at {first}")
    return Span(head, first, last)


async def _at_or_after(log: ReadableLog, start: int | datetime, head: Head) -> int:
    if isinstance(start, int):
        return start
    found = await _first_after(log, start, head, included=True)
    if found is None:
        raise NoSuchMoment(f"the log ends before {moment(start)}")
    return found.sequence


async def _first_after(
    log: ReadableLog, time: datetime, head: Head, *, included: bool = False
) -> Commit | None:
    """Return the first commit that was stored after a time; times grow with the sequences."""
    low, high, found = 1, head.sequence, None
    while low <= high:
        middle = (low + high) // 2
        commit = await _next(log, middle, high)
        if commit is None:
            high = middle - 1
        elif commit.time > time or (included and commit.time == time):
            found, high = commit, middle - 1
        else:
            low = commit.sequence + 1
    return found


async def _next(log: ReadableLog, start: int, end: int) -> Commit | None:
    async with aclosing(log.read(start=start, until=end)) as commits:
        async for commit in commits:
            return commit
    return None
