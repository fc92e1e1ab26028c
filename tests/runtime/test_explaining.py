import pytest

from roomledger.domain.errors import Code, Refusal
from roomledger.domain.purpose import PurposeSettings, StrategyName
from roomledger.runtime.explaining import explained
from roomledger_events.tasks import Preference
from roomledger_events.workers import Capacity, WorkerInfo
from tests.support.cluster import TestCluster

INFO = WorkerInfo(ip="127.0.0.1", max_load=0.9)


def serving(*isps: str, region: str | None = None) -> WorkerInfo:
    regions = () if region is None else (region,)
    return WorkerInfo(ip="127.0.0.1", max_load=0.9, capacity=Capacity(isps=isps, regions=regions))


async def test_each_worker_has_its_reason(cluster: TestCluster) -> None:
    await cluster.manager(scheduler={"portal": {"strategy": "least-used"}})
    manager = cluster.cluster()
    for worker, info, load in (
        ("busy", serving(), 0.5),
        ("idle", serving(), 0.1),
        ("full", serving(), 0.95),
        ("elsewhere", serving("b"), 0.0),
        ("silent", serving(), None),
    ):
        await manager.join("portal", worker, info)
        if load is not None:
            await manager.report_load(worker, load)
    await manager.schedule("portal", "t0", Preference(isp="a"))
    await manager.schedule("portal", "t1", Preference(isp="a"))
    told = await explained(cluster.access.store, PurposeSettings("portal", "least-used"), "t1")
    assert (told.worker, told.computed, told.agrees) == ("idle", "idle", True)
    reasons = {each.worker: each.refused_by for each in told.candidates}
    assert reasons == {
        "busy": None,
        "idle": None,
        "full": "full_load",
        "elsewhere": "isp",
        "silent": "not_reported",
    }
    idle = told.candidates[1]
    assert (idle.rank, idle.load, idle.reservations, idle.effective_load) == (1, 0.1, 1, 0.105)


async def test_a_wish_that_another_one_serves_is_a_reason(cluster: TestCluster) -> None:
    await cluster.manager()
    manager = cluster.cluster()
    for worker, region in (("north", "n"), ("south", "s")):
        await manager.join("portal", worker, serving("a", region=region))
        await manager.report_load(worker, 0.1)
    await manager.schedule("portal", "t1", Preference(isp="a", region="s"))
    told = await explained(cluster.access.store, PurposeSettings.default("portal"), "t1")
    assert [each.refused_by for each in told.candidates] == ["region", None]


async def test_a_refusal_is_explained_too(cluster: TestCluster) -> None:
    await cluster.manager()
    manager = cluster.cluster()
    await manager.join("portal", "w1", serving("b"))
    await manager.report_load("w1", 0.1)
    with pytest.raises(Refusal):
        await manager.schedule("portal", "t1", Preference(isp="a"))
    told = await explained(cluster.access.store, PurposeSettings.default("portal"), "t1")
    assert (told.worker, told.reason, told.agrees) == (None, "no_match", True)


@pytest.mark.parametrize("strategy", list(StrategyName))
async def test_every_decision_is_what_its_explanation_computes(
    cluster: TestCluster, strategy: StrategyName
) -> None:
    await cluster.manager(scheduler={"portal": {"strategy": strategy.value}})
    manager = cluster.cluster()
    for number in range(5):
        await manager.join("portal", f"w{number}", INFO)
        await manager.report_load(f"w{number}", number / 10)
    for number in range(12):
        await manager.schedule("portal", f"t{number}", Preference(region=f"r{number % 2}"))
    for number in range(12):
        settings = PurposeSettings("portal", strategy)
        assert (await explained(cluster.access.store, settings, f"t{number}")).agrees


async def test_a_task_that_was_never_asked_for_is_not_known(cluster: TestCluster) -> None:
    with pytest.raises(Refusal) as refused:
        await explained(cluster.access.store, PurposeSettings.default("portal"), "t1")
    assert refused.value.code is Code.NO_SUCH_TASK
