"""How long whoever wants a task placed waits while the manager explains another one from a long log.

    python -m benchmarks.explaining [--events N] [--callers N ...] [--json]

The manager is a process of its own; so is nats-server. Tasks are placed first without, then with somebody who
has one task after another explained.
"""

import argparse
import asyncio
import json
from collections import deque
from contextlib import suppress
from itertools import count
from typing import Any, ClassVar

from benchmarks.callers import Callers
from benchmarks.figures import percentile, process, report, server
from benchmarks.sessions import Sessions
from roomledger.event_store.connection import Connection, connect
from roomledger.event_store.jetstream import JetStreamStore
from roomledger.event_store.layout import Layout
from roomledger.sdk.cluster import Cluster
from roomledger_events.envelope import encode
from roomledger_events.tasks import WorkerReserved
from roomledger_events.workers import WorkerInfo

PURPOSE = "portal"
TOGETHER = 4
IN_FLIGHT = 512


class OfOnePurpose(Sessions):
    """Sessions that concern one purpose, all of whose events an explanation has to take in."""

    PURPOSES: ClassVar = (PURPOSE,)


async def grown(connection: Connection, store: JetStreamStore, events: int) -> str:
    """Append so many events, and return a task among the last that was placed."""
    under_way: deque[asyncio.Future[Any]] = deque()
    task = ""
    written = 0
    for boundary, told in OfOnePurpose(TOGETHER).commits():
        if written >= events:
            break
        written += len(told)
        if isinstance(told[0].data, WorkerReserved):
            task = told[0].data.task
        subject = store.layout.subjects.of(boundary)
        under_way.append(asyncio.ensure_future(connection.request(subject, encode(told), timeout=30)))
        if len(under_way) >= IN_FLIGHT:
            await under_way.popleft()
    await asyncio.gather(*under_way)
    return task


async def measure(events: int, concurrencies: list[int], calls: int) -> list[dict[str, Any]]:
    """Return a row for each number of callers, without and with somebody who asks why."""
    async with server() as (nats, path):
        broker = await connect(nats.url, "service", nats.credentials["service"])
        task = await grown(broker, await JetStreamStore.open(broker, Layout()), events)
        settings = json.dumps({PURPOSE: {"task_load": 0, "lease_ms": 3_600_000}})
        async with process(nats, path / "manager", "cluster-manager", ROOMLEDGER_SCHEDULER=settings):
            cluster = Cluster(broker, actor="benchmark")
            await cluster.join(PURPOSE, "w", WorkerInfo(ip="127.0.0.1", max_load=0.9))
            await cluster.report_load("w", 0.1)
            callers = await Callers.connect(nats.url, "service", nats.credentials["service"])
            numbers = count()
            rows = []
            for concurrency in concurrencies:
                for asked in (False, True):
                    explained: list[float] = []
                    asking = asyncio.create_task(_ask(cluster, task, explained)) if asked else None
                    made = [
                        (b"rpc.cluster.schedule", _wanted(next(numbers)))
                        for _ in range(calls if concurrency > 1 else calls // 4)
                    ]
                    seconds = await callers.run(made, concurrency)
                    if asking is not None:
                        while not explained and not asking.done():  # noqa: ASYNC110  - one at least
                            await asyncio.sleep(0.01)
                        asking.cancel()
                        with suppress(asyncio.CancelledError):
                            await asking
                    rows.append(
                        {
                            "events": events,
                            "callers": concurrency,
                            "explaining": "yes" if asked else "no",
                            "calls/s": round(len(made) / seconds),
                            "p50 ms": percentile(callers.latencies, 0.5) * 1000,
                            "p99 ms": percentile(callers.latencies, 0.99) * 1000,
                            "longest ms": max(callers.latencies) * 1000,
                            "explained": len(explained),
                            "an explanation s": max(explained, default=""),
                        }
                    )
        await broker.close()
        return rows


def _wanted(number: int) -> bytes:
    return json.dumps({"purpose": PURPOSE, "task": f"t{number}"}).encode()


async def _ask(cluster: Cluster, task: str, explained: list[float]) -> None:
    loop = asyncio.get_running_loop()
    while True:
        begun = loop.time()
        await cluster.explain(PURPOSE, task)
        explained.append(loop.time() - begun)


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=200_000)
    parser.add_argument("--callers", type=int, nargs="+", default=[1, 16])
    parser.add_argument("--calls", type=int, default=8_000)
    parser.add_argument("--json", action="store_true", help="print a line of JSON")
    arguments = parser.parse_args()
    rows = asyncio.run(measure(arguments.events, arguments.callers, arguments.calls))
    report("explaining", rows, as_json=arguments.json)


if __name__ == "__main__":
    main()
