import asyncio

from roomledger.runtime.ending import end


async def test_a_task_that_overhears_a_cancellation_is_ended_all_the_same() -> None:
    overheard = 0

    async def hard_of_hearing() -> None:
        nonlocal overheard
        while True:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                overheard += 1
                if overheard > 2:
                    raise

    task = asyncio.create_task(hard_of_hearing())
    await asyncio.sleep(0)
    await end(task)
    assert task.cancelled()


async def test_tasks_that_have_ended_or_never_were_are_no_trouble() -> None:
    async def fails() -> None:
        raise ZeroDivisionError

    task = asyncio.create_task(fails())
    await asyncio.sleep(0)
    await end(task, None)
    assert task.done()
