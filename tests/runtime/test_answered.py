import asyncio

from roomledger.runtime.answered import REMEMBERED_S, Answered


async def answer() -> "asyncio.Future[object]":
    return asyncio.get_running_loop().create_future()


async def test_a_command_is_known_by_its_id() -> None:
    answered, given = Answered(), await answer()
    answered.remember("c1", given)
    assert answered.get("c1") is given
    assert answered.get("c2") is None


async def test_a_command_without_an_id_is_not_remembered() -> None:
    answered = Answered()
    answered.remember(None, await answer())
    assert answered.get(None) is None


async def test_an_answer_is_forgotten_after_ten_minutes() -> None:
    now = 0.0
    answered = Answered(clock=lambda: now)
    answered.remember("c1", await answer())
    now = REMEMBERED_S - 1
    answered.remember("c2", await answer())
    assert answered.get("c1") is not None
    now = REMEMBERED_S + 1
    answered.remember("c3", await answer())
    assert answered.get("c1") is None
    assert answered.get("c2") is not None


async def test_a_command_that_may_be_tried_again_is_forgotten() -> None:
    answered = Answered()
    answered.remember("c1", await answer())
    answered.forget("c1")
    assert answered.get("c1") is None


async def test_a_command_that_was_tried_again_keeps_its_new_answer_when_the_old_one_runs_out() -> None:
    now = 0.0
    answered, again = Answered(clock=lambda: now), await answer()
    answered.remember("c1", await answer())
    answered.forget("c1")
    now = REMEMBERED_S / 2
    answered.remember("c1", again)
    now = REMEMBERED_S + 1
    answered.remember("c2", await answer())
    assert answered.get("c1") is again
