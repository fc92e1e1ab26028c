import asyncio
from pathlib import Path

from roomledger_events.subjects import Boundary, Kind
from tests.support.nats import NatsServer, until
from tests.support.takeover import KILL, PAUSE, PURPOSE, STOP, Access, Callers, check, disturb, managed
from tests.support.waiting_tasks import burst, outlive

SETTINGS: dict[str, dict[str, object]] = {"default": {"lease_ms": 3_600_000}}


def access(server: NatsServer) -> Access:
    return Access(server.url, server.credentials["service"])


async def test_whatever_befalls_the_active_manager_every_caller_is_told_what_is_in_the_log(
    nats_server: NatsServer, tmp_path: Path
) -> None:
    async with managed(access(nats_server), tmp_path, SETTINGS) as cluster:
        await cluster.join(PURPOSE, (f"w{number}" for number in range(10)))
        watching = asyncio.create_task(cluster.watch())
        await until(lambda: bool(cluster.taken_over))
        callers = Callers(cluster.access, tasks=600, clients=64, seconds=45)
        calling = asyncio.create_task(callers.run())
        await until(lambda: len(callers.answers) > 20)
        faults = await disturb(cluster, callers, (KILL, PAUSE, STOP))
        callers.hurry.set()
        await calling
        watching.cancel()
        check(await cluster.commits(Boundary(Kind.SCHEDULER, PURPOSE)), callers.answers)
        assert len(callers.answers) == 1200
        assert len(cluster.taken_over) >= 4
        longest = {fault.kind: fault.gap for fault in faults}
        assert longest[KILL] < 3
        assert longest[STOP] < 0.5


async def test_reservations_run_out_at_their_time_though_all_managers_were_killed(
    nats_server: NatsServer, tmp_path: Path
) -> None:
    outlived = await outlive(access(nats_server), tmp_path, count=300, spread_s=3, managers=2)
    assert outlived.never == 0
    assert len(outlived.late) == 300
    assert min(outlived.late) >= 0
    assert max(outlived.late) < 0.5
    assert outlived.picks == outlived.foretold


async def test_a_burst_is_spread_though_the_workers_report_what_they_had_long_before(
    nats_server: NatsServer, tmp_path: Path
) -> None:
    settings: dict[str, dict[str, object]] = {"video": {"strategy": "least-used", "lease_ms": 3_600_000}}
    async with managed(access(nats_server), tmp_path, settings, count=1) as cluster:
        given = await burst(cluster, purpose="video", workers=12, tasks=500, seconds=2, jitter=None)
    assert sum(given) == 500
    assert max(given) <= 1.2 * 500 / 12
