import asyncio

import pytest

from roomledger.runtime.pending import Pending


async def test_who_awaits_it_gets_the_value() -> None:
    pending: Pending[int] = Pending()
    waiting = asyncio.gather(pending, pending)
    await asyncio.sleep(0)
    pending.set_result(1)
    assert await waiting == [1, 1]
    assert await pending == 1


async def test_who_awaits_it_gets_the_error() -> None:
    pending: Pending[int] = Pending()
    pending.set_exception(KeyError("k"))
    with pytest.raises(KeyError):
        await pending
    assert isinstance(pending.exception(), KeyError)


async def test_those_who_wait_are_told_in_the_same_turn_of_the_loop() -> None:
    told: list[int] = []
    pending: Pending[int] = Pending()
    pending.add_done_callback(lambda known: told.append(known.result()))
    pending.add_done_callback(lambda known: told.append(-known.result()))
    pending.set_result(1)
    assert told == [1, -1]


async def test_who_comes_late_is_told_at_once() -> None:
    told: list[int] = []
    Pending.known(1).add_done_callback(lambda known: told.append(known.result()))
    assert told == [1]


async def test_nobody_wants_it_any_more_when_who_awaits_it_is_cancelled() -> None:
    pending: Pending[int] = Pending()
    waiting = asyncio.ensure_future(pending)
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert pending.cancelled()
    assert pending.done()


async def test_what_is_known_is_not_cancelled() -> None:
    pending = Pending.known(1)
    pending.cancel()
    assert not pending.cancelled()
    assert pending.result() == 1


async def test_an_error_told_to_many_does_not_gather_their_traces() -> None:
    pending: Pending[int] = Pending()
    pending.set_exception(KeyError("k"))
    depths = []
    for _ in range(2):
        with pytest.raises(KeyError) as caught:
            await pending
        depths.append(len(caught.traceback))
    assert depths[0] == depths[1]
