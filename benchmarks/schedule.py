"""How many tasks a second are placed over NATS with fsynced events, and how long each caller waits.

The manager is a process of its own; so is nats-server. The callers share this process and one connection.
Beside them stands what a bare append takes on the same server at that time, fsynced, with nothing decided:
what a call takes above that is ours.  The microseconds are those of the processor, for each call.
"""

import argparse
import json
import os
from itertools import count

import uvloop

from benchmarks.bare_append import bare_append
from benchmarks.callers import Callers
from benchmarks.figures import cpu_seconds, percentile, process, report, server
from roomledger.event_store.connection import connect
from roomledger.sdk.cluster import Cluster
from roomledger_events.workers import WorkerInfo

PURPOSE = "portal"


async def measure(workers: int, concurrencies: list[int], calls: int) -> list[dict[str, object]]:
    """Return a row for each concurrency."""
    async with (
        server() as (nats, path),
        process(
            nats,
            path / "manager",
            "cluster-manager",
            ROOMLEDGER_SCHEDULER=json.dumps({PURPOSE: {"task_load": 0, "lease_ms": 3_600_000}}),
        ) as manager,
    ):
        processes = {"manager": manager.pid, "nats-server": nats.pid, "callers": os.getpid()}
        broker = await connect(nats.url, "service", nats.credentials["service"])
        cluster = Cluster(broker, actor="benchmark")
        for number in range(workers):
            await cluster.join(PURPOSE, f"w{number}", WorkerInfo(ip="127.0.0.1", max_load=0.9))
            await cluster.report_load(f"w{number}", 0.1)
        callers = await Callers.connect(nats.url, "service", nats.credentials["service"])
        tasks = count()
        rows: list[dict[str, object]] = []
        for concurrency in concurrencies:
            floor = await bare_append(broker, subject=b"ledger.scheduler.floor%d" % concurrency)
            for warm in (True, False):
                made = [
                    (
                        b"rpc.cluster.schedule",
                        json.dumps({"purpose": PURPOSE, "task": f"t{next(tasks)}"}).encode(),
                    )
                    for _ in range(
                        max(200, calls // 10) if warm else calls if concurrency > 1 else calls // 5
                    )
                ]
                before = {name: cpu_seconds(pid) for name, pid in processes.items()}
                seconds = await callers.run(made, concurrency)
                used = {name: cpu_seconds(pid) - before[name] for name, pid in processes.items()}
                assert not callers.failures, callers.failures[0]
            rows.append(
                {
                    "workers": workers,
                    "callers": concurrency,
                    "calls/s": round(len(made) / seconds),
                    "p50 ms": percentile(callers.latencies, 0.5) * 1000,
                    "p99 ms": percentile(callers.latencies, 0.99) * 1000,
                    **floor,
                    "p50 : bare": percentile(callers.latencies, 0.5) * 1000 / floor["bare p50"],
                    **{f"{name} µs": used[name] / len(made) * 1e6 for name in processes},
                }
            )
        await broker.close()
        return rows


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, nargs="+", default=[10, 1000])
    parser.add_argument("--callers", type=int, nargs="+", default=[1, 16, 64, 256])
    parser.add_argument("--calls", type=int, default=20_000)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    rows: list[dict[str, object]] = []
    for workers in arguments.workers:
        rows += uvloop.run(measure(workers, arguments.callers, arguments.calls))
    report("schedule over NATS", rows, as_json=arguments.json)


if __name__ == "__main__":
    main()
