from datetime import UTC, datetime, timedelta
from pathlib import Path

from roomledger.domain.checking_tasks import Claim
from roomledger.domain.purpose import PurposeSettings
from roomledger.event_store.memory import MemoryStore
from roomledger.runtime.progress import Progress
from roomledger.runtime.projector import Projector
from roomledger.runtime.verifying import KEPT, Report, verified
from roomledger_events.subjects import Boundary, Kind
from roomledger_events.tasks import TaskPickedUp
from roomledger_projections import PROJECTIONS
from tests.support.cluster import TestCluster, event

INFO = PurposeSettings.default


async def seen(cluster: TestCluster, directory: Path, **wanted: object) -> Report:
    """Verify the cluster's log with projections that have caught up."""
    projector = Projector(cluster.access.store, directory)
    await projector.start()
    await projector.caught_up((await cluster.access.store.position()).sequence)
    await projector.stop()
    return await verified(cluster.access.store, INFO, directory=directory, **wanted)  # type: ignore[arg-type]


async def busy(cluster: TestCluster) -> None:
    """Let a manager decide a few things."""
    await cluster.manager(manager_id="m1")
    manager = cluster.cluster()
    for worker in ("w1", "w2"):
        await cluster.worker("portal", worker)
    for number in range(5):
        await manager.schedule("portal", f"t{number}")
    await manager.pick_up_tasks("w1", ["t0", "t1"])
    await manager.drain("w1")
    await manager.schedule("portal", "t4")


async def test_a_cluster_that_works_is_fine(cluster: TestCluster, tmp_path: Path) -> None:
    await busy(cluster)
    told = await cluster.cluster().digest()
    claims = [
        Claim(told.manager, purpose, each.sequence, each.digest) for purpose, each in told.purposes.items()
    ]
    progress: list[Progress] = []
    earlier = datetime.now(UTC) - timedelta(minutes=10)
    report = await seen(
        cluster, tmp_path, claims=claims, expired_before=lambda: earlier, on_progress=progress.append
    )
    assert (report.wrong, report.findings, report.notes) == (0, [], [])
    figures = report.figures
    assert (figures["decisions"], figures["decisions that agree"], figures["states compared"]) == (6, 6, 1)
    assert figures["projections"] == len(PROJECTIONS)
    assert (progress[-1].sequence, progress[-1].events) == (report.sequence, report.events)


async def test_what_somebody_else_writes_into_the_log_is_named(cluster: TestCluster, tmp_path: Path) -> None:
    await busy(cluster)
    boundary = Boundary(Kind.SCHEDULER, "portal")
    last = max(commit.sequence for commit in await cluster.commits() if commit.boundary == boundary)
    planted = event(TaskPickedUp(task="t0", worker="w2"), "t0")
    sequence = await cluster.access.store.append(boundary, [planted], last)
    report = await seen(cluster, tmp_path)
    assert [(each.check, each.sequence) for each in report.findings] == [("tasks", sequence)] * 2
    assert "w2 picks it up while w1 has it: two workers at once" in [each.message for each in report.findings]


async def test_a_manager_that_knows_something_else_is_named(cluster: TestCluster, tmp_path: Path) -> None:
    await busy(cluster)
    told = (await cluster.cluster().digest()).purposes["portal"]
    stale = Claim("m0", "portal", told.sequence - 1, told.digest)
    report = await seen(cluster, tmp_path, claims=[stale])
    assert [each.check for each in report.findings] == ["states"]


async def test_a_claim_is_compared_at_its_own_sequence(cluster: TestCluster, tmp_path: Path) -> None:
    manager = await cluster.manager(manager_id="m1")
    await cluster.worker("portal", "w1")
    before = (await cluster.cluster().digest()).purposes["portal"]
    await cluster.cluster().schedule("portal", "t1")
    assert manager.active.is_set()
    claim = Claim("m1", "portal", before.sequence, before.digest)
    assert (await seen(cluster, tmp_path, claims=[claim])).findings == []


async def test_findings_without_end_are_counted_and_the_first_are_kept() -> None:
    store = MemoryStore()
    boundary = Boundary(Kind.SCHEDULER, "portal")
    for start in range(0, KEPT, 100):
        planted = [event(TaskPickedUp(task=f"t{start + n}", worker="w1"), "t") for n in range(100)]
        await store.append(boundary, planted, start // 100)
    report = await verified(store, INFO)
    assert report.wrong == 2 * KEPT
    assert len(report.findings) == KEPT
