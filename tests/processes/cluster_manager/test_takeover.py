import asyncio
import contextlib
import json
import random
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

from roomledger.domain.errors import Refusal
from roomledger.runtime.calls import RequestMeta
from roomledger_events.identifiers import new_id
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


async def test_the_first_answer_is_given_again_though_who_gave_it_was_killed(
    nats_server: NatsServer, tmp_path: Path
) -> None:
    async with managed(access(nats_server), tmp_path, SETTINGS, count=2) as cluster:
        await cluster.join(PURPOSE, ("w0", "w1", "w2"))
        watching = asyncio.create_task(cluster.watch())
        await until(lambda: bool(cluster.taken_over))
        asked = {f"t{number}": RequestMeta(command=new_id()) for number in range(100)}
        first = {
            task: await cluster.calls.schedule(PURPOSE, task, reserve_ms=60_000, meta=meta)
            for task, meta in asked.items()
        }
        await cluster.managers.end(cluster.active, signal.SIGKILL)
        await until(lambda: len(cluster.taken_over) > 1, seconds=10)
        again = {
            task: await cluster.calls.schedule(PURPOSE, task, reserve_ms=90_000, meta=meta)
            for task, meta in asked.items()
        }
        watching.cancel()
        assert again == first
        types = [
            event.type
            for commit in await cluster.commits(Boundary(Kind.SCHEDULER, PURPOSE))
            for event in commit.events
        ]
        assert (types.count("WorkerReserved"), types.count("ReservationExtended")) == (100, 0)


async def test_a_burst_is_spread_though_the_workers_report_what_they_had_long_before(
    nats_server: NatsServer, tmp_path: Path
) -> None:
    settings: dict[str, dict[str, object]] = {"default": {"strategy": "least-used"} | SETTINGS["default"]}
    async with managed(access(nats_server), tmp_path, settings, count=1) as cluster:
        given = await burst(
            cluster,
            purpose="burst",
            workers=12,
            tasks=500,
            seconds=2,
            jitter=random.Random(),  # noqa: S311  - no secret
        )
    assert sum(given) == 500
    assert max(given) <= 1.2 * 500 / 12


async def test_a_manager_that_was_halted_says_nothing_that_is_not_so_any_more(
    nats_server: NatsServer, tmp_path: Path
) -> None:
    async with managed(access(nats_server), tmp_path, SETTINGS, count=2) as cluster:
        await cluster.join(PURPOSE, ("w0", "w1"))
        await cluster.calls.schedule(PURPOSE, "t1")
        await cluster.calls.pick_up_tasks("w0", ("t1",))
        watching = asyncio.create_task(cluster.watch())
        await until(lambda: bool(cluster.taken_over))
        halted = cluster.managers.running[cluster.active]
        halted.send(signal.SIGSTOP)
        await until(lambda: len(cluster.taken_over) > 1, seconds=10)
        await asked_until_done(lambda: cluster.calls.quit("w0"))
        await asked_until_done(lambda: cluster.calls.schedule(PURPOSE, "t1"))
        broker = await nats_server.connect()
        body = json.dumps({"purpose": PURPOSE, "task": "t1"}).encode()
        asking = [
            asyncio.create_task(broker.request("rpc.cluster.get_scheduled", body, timeout=20))
            for _ in range(20)
        ]
        await until(lambda: any(task.done() for task in asking), seconds=10)
        assert not all(task.done() for task in asking), "the halted one has some of them"
        halted.send(signal.SIGCONT)
        told = [json.loads((await task).data) for task in asking]
        watching.cancel()
        assert {answer.get("worker") or answer["code"] for answer in told} <= {"w1", "not_ready"}


async def asked_until_done(ask: Callable[[], Awaitable[object]]) -> None:
    """Ask again while requests may still meet a manager that is halted."""
    while True:
        with contextlib.suppress(Refusal):
            await ask()
            return
