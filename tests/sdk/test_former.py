import asyncio

import pytest

from roomledger.domain.errors import Code, Refusal
from roomledger.sdk.former import end_former
from roomledger_events.workers import WorkerInfo
from tests.support.cluster import TestCluster

INFO = WorkerInfo(ip="127.0.0.1", max_load=0.9)


async def test_the_tasks_of_the_former_one_are_freed(cluster: TestCluster) -> None:
    await cluster.manager()
    manager = cluster.cluster()
    await manager.join("portal", "p1", INFO)
    await manager.pick_up_tasks("p1", ("t1",))
    await end_former(manager, purpose="portal", worker="p1")
    with pytest.raises(Refusal) as refused:
        await manager.get_scheduled("portal", "t1")
    assert refused.value.code is Code.NO_SUCH_TASK


async def test_a_worker_of_another_purpose_is_left_alone(cluster: TestCluster) -> None:
    await cluster.manager()
    manager = cluster.cluster()
    await manager.join("sip", "p1", INFO)
    await end_former(manager, purpose="portal", worker="p1")
    assert await manager.get_workers("sip") == ("p1",)


async def test_it_waits_until_the_cluster_is_there(cluster: TestCluster) -> None:
    ending = asyncio.create_task(end_former(cluster.cluster(), purpose="portal", worker="p1"))
    await cluster.manager()
    async with asyncio.timeout(10):
        await ending
