import asyncio
import itertools
from collections.abc import AsyncGenerator
from contextlib import aclosing

import msgspec

from roomledger.runtime.progress import Progress
from roomledger.runtime.slices import in_slices
from roomledger_events.envelope import Commit
from tests.support.commits import PORTAL, commit, joined_worker

MANY = 200_000
"""So many take far longer than one slice, on any machine."""


async def endless(closed: list[bool]) -> AsyncGenerator[Commit]:
    """Yield commits without ever waiting for anything."""
    one = commit(1, PORTAL, joined_worker("w1"))
    try:
        for sequence in itertools.count(1):
            yield msgspec.structs.replace(one, sequence=sequence)
    finally:
        closed.append(True)


async def counted(turns: list[int]) -> None:
    while True:
        turns.append(1)
        await asyncio.sleep(0)


async def test_others_have_turns_though_the_reader_never_waits() -> None:
    turns: list[int] = []
    others = asyncio.create_task(counted(turns))
    told: list[Progress] = []
    async with aclosing(in_slices(endless([]), MANY, told.append)) as commits:
        async for each in commits:
            if each.sequence == MANY:
                break
    others.cancel()
    assert len(turns) >= 10
    assert len(told) >= 10
    assert told[-1].sequence == told[-1].events < told[-1].last == MANY


async def test_who_stops_early_ends_the_reading() -> None:
    closed: list[bool] = []
    async with aclosing(in_slices(endless(closed), MANY)) as commits:
        async for _ in commits:
            break
    assert closed == [True]
