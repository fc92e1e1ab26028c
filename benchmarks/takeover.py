"""What callers notice of managers that are killed, halted and stopped, and what outlives them.

Every answer is held against the log; whatever does not agree ends the benchmark with an error.
"""

import argparse
import asyncio
import json
import random
import signal
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from benchmarks.callers import Callers as LeanCallers
from benchmarks.figures import percentile, report, server
from tests.support.takeover import KILL, PAUSE, PURPOSE, STOP, Access, disturbed, managed, three_servers
from tests.support.waiting_tasks import LEASE_MS, burst, outlive

SETTINGS: dict[str, dict[str, object]] = {"default": {"lease_ms": LEASE_MS, "task_load": 0.0}}
BARS = {KILL: 3.0, STOP: 0.5}


@asynccontextmanager
async def one() -> AsyncIterator[tuple[Access, Path]]:
    """Run one nats-server."""
    async with server() as (nats, path):
        yield Access(nats.url, nats.credentials["service"]), path


@asynccontextmanager
async def three() -> AsyncIterator[tuple[Access, Path]]:
    """Run a cluster of three."""
    with tempfile.TemporaryDirectory(prefix="roomledger-benchmark-") as name:
        path = Path(name)
        async with three_servers(path) as access:
            yield access, path


async def faults(servers: int, tasks: int, rounds: int) -> list[dict[str, object]]:
    """Disturb the active manager again and again under 64 clients; return a row for each kind of fault."""
    kinds = (KILL, STOP, PAUSE)
    async with one() if servers == 1 else three() as (access, path):
        seen = await disturbed(access, path, SETTINGS, tasks=tasks, rounds=rounds, kinds=kinds)
    return [
        {
            "nats-servers": servers,
            "fault": kind,
            "times": len(gaps),
            "longest gap s": max(gaps),
            "median gap s": percentile(gaps, 0.5),
            "bar s": BARS.get(kind, ""),
            "answers checked": seen.answers,
            "take-overs": seen.taken_over,
        }
        for kind in kinds
        if (gaps := seen.gaps(kind))
    ]


async def waiting(count: int) -> dict[str, object]:
    """Kill all managers over so many reservations."""
    async with one() as (access, path):
        outlived = await outlive(access, path, count=count, spread_s=20)
    return {
        "reservations": count,
        "ran out": len(outlived.late),
        "before managers were back": outlived.overdue,
        "never": outlived.never,
        "earliest s": min(outlived.late),
        "latest s": max(outlived.late),
        "bar s": 0.5,
        "next picks as foretold": outlived.picks == outlived.foretold,
    }


async def bursts(seeds: int) -> list[dict[str, object]]:
    """Ask for 500 tasks in 2 s of 12 workers that report what they had long before, at different moments."""
    settings: dict[str, dict[str, object]] = {
        "default": {"strategy": "least-used", "lease_ms": LEASE_MS},
    }
    rows: list[dict[str, object]] = []
    async with one() as (access, path), managed(access, path, settings, count=1) as cluster:
        for seed in range(seeds + 1):
            jitter = random.Random(seed) if seed else None  # noqa: S311  - no secret
            given = await burst(
                cluster, purpose=f"burst{seed}", workers=12, tasks=500, seconds=2, jitter=jitter
            )
            share = max(given) / (sum(given) / len(given))
            reports = f"at random ({seed})" if seed else "in turns"
            rows.append({"reports": reports, "largest / mean": share, "bar": 1.2})
    return rows


async def ready_again(events: int) -> dict[str, object]:
    """Kill a manager over a log of so many events, and return how long until it decides again."""
    async with one() as (access, path), managed(access, path, SETTINGS, count=1) as cluster:
        await cluster.join(PURPOSE, (f"w{number}" for number in range(10)))
        callers = await LeanCallers.connect(access.url, "service", access.password)
        body = {"purpose": PURPOSE, "reserve_ms": LEASE_MS}
        await callers.run(
            [
                (b"rpc.cluster.schedule", json.dumps(body | {"task": f"t{number}"}).encode())
                for number in range(events)
            ],
            256,
        )
        assert not callers.failures, callers.failures[0]
        await cluster.managers.end("m0", signal.SIGKILL)
        began = time.perf_counter()
        starting = asyncio.create_task(cluster.managers.start("m0"))
        await cluster.calls.schedule(PURPOSE, "t0", time_limit=60)
        seconds = time.perf_counter() - began
        await starting
        names = (f"w{number}" for number in range(10))
        kept = sum([len((await cluster.calls.get_worker(name)).reservations) for name in names])
    return {"events": events, "ready again s": seconds, "bar s": 2.0, "reservations kept": kept}


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=5_000)
    parser.add_argument("--rounds", type=int, default=4, help="how often each fault comes")
    parser.add_argument("--servers", type=int, nargs="+", default=[1, 3], choices=[1, 3])
    parser.add_argument("--waiting", type=int, default=10_000, help="reservations that outlive all managers")
    parser.add_argument(
        "--events", type=int, default=100_000, help="in the log of the manager that is killed"
    )
    parser.add_argument("--only", choices=["faults", "waiting", "burst", "ready"])
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    only, as_json = arguments.only, arguments.json
    if only in {None, "faults"}:
        rows = [
            row
            for servers in arguments.servers
            for row in asyncio.run(faults(servers, arguments.tasks, arguments.rounds))
        ]
        report("longest time without an answer", rows, as_json=as_json)
    if only in {None, "waiting"}:
        report("all managers killed", [asyncio.run(waiting(arguments.waiting))], as_json=as_json)
    if only in {None, "burst"}:
        report("500 tasks in 2 s on 12 workers, least-used", asyncio.run(bursts(5)), as_json=as_json)
    if only in {None, "ready"}:
        report(
            "ready again after kill -9",
            [asyncio.run(ready_again(events)) for events in (1, arguments.events)],
            as_json=as_json,
        )


if __name__ == "__main__":
    main()
