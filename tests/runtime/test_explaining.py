import asyncio
from collections.abc import Sequence

import msgspec
import pytest

from roomledger.domain.errors import Code, Refusal
from roomledger.domain.explanation import Explanation
from roomledger.domain.membership import ReportLoad
from roomledger.domain.placement import Schedule
from roomledger.domain.purpose import PurposeSettings, StrategyName
from roomledger.event_store.memory import MemoryStore
from roomledger.runtime.explaining import explained
from roomledger_events.envelope import Commit, Payload, encode
from roomledger_events.tasks import Preference, WorkerReserved
from roomledger_events.workers import Capacity, WorkerInfo
from tests.support.cluster import TestCluster
from tests.support.decided import PurposeLog, tampered

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


def twice(data: Payload) -> Payload | None:
    """Make the reservation of one task another one of the first."""
    if isinstance(data, WorkerReserved) and data.task == "t2":
        return msgspec.structs.replace(data, task="t1", worker="w2")
    return None


async def explained_in_memory(commits: Sequence[Commit], task: str) -> Explanation:
    store = MemoryStore()
    for each in commits:
        store.put(each.boundary, encode(each.events))
    return await explained(store, PurposeSettings("sip", "least-used"), task)


async def test_that_a_task_has_two_workers_is_said_of_it() -> None:
    log = PurposeLog(PurposeSettings("sip", "least-used")).workers("w1", "w2")
    log.do(Schedule("t1")).do(Schedule("t2")).do(Schedule("t3"))
    planted = tampered(log.commits, twice)
    told = await explained_in_memory(planted, "t1")
    (finding,) = told.findings
    assert (finding.about, finding.sequence) == ("t1", planted[-2].sequence)
    assert finding.message == "it is given to w2 while w1 has it: two workers at once"
    assert (told.agrees, told.worker) == (False, "w2")
    assert (await explained_in_memory(planted, "t3")).findings == ()
    assert (await explained_in_memory(log.commits, "t1")).findings == ()


async def test_that_a_decision_did_not_take_in_what_stood_before_it_is_said() -> None:
    log = PurposeLog(PurposeSettings("sip", "least-used")).workers("w1").do(Schedule("t1"))

    def earlier(data: Payload) -> Payload | None:
        if not isinstance(data, WorkerReserved):
            return None
        return msgspec.structs.replace(data, basis=msgspec.structs.replace(data.basis, sequence=1))

    (finding,) = (await explained_in_memory(tampered(log.commits, earlier), "t1")).findings
    assert finding.message == "it was decided on what was known up to 1, and 2 stands before it"


async def test_others_have_turns_while_a_long_log_is_gone_through() -> None:
    log = PurposeLog(PurposeSettings("sip", "least-used")).workers("w1", "w2").do(Schedule("t1"))
    for number in range(2_000):
        log.do(ReportLoad(f"w{number % 2 + 1}", number % 9 / 10))
    turns: list[int] = []

    async def others() -> None:
        while True:
            turns.append(1)
            await asyncio.sleep(0)

    deciding = asyncio.create_task(others())
    assert (await explained_in_memory(log.commits, "t1")).agrees
    deciding.cancel()
    assert len(turns) >= 5
