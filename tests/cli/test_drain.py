import asyncio

import pytest

from roomledger.domain.errors import Code, Refusal
from tests.support.cluster import TestCluster
from tests.support.commands import Command, json_lines
from tests.support.nats import until


async def test_a_worker_that_drains_gets_no_new_tasks_and_keeps_what_it_has(
    cluster: TestCluster, command: Command
) -> None:
    await cluster.manager()
    worker = await cluster.worker("portal", "w1")
    await worker.pick_up("t1")
    (told,) = json_lines(await command("drain", "w1", "--json"))
    assert (told["worker"], told["draining"], told["tasks"]) == ("w1", True, ["t1"])
    with pytest.raises(Refusal) as refused:
        await cluster.cluster().schedule("portal", "t2")
    assert refused.value.code is Code.ALL_IN_FULL_LOAD


async def test_a_worker_is_told_the_deadline(cluster: TestCluster, command: Command) -> None:
    await cluster.manager()
    await cluster.worker("portal", "w1")
    assert (await command("drain", "w1", "--deadline-ms", "60000")).exit_code == 0
    left = (await cluster.cluster().keep_alive("w1")).move_in_ms
    assert left is not None
    assert 50_000 < left <= 60_000


async def test_a_worker_that_is_taken_back_gets_new_tasks(cluster: TestCluster, command: Command) -> None:
    await cluster.manager()
    await cluster.worker("portal", "w1")
    await command("drain", "w1")
    (told,) = json_lines(await command("undrain", "w1", "--json"))
    assert not told["draining"]
    assert (await cluster.cluster().schedule("portal", "t1")).worker == "w1"


async def test_people_are_told_in_a_sentence(cluster: TestCluster, command: Command) -> None:
    await cluster.manager()
    worker = await cluster.worker("portal", "w1")
    await worker.pick_up("t1")
    drained = await command("drain", "w1")
    assert drained.stdout == "w1 gets no new tasks: it runs 1 and holds 0\n"
    assert (await command("undrain", "w1")).stdout == "w1 gets new tasks: it runs 1\n"


async def test_a_watch_ends_when_nothing_is_left(cluster: TestCluster, command: Command) -> None:
    await cluster.manager()
    worker = await cluster.worker("portal", "w1")
    await worker.pick_up("t1")
    watching = asyncio.create_task(command("drain", "w1", "--json", "--watch", "--every", "0.1"))
    await until(lambda: worker.draining)
    await worker.lay_down("t1")
    await cluster.cluster().unschedule("w1", "t1")
    lines = json_lines(await watching)
    assert (lines[0]["tasks"], lines[-1]["tasks"]) == (["t1"], [])


async def test_a_watch_ends_when_the_worker_is_gone(cluster: TestCluster, command: Command) -> None:
    await cluster.manager()
    worker = await cluster.worker("portal", "w1")
    await worker.pick_up("t1")
    watching = asyncio.create_task(command("drain", "w1", "--json", "--watch", "--every", "0.1"))
    await until(lambda: worker.draining)
    await worker.stop()
    assert json_lines(await watching)[-1] == {"worker": "w1", "gone": True}


@pytest.mark.parametrize("order", ["drain", "undrain"])
async def test_a_worker_that_is_not_known_is_refused(
    cluster: TestCluster, command: Command, order: str
) -> None:
    await cluster.manager()
    result = await command(order, "nobody")
    assert result.exit_code == 1
    assert isinstance(result.exception, Refusal)
    assert result.exception.code is Code.NO_SUCH_WORKER


async def test_a_deadline_that_is_none_is_a_wrong_option(command: Command) -> None:
    assert (await command("drain", "w1", "--deadline-ms", "0")).exit_code == 2
