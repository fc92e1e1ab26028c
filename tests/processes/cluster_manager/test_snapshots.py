import asyncio

import msgspec
import pytest

from roomledger.domain.purpose import PurposeSettings
from roomledger.domain.scheduler import SCHEDULER
from roomledger.domain.scheduler_snapshot import freeze
from roomledger.processes.cluster_manager import manager as manager_module
from roomledger.processes.cluster_manager.snapshots import Snapshots, Taken
from roomledger_events.subjects import Boundary, Kind
from roomledger_events.workers import WorkerInfo, WorkerJoined
from tests.support.cluster import TestCluster, event
from tests.support.nats import until

SETTINGS = PurposeSettings.default("portal")
INFO = WorkerInfo(ip="127.0.0.1", max_load=0.9)


def taken(worker: str = "w1", settings: PurposeSettings = SETTINGS) -> Taken:
    decider = SCHEDULER(settings)
    joined = WorkerJoined(worker=worker, purpose="portal", info=INFO)
    return Taken(freeze(decider.evolve(decider.initial(), event(joined, worker))), 1, 1, {})


async def snapshots(cluster: TestCluster) -> Snapshots:
    access = await cluster.connect()
    joined = WorkerJoined(worker="w1", purpose="portal", info=INFO)
    if not (await access.store.position()).sequence:
        await access.store.append(Boundary(Kind.SCHEDULER, "portal"), [event(joined, "w1")], 0)
    return Snapshots(access.broker, access.store, bucket="ROOMLEDGER_SNAPSHOTS")


async def test_what_was_kept_is_there_again(cluster: TestCluster) -> None:
    kept = await snapshots(cluster)
    assert await kept.save(await kept.bookmark(), {"portal": taken()})
    found = await kept.load()
    assert found is not None
    purposes, sequence = found
    assert (list(purposes["portal"].state.workers), purposes["portal"].sequence, sequence) == (["w1"], 1, 1)


async def test_the_newest_one_counts(cluster: TestCluster) -> None:
    kept = await snapshots(cluster)
    for worker in ("w1", "w2", "w3"):
        assert await kept.save(await kept.bookmark(), {"portal": taken(worker)})
    found = await kept.load()
    assert found is not None
    assert list(found[0]["portal"].state.workers) == ["w3"]


async def test_where_there_is_none_the_log_is_read(cluster: TestCluster) -> None:
    assert await (await snapshots(cluster)).load() is None


async def test_one_of_another_log_is_not_used(cluster: TestCluster) -> None:
    kept = await snapshots(cluster)
    mark = await kept.bookmark()
    for wrong in (
        mark._replace(created="2020-01-01T00:00:00Z"),
        mark._replace(sequence=99),
        mark._replace(event="another"),
    ):
        assert await kept.save(wrong, {"portal": taken()})
        assert await kept.load() is None


async def test_one_of_another_version_is_not_used(cluster: TestCluster) -> None:
    kept = await snapshots(cluster)
    older = taken()
    older.state.version -= 1
    assert await kept.save(await kept.bookmark(), {"portal": older})
    assert await kept.load() is None


async def test_other_settings_count_from_the_next_take_over_on(cluster: TestCluster) -> None:
    first = await cluster.manager(manager_id="m1", scheduler={"portal": {"strategy": "last-used"}})
    for number in range(3):
        await cluster.worker("portal", f"w{number}")
    manager = cluster.cluster()
    before = [(await manager.schedule("portal", f"a{n}")).worker for n in range(3)]
    await first.stop()
    await cluster.manager(manager_id="m2", scheduler={"portal": {"strategy": "round-robin"}})
    after = [(await manager.schedule("portal", f"b{n}")).worker for n in range(3)]
    assert before == ["w0", "w0", "w0"]
    assert after == ["w1", "w2", "w0"]


async def test_one_that_is_broken_is_not_used(cluster: TestCluster) -> None:
    kept = await snapshots(cluster)
    store = await kept._open()
    for body in (b"", b"\xc1", msgspec.msgpack.encode({"bookmark": 1})):
        await store.put("cluster-manager", body)
        assert await kept.load() is None


async def test_a_manager_that_was_stopped_goes_on_from_its_snapshot(cluster: TestCluster) -> None:
    first = await cluster.manager(manager_id="m1")
    await cluster.worker("portal", "w1")
    manager = cluster.cluster()
    before = [await manager.schedule("portal", f"t{n}", reserve_ms=60_000) for n in range(20)]
    await first.stop()
    await cluster.manager(manager_id="m2")
    again = [await manager.get_scheduled("portal", f"t{n}") for n in range(20)]
    assert [each.worker for each in again] == [each.worker for each in before]
    assert [each.expires_at for each in again] == [each.expires_at for each in before]


async def test_what_a_snapshot_does_not_hold_is_read_from_the_log(cluster: TestCluster) -> None:
    first = await cluster.manager(manager_id="m1")
    await cluster.worker("portal", "w1")
    manager = cluster.cluster()
    await manager.schedule("portal", "before", reserve_ms=60_000)
    await first.stop()
    second = await cluster.manager(manager_id="m2")
    await manager.schedule("portal", "after", reserve_ms=60_000)
    assert second._running is not None
    second._running.cancel()  # as a crash does, it keeps no snapshot
    await until(second._running.done)
    await cluster.manager(manager_id="m2")
    for task in ("before", "after"):
        assert (await manager.get_scheduled("portal", task)).worker == "w1"


async def test_events_lead_to_a_snapshot_however_few_their_commits(
    cluster: TestCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manager_module, "EVERY_EVENTS", 100)
    monkeypatch.setattr(manager_module, "EVERY_S", 0.02)
    await cluster.manager()
    await cluster.worker("portal", "w1")
    caller = cluster.cluster()
    await asyncio.gather(*(caller.schedule("portal", f"t{n}", reserve_ms=60_000) for n in range(150)))
    access = await cluster.connect()
    assert (await access.store.position()).sequence < 100
    kept = Snapshots(access.broker, access.store, bucket="ROOMLEDGER_SNAPSHOTS")
    async with asyncio.timeout(10):
        while (found := await kept.load()) is None:  # noqa: ASYNC110  - the manager keeps it
            await asyncio.sleep(0.05)
    assert found[0]["portal"].state.tasks


async def test_a_manager_that_is_told_to_use_no_snapshot_reads_the_whole_log(cluster: TestCluster) -> None:
    kept = await snapshots(cluster)
    assert await kept.save(await kept.bookmark(), {"portal": taken("never-joined")})
    first = await cluster.manager(manager_id="m1", snapshots=False)
    assert await cluster.cluster().get_workers("portal") == ("w1",)
    await first.stop()


async def test_a_manager_takes_the_snapshot_for_what_the_log_led_to(cluster: TestCluster) -> None:
    kept = await snapshots(cluster)
    assert await kept.save(await kept.bookmark(), {"portal": taken("never-joined")})
    await cluster.manager(manager_id="m1")
    assert await cluster.cluster().get_workers("portal") == ("never-joined",)
