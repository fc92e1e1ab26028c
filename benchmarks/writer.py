"""How many scheduling decisions a second one writer commits, by how many commands wait: no calls, no wire.

The rules are the real ones, every commit is fsynced; this is what the log itself allows.
"""

import argparse
import asyncio
import time
from datetime import UTC, datetime

from benchmarks.figures import percentile, report, server
from roomledger.domain.membership import Command, Join, ReportLoad, TakeOver
from roomledger.domain.placement import Schedule
from roomledger.domain.purpose import PurposeSettings
from roomledger.domain.scheduler import SCHEDULER
from roomledger.domain.scheduler_state import SchedulerState
from roomledger.event_store.connection import connect
from roomledger.event_store.jetstream import JetStreamStore
from roomledger.runtime.commands import Meta
from roomledger.runtime.writer import Writer
from roomledger_events.subjects import Boundary, Kind
from roomledger_events.workers import WorkerInfo

ME = Meta(actor="benchmark", command="c", correlation="c")
WORKERS = 10


async def measure(waiting: list[int], decisions: int) -> list[dict[str, object]]:
    """Return a row for each number of waiting commands."""
    async with server() as (nats, _):
        connection = await connect(nats.url, "service", nats.credentials["service"])
        store = await JetStreamStore.open(connection)
        writer: Writer[SchedulerState, Command] = Writer(
            store,
            Boundary(Kind.SCHEDULER, "portal"),
            SCHEDULER(PurposeSettings("portal", "last-used", task_load=0)),
            source="benchmark",
            also=(Boundary(Kind.LOAD, "portal"),),
            owns=lambda _: True,
        )
        await writer.load()
        await writer.take_over(TakeOver("m1"), ME)
        running = asyncio.create_task(writer.run())
        for number in range(WORKERS):
            await writer.submit(Join(f"w{number}", WorkerInfo(ip="127.0.0.1", max_load=0.9)), Meta("b"))
            await writer.submit(ReportLoad(f"w{number}", 0.1), Meta("b"))
        rows = [await _commands(writer, count, decisions) for count in waiting]
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await connection.close()
        return rows


async def _commands(
    writer: Writer[SchedulerState, Command], waiting: int, decisions: int
) -> dict[str, object]:
    decisions = decisions if waiting > 1 else decisions // 5
    latencies: list[float] = []

    async def caller(name: int) -> None:
        for number in range(decisions // waiting):
            begin = time.perf_counter()
            task = f"{waiting}-{name}-{number}-{datetime.now(UTC):%f}"
            await writer.submit(Schedule(task), Meta("benchmark", correlation=task))
            latencies.append(time.perf_counter() - begin)

    commits, events, begin = writer.commits, writer.events, time.perf_counter()
    await asyncio.gather(*(caller(name) for name in range(waiting)))
    seconds = time.perf_counter() - begin
    return {
        "commands waiting": waiting,
        "decisions/s": round(len(latencies) / seconds),
        "commits/s": round((writer.commits - commits) / seconds),
        "events a commit": (writer.events - events) / (writer.commits - commits),
        "p50 ms": percentile(latencies, 0.5) * 1000,
        "p99 ms": percentile(latencies, 0.99) * 1000,
    }


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--waiting", type=int, nargs="+", default=[1, 64, 256])
    parser.add_argument("--decisions", type=int, default=20_000)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    rows = asyncio.run(measure(arguments.waiting, arguments.decisions))
    report("the writer's commits", rows, as_json=arguments.json)


if __name__ == "__main__":
    main()
