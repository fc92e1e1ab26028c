import asyncio
import contextlib
import json
import random
import signal
import sys
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from roomledger.domain.errors import Refusal
from roomledger.runtime.calls import RequestMeta
from roomledger_events.identifiers import new_id
from roomledger_events.subjects import Boundary, Kind
from tests.support.nats import NatsServer, until
from tests.support.takeover import KILL, PAUSE, PURPOSE, STOP, Access, disturbed, managed, three_servers
from tests.support.waiting_tasks import burst, outlive

KILL_BAR_S, STOP_BAR_S, EXPIRY_BAR_S = 3.0, 0.5, 0.5
SETTINGS: dict[str, dict[str, object]] = {"default": {"lease_ms": 3_600_000, "task_load": 0.0}}


def access(server: NatsServer) -> Access:
    return Access(server.url, server.credentials["service"])


async def test_whatever_befalls_the_active_manager_every_caller_is_told_what_is_in_the_log(
    nats_server: NatsServer, tmp_path: Path
) -> None:
    seen = await disturbed(access(nats_server), tmp_path, SETTINGS, tasks=300, rounds=1, kinds=(KILL, STOP))
    assert (seen.answers, seen.taken_over) == (600, 3)
    assert max(seen.gaps(KILL)) < KILL_BAR_S
    assert max(seen.gaps(STOP)) < STOP_BAR_S


@pytest.mark.chaos
@pytest.mark.parametrize("servers", [1, 3])
async def test_whatever_befalls_the_active_manager_again_and_again_no_answer_is_wrong(
    nats_server: NatsServer, tmp_path: Path, capsys: pytest.CaptureFixture[str], servers: int
) -> None:
    async with AsyncExitStack() as stack:
        three = tmp_path / "three"
        three.mkdir()
        where = access(nats_server) if servers == 1 else await stack.enter_async_context(three_servers(three))
        kinds = (KILL, STOP, PAUSE)
        seen = await disturbed(where, tmp_path, SETTINGS, tasks=5_000, rounds=3, kinds=kinds)
    longest = {kind: max(seen.gaps(kind)) for kind in kinds}
    with capsys.disabled():
        told = ", ".join(f"{seconds:.2f} s after a {kind}" for kind, seconds in longest.items())
        sys.stdout.write(f"\nlongest time without an answer, nats-servers: {servers}: {told}\n")
    assert seen.answers == 10_000
    assert seen.taken_over >= 1 + 3 * len(kinds)
    assert longest[KILL] < KILL_BAR_S
    assert longest[STOP] < STOP_BAR_S


async def test_reservations_run_out_at_their_time_though_all_managers_were_killed(
    nats_server: NatsServer, tmp_path: Path
) -> None:
    await reservations_outlive(nats_server, tmp_path, count=200, spread_s=2)


@pytest.mark.chaos
async def test_ten_thousand_reservations_run_out_at_their_time_though_all_managers_were_killed(
    nats_server: NatsServer, tmp_path: Path
) -> None:
    await reservations_outlive(nats_server, tmp_path, count=10_000, spread_s=20)


async def reservations_outlive(server: NatsServer, path: Path, *, count: int, spread_s: float) -> None:
    outlived = await outlive(access(server), path, count=count, spread_s=spread_s, managers=2)
    assert outlived.never == 0
    assert len(outlived.late) == count
    assert min(outlived.late) >= 0
    assert max(outlived.late) < EXPIRY_BAR_S
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
    settings: dict[str, dict[str, object]] = {
        "default": SETTINGS["default"] | {"strategy": "least-used", "task_load": 0.005}
    }
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
