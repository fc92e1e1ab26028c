import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

import pytest

from roomledger.event_store.errors import LogUnavailable
from roomledger.runtime.arrivals import BATCH_EVENTS, batches
from roomledger_events.envelope import Commit
from tests.support.commits import PORTAL, commit, joined_worker

COMMITS = [commit(sequence, PORTAL, joined_worker("w1")) for sequence in range(1, 4)]


async def test_what_has_arrived_comes_at_once_and_what_comes_later_comes_later() -> None:
    later = asyncio.Event()

    async def arriving() -> AsyncGenerator[Commit]:
        yield COMMITS[0]
        yield COMMITS[1]
        await later.wait()
        yield COMMITS[2]

    async with aclosing(batches(arriving())) as found:
        assert await anext(found) == COMMITS[:2]
        later.set()
        assert await anext(found) == COMMITS[2:]
        with pytest.raises(StopAsyncIteration):
            await anext(found)


async def test_what_arrived_before_a_failure_comes_before_it() -> None:
    async def failing() -> AsyncGenerator[Commit]:
        yield COMMITS[0]
        raise LogUnavailable("reading")

    found = batches(failing())
    assert await anext(found) == COMMITS[:1]
    with pytest.raises(LogUnavailable):
        await anext(found)


async def test_a_batch_ends_when_it_is_large_enough() -> None:
    large = commit(1, PORTAL, *(joined_worker("w1") for _ in range(BATCH_EVENTS)))

    async def arriving() -> AsyncGenerator[Commit]:
        yield large
        yield large

    assert [batch async for batch in batches(arriving())] == [[large], [large]]


async def test_a_slow_taker_holds_the_reader_up_instead_of_the_memory() -> None:
    read = 0

    async def endless() -> AsyncGenerator[Commit]:
        nonlocal read
        while True:
            read += 1
            yield COMMITS[0]

    async with aclosing(batches(endless())) as found:
        await anext(found)
        for _ in range(10):
            await asyncio.sleep(0)
        assert read <= 3 * BATCH_EVENTS


async def test_closing_it_closes_the_reader() -> None:
    closed = asyncio.Event()

    async def arriving() -> AsyncGenerator[Commit]:
        try:
            yield COMMITS[0]
            await asyncio.Event().wait()
        finally:
            closed.set()

    found = batches(arriving())
    await anext(found)
    await found.aclose()
    assert closed.is_set()
