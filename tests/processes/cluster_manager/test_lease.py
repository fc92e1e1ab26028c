import asyncio

from roomledger.processes.cluster_manager.lease import TTL_S, Lease
from tests.support.cluster import TestCluster


async def lease(cluster: TestCluster, holder: str) -> Lease:
    access = await cluster.connect()
    made = Lease(access.broker, bucket="ROOMLEDGER_LEASES", holder=holder)
    await made.prepare()
    return made


async def test_one_of_many_gets_it(cluster: TestCluster) -> None:
    leases = [await lease(cluster, f"m{n}") for n in range(5)]
    waiting = [asyncio.create_task(each.acquire()) for each in leases]
    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    holding = [
        asyncio.create_task(each.hold()) for each, won in zip(leases, waiting, strict=True) if won.done()
    ]
    _, still = await asyncio.wait(waiting, timeout=4)
    assert len(still) == 4, "as long as one holds it no other gets it"
    for task in (*waiting, *holding):
        task.cancel()


async def test_who_held_it_before_a_restart_goes_on_with_it_at_once(cluster: TestCluster) -> None:
    await (await lease(cluster, "m1")).acquire()
    async with asyncio.timeout(1):
        await (await lease(cluster, "m1")).acquire()


async def test_it_runs_out_when_it_is_not_renewed(cluster: TestCluster) -> None:
    await (await lease(cluster, "m1")).acquire()
    async with asyncio.timeout(6):
        await (await lease(cluster, "m2")).acquire()


async def test_it_is_free_soon_after_its_holder_is_disconnected(cluster: TestCluster) -> None:
    access = await cluster.connect()
    gone = Lease(access.broker, bucket="ROOMLEDGER_LEASES", holder="m1")
    await gone.prepare()
    await gone.acquire()
    waiting = asyncio.create_task((await lease(cluster, "m2")).acquire())
    await access.close()
    async with asyncio.timeout(TTL_S - 1):
        await waiting


async def test_a_holder_that_is_connected_again_at_once_keeps_it(cluster: TestCluster) -> None:
    first, second = await lease(cluster, "m1"), await lease(cluster, "m2")
    await first.acquire()
    holding, waiting = asyncio.create_task(first.hold()), asyncio.create_task(second.acquire())
    await cluster.server.restart()
    await asyncio.wait({holding, waiting}, timeout=2)
    assert not waiting.done()
    for task in (holding, waiting):
        task.cancel()


async def test_when_it_is_given_up_the_next_one_has_it_before_it_would_run_out(cluster: TestCluster) -> None:
    first, second = await lease(cluster, "m1"), await lease(cluster, "m2")
    await first.acquire()
    waiting = asyncio.create_task(second.acquire())
    await first.release()
    async with asyncio.timeout(1):
        await waiting


async def test_who_lost_it_is_told(cluster: TestCluster) -> None:
    first, second = await lease(cluster, "m1"), await lease(cluster, "m2")
    await first.acquire()
    await first.release()
    await second.acquire()
    async with asyncio.timeout(5):
        await first.hold()


async def test_it_is_held_over_a_restart_of_the_server(cluster: TestCluster) -> None:
    first = await lease(cluster, "m1")
    await first.acquire()
    holding = asyncio.create_task(first.hold())
    await cluster.server.restart()
    _, still = await asyncio.wait({holding}, timeout=5)
    assert still
    holding.cancel()
