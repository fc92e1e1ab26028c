"""A worker on a real cluster: what it is told and what the cluster knows of it, whatever happens to them."""

import asyncio
import signal
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from roomledger.domain.errors import Code, Refusal
from roomledger.sdk import worker as worker_module
from roomledger.sdk.cluster import Cluster
from roomledger.sdk.worker import (
    BackInReach,
    DrainAsked,
    DrainEnded,
    Joined,
    Lost,
    MoveTasks,
    News,
    OutOfReach,
    Readiness,
    Rejoined,
    Worker,
)
from roomledger_events.subjects import Kind
from roomledger_events.workers import WorkerInfo
from tests.support.children import ROOT, child
from tests.support.cluster import TestCluster
from tests.support.nats import until

INFO = WorkerInfo(ip="127.0.0.1", max_load=0.9)
EXAMPLE = str(ROOT / "examples" / "worker.py")


async def told(worker: Worker, *kinds: type[News], seconds: float = 10) -> News:
    """Return the next news of one of these kinds."""
    async with asyncio.timeout(seconds):
        async for news in worker:
            if isinstance(news, kinds):
                return news
    raise AssertionError(f"{worker.id} has quit without being told one of {kinds}")


async def where(manager: Cluster, task: str) -> tuple[str, str] | Code:
    """Return a task's worker and state, or why there is none."""
    try:
        view = await manager.get_scheduled("portal", task)
    except Refusal as refusal:
        return refusal.code
    return view.worker, view.state


async def becomes(manager: Cluster, task: str, expected: Any) -> None:  # noqa: ANN401  - as `where`
    async def is_there() -> bool:
        return await where(manager, task) == expected

    await until(is_there, seconds=10)


def unstarted(cluster: TestCluster, worker: str = "w1", **changes: Any) -> Worker:  # noqa: ANN401  - arguments
    given = {"purpose": "portal", "worker": worker, "info": INFO, "load": lambda: 0.1} | changes
    return Worker(cluster.cluster(), **given)


# -- Its life


async def test_a_worker_can_be_given_tasks_as_soon_as_it_has_started(cluster: TestCluster) -> None:
    await cluster.manager()
    async with unstarted(cluster):
        assert (await cluster.cluster().schedule("portal", "t1")).worker == "w1"


async def test_a_worker_waits_for_a_cluster_that_does_not_answer_yet(cluster: TestCluster) -> None:
    starting = asyncio.create_task(cluster.worker("portal", "w1"))
    await cluster.manager()
    async with asyncio.timeout(10):
        worker = await starting
    assert await told(worker, Joined) == Joined()


async def test_an_id_that_another_purpose_has_ends_the_start(cluster: TestCluster) -> None:
    await cluster.manager()
    async with unstarted(cluster):
        with pytest.raises(Refusal) as refused:
            await unstarted(cluster, purpose="sip").start()
    assert refused.value.code is Code.INVALID_ARGUMENT


async def test_who_quits_is_unknown_and_its_iteration_ends(cluster: TestCluster) -> None:
    await cluster.manager()
    worker = await cluster.worker("portal", "w1")
    await worker.pick_up("t1")
    worker.quit()
    assert [news async for news in worker] == [Joined()]
    assert [news async for news in worker] == [], "whoever asks again is told the same"
    assert await where(cluster.cluster(), "t1") is Code.NO_SUCH_TASK
    assert await cluster.cluster().get_workers("portal") == ()


async def test_a_worker_whose_cluster_is_out_of_reach_stops_in_time(cluster: TestCluster) -> None:
    await cluster.manager()
    worker = await cluster.worker("portal", "w1")
    await cluster.server.stop()
    async with asyncio.timeout(4):
        await worker.stop()
    assert await told(worker, Joined) == Joined()
    await cluster.server.start()


async def test_a_worker_that_never_started_stops_at_once(cluster: TestCluster) -> None:
    worker = unstarted(cluster)
    await worker.stop()
    assert [news async for news in worker] == []


async def test_a_start_ends_when_the_worker_is_stopped(cluster: TestCluster) -> None:
    worker = unstarted(cluster)
    starting = asyncio.create_task(worker.start())
    await asyncio.sleep(0)
    await worker.stop()
    async with asyncio.timeout(1):
        await starting


# -- Tasks


async def test_a_task_runs_until_it_is_laid_down(cluster: TestCluster) -> None:
    await cluster.manager()
    manager, worker = cluster.cluster(), await cluster.worker("portal", "w1")
    await manager.schedule("portal", "t1")
    await worker.pick_up("t1")
    assert (await where(manager, "t1"), worker.tasks) == (("w1", "running"), ("t1",))
    await worker.lay_down("t1")
    assert (await where(manager, "t1"), worker.tasks) == (("w1", "reserved"), ())


async def test_a_task_that_is_rejected_can_be_placed_elsewhere(cluster: TestCluster) -> None:
    await cluster.manager()
    manager, worker = cluster.cluster(), await cluster.worker("portal", "w1")
    await manager.schedule("portal", "t1")
    await worker.reject("t1")
    assert await where(manager, "t1") is Code.NO_SUCH_TASK


async def test_what_is_no_task_is_refused(cluster: TestCluster) -> None:
    with pytest.raises(Refusal) as refused:
        await unstarted(cluster).pick_up("a b")
    assert refused.value.code is Code.INVALID_ARGUMENT


async def test_many_tasks_are_picked_up_side_by_side(cluster: TestCluster) -> None:
    await cluster.manager()
    manager, worker = cluster.cluster(), await cluster.worker("portal", "w1")
    tasks = [f"t{number}" for number in range(300)]
    await asyncio.gather(*map(worker.pick_up, tasks))
    assert sorted(await manager.get_tasks("w1")) == sorted(tasks)
    await asyncio.gather(*map(worker.lay_down, tasks))
    assert await manager.get_tasks("w1") == ()


# -- Load and state


async def test_the_load_is_reported_with_the_beats(cluster: TestCluster) -> None:
    await cluster.manager()
    loads = [0.2, 0.5]
    async with unstarted(cluster, load=lambda: loads.pop(0) if len(loads) > 1 else loads[0]):

        async def reported() -> bool:
            return (await cluster.cluster().get_worker("w1")).load == 0.5

        await until(reported)


@pytest.mark.parametrize(("load", "reported"), [(1.7, 1.0), (-0.1, 0.0), (1, 1.0)])
async def test_a_load_beyond_its_range_is_the_end_of_the_range(
    cluster: TestCluster, load: float, reported: float
) -> None:
    await cluster.manager()
    async with unstarted(cluster, load=lambda: load):
        assert (await cluster.cluster().get_worker("w1")).load == reported


async def test_a_load_that_cannot_be_measured_is_said_once_and_keeps_the_worker_alive(
    cluster: TestCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("roomledger.sdk.membership.BEAT_S", 0.05)
    await cluster.manager()
    asked = 0

    def load() -> float:
        nonlocal asked
        asked += 1
        return float("nan") if asked % 2 else 1 / 0

    with capture_logs() as lines:
        async with unstarted(cluster, load=load):
            await until(lambda: asked > 3)
            assert (await cluster.cluster().get_worker("w1")).load is None
    assert [line["worker"] for line in lines if line["log_level"] == "error"] == ["w1"]


async def test_a_worker_that_is_not_ready_gets_no_tasks(cluster: TestCluster) -> None:
    await cluster.manager()
    manager, worker = cluster.cluster(), await cluster.worker("portal", "w1")
    await worker.report_state(Readiness.INITIALIZING)
    with pytest.raises(Refusal) as refused:
        await manager.schedule("portal", "t1")
    assert refused.value.code is Code.ALL_IN_FULL_LOAD
    await worker.report_state(Readiness.READY)
    assert (await manager.schedule("portal", "t1")).worker == "w1"


# -- Draining


async def test_a_drain_is_told_with_its_time_and_what_is_to_be_moved_at_its_end(cluster: TestCluster) -> None:
    await cluster.manager()
    worker = await cluster.worker("portal", "w1")
    await worker.pick_up("t1")
    await cluster.cluster().drain("w1", 1500)
    asked = await told(worker, DrainAsked)
    assert isinstance(asked, DrainAsked)
    assert 0 < (asked.move_in_ms or 0) <= 1500
    assert worker.draining
    assert await told(worker, MoveTasks) == MoveTasks(("t1",))


async def test_a_drain_that_is_taken_back_is_told(cluster: TestCluster) -> None:
    await cluster.manager()
    manager, worker = cluster.cluster(), await cluster.worker("portal", "w1")
    await manager.drain("w1")
    assert await told(worker, DrainAsked) == DrainAsked(None)
    await manager.undrain("w1")
    assert await told(worker, DrainEnded) == DrainEnded()
    assert (await manager.schedule("portal", "t1")).worker == "w1"


async def test_a_worker_may_drain_itself(cluster: TestCluster) -> None:
    await cluster.manager()
    worker = await cluster.worker("portal", "w1")
    await worker.drain()
    assert (await cluster.cluster().get_worker("w1")).draining
    assert worker.draining
    with pytest.raises(Refusal) as refused:
        await worker.drain(2 * 24 * 3_600_000)
    assert refused.value.code is Code.INVALID_ARGUMENT


# -- Out of reach, and lost


async def test_a_worker_goes_on_while_the_cluster_is_out_of_reach_and_tells_it_all_afterwards(
    cluster: TestCluster,
) -> None:
    await cluster.manager()
    manager, worker = cluster.cluster(), await cluster.worker("portal", "w1")
    await asyncio.gather(worker.pick_up("t1"), worker.pick_up("t2"))
    await cluster.server.stop()
    assert isinstance(await told(worker, OutOfReach), OutOfReach)
    async with asyncio.timeout(1):
        await worker.lay_down("t1")
        await worker.pick_up("t3")
    assert worker.tasks == ("t2", "t3")
    await cluster.server.start()
    assert await told(worker, BackInReach, seconds=15) == BackInReach()
    await becomes(manager, "t1", ("w1", "reserved"))
    await becomes(manager, "t3", ("w1", "running"))
    assert await where(manager, "t2") == ("w1", "running")
    assert "WorkerLost" not in await cluster.types(Kind.SCHEDULER, "portal")


async def test_a_laying_down_that_meets_no_manager_is_delivered_to_the_next_one(cluster: TestCluster) -> None:
    first = await cluster.manager()
    worker = await cluster.worker("portal", "w1")
    await worker.pick_up("t1")
    await first.stop()
    laying_down = asyncio.create_task(worker.lay_down("t1"))
    await told(worker, OutOfReach)
    await cluster.manager()
    await becomes(cluster.cluster(), "t1", ("w1", "reserved"))
    await laying_down


async def test_a_worker_that_was_given_up_hands_its_tasks_back(cluster: TestCluster) -> None:
    await cluster.manager()
    manager, worker = cluster.cluster(), await cluster.worker("portal", "w1")
    await asyncio.gather(worker.pick_up("t1"), worker.pick_up("t2"))
    await manager.quit("w1")  # as the cluster sees it, it is gone
    assert await told(worker, Lost) == Lost()
    assert await told(worker, Rejoined) == Rejoined(("t1", "t2"))
    for task in worker.tasks:
        await becomes(manager, task, ("w1", "running"))


async def test_a_worker_hands_back_however_much_it_runs(cluster: TestCluster) -> None:
    await cluster.manager()
    manager, worker = cluster.cluster(), await cluster.worker("portal", "w1")
    tasks = [f"{number:064}" for number in range(1000)]
    await asyncio.gather(*map(worker.pick_up, tasks))
    await manager.quit("w1")
    await told(worker, Rejoined)

    async def has_all() -> bool:
        return len(await manager.get_tasks("w1")) == len(tasks)

    await until(has_all, seconds=10)


async def test_a_picking_up_that_meets_a_cluster_which_gave_the_worker_up_is_no_failure(
    cluster: TestCluster,
) -> None:
    await cluster.manager()
    manager, worker = cluster.cluster(), await cluster.worker("portal", "w1")
    await manager.quit("w1")
    await worker.pick_up("t1")
    await becomes(manager, "t1", ("w1", "running"))


async def test_a_worker_that_is_stopped_for_6_s_is_lost_comes_back_and_keeps_what_is_still_its_own(
    cluster: TestCluster, tmp_path: Path
) -> None:
    await cluster.manager()
    manager, broker = cluster.cluster(), cluster.access.broker
    async with child(cluster.server, tmp_path, EXAMPLE, "echo-1") as first:
        await first.line("Joined()")
        for task in ("kept", "taken"):
            await broker.request("rpc.echo.echo-1.start", b'{"task": "%s"}' % task.encode(), timeout=5)
        first.signal(signal.SIGSTOP)
        asleep = asyncio.create_task(asyncio.sleep(6))

        async def lost() -> bool:
            return await manager.get_workers("echo") == ()

        await until(lost, seconds=6)
        async with Worker(manager, purpose="echo", worker="echo-2", info=INFO, load=lambda: 0.1) as second:
            assert (await manager.schedule("echo", "taken")).worker == "echo-2"
            await second.pick_up("taken")
            await asleep
            first.signal(signal.SIGCONT)
            await first.line("Lost()")
            await first.line("Rejoined", "kept", "taken")
            await first.line("TaskReleased", "taken")
            assert (await manager.get_scheduled("echo", "kept")).worker == "echo-1"
            assert (await manager.get_scheduled("echo", "kept")).state == "running"
            assert (await manager.get_scheduled("echo", "taken")).worker == "echo-2"
            first.signal(signal.SIGTERM)
            assert (await first.end())[0] == 0
    types = await cluster.types(Kind.SCHEDULER, "echo")
    assert types.count("WorkerLost") == 1
    assert types.count("TaskReleased") == 1


# -- News


async def test_news_that_nobody_takes_does_not_fill_the_memory(
    cluster: TestCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_module, "WAITING", 2)
    await cluster.manager()
    manager, worker = cluster.cluster(), await cluster.worker("portal", "w1")
    with capture_logs() as lines:
        for _ in range(2):
            await manager.drain("w1")
            await until(lambda: worker.draining)
            await manager.undrain("w1")
            await until(lambda: not worker.draining)
    given_up = [line["given_up"] for line in lines if line["log_level"] == "error"]
    assert given_up[0] == "Joined()"
    assert len(given_up) == 3
    await worker.stop()
    assert [news async for news in worker] == [DrainEnded()]
