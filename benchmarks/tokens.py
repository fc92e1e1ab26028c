"""How many tokens a second the management API hands out over HTTP, and how long each caller waits.

The API, the cluster manager and nats-server are processes of their own; a worker of this process is the
portal. The callers share this process, each with a connection that is kept open.
"""

import argparse
import asyncio
import json
import socket
import time
from collections.abc import Iterator
from typing import Any

from benchmarks.figures import cpu_seconds, percentile, process, report, server
from roomledger.event_store.connection import connect
from roomledger.sdk.cluster import Cluster
from roomledger.sdk.worker import Worker
from roomledger_events.workers import WorkerInfo

KEY = "benchmark-key"
ROOM = "benchmark"


class Caller:
    """Speaks as much HTTP as it takes to ask and to be answered."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def connect(cls, port: int) -> "Caller":
        """Open a connection."""
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def ask(self, request: bytes, status: bytes) -> bytes:
        """Send a request and return the body of its answer, which has this status."""
        answered, body = await self.exchange(request)
        assert answered == status, body.decode()
        return body

    async def exchange(self, request: bytes) -> tuple[bytes, bytes]:
        """Send a request and return the status and the body of its answer."""
        self._writer.write(request)
        head = await self._reader.readuntil(b"\r\n\r\n")
        _, _, length = head.lower().partition(b"content-length:")
        size = int(length.split(b"\r\n")[0]) if length else 0
        return head.split()[1], await self._reader.readexactly(size)

    def close(self) -> None:
        """Close the connection."""
        self._writer.close()


def request(path: str, body: dict[str, Any]) -> bytes:
    """Return a request as it goes over the wire."""
    text = json.dumps(body).encode()
    head = (
        f"POST {path} HTTP/1.1",
        "Host: 127.0.0.1",
        f"Authorization: Bearer {KEY}",
        "Content-Type: application/json",
        f"Content-Length: {len(text)}",
    )
    return "\r\n".join(head).encode() + b"\r\n\r\n" + text


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


async def run(port: int, concurrency: int, count: int) -> tuple[float, list[float]]:
    """Ask for tokens, so many at a time; return the seconds that it took, and that each one took."""
    wanted = request(f"/v1/rooms/{ROOM}/tokens", {"user": "ada", "role": "presenter"})
    callers = [await Caller.connect(port) for _ in range(concurrency)]
    latencies: list[float] = []

    async def ask(caller: Caller, left: Iterator[int]) -> None:
        for _ in left:
            begin = time.perf_counter()
            await caller.ask(wanted, b"200")
            latencies.append(time.perf_counter() - begin)

    left = iter(range(count))
    begin = time.perf_counter()
    await asyncio.gather(*(ask(caller, left) for caller in callers))
    seconds = time.perf_counter() - begin
    for caller in callers:
        caller.close()
    return seconds, latencies


async def measure(concurrencies: list[int], count: int) -> list[dict[str, object]]:
    """Return a row for each concurrency."""
    port = free_port()
    purpose = json.dumps({"portal": {"task_load": 0}})
    async with (
        server() as (nats, path),
        process(nats, path / "manager", "cluster-manager", ROOMLEDGER_SCHEDULER=purpose) as manager,
        process(
            nats,
            path / "api",
            "management-api",
            ROOMLEDGER_API_PORT=str(port),
            ROOMLEDGER_SERVICE_KEY=KEY,
            ROOMLEDGER_RATE_LIMIT="1000000/second",
        ) as api,
    ):
        broker = await connect(nats.url, "service", nats.credentials["service"])
        info = WorkerInfo(ip="127.0.0.1", port=8080, max_load=0.9)
        cluster = Cluster(broker, actor="benchmark")
        portal = Worker(cluster, purpose="portal", worker="portal-1", info=info, load=lambda: 0.1)
        await portal.start()
        caller = await Caller.connect(port)
        await caller.ask(request("/v1/rooms", {"name": "Benchmark", "id": ROOM}), b"201")
        caller.close()
        processes = {"api": api.pid, "manager": manager.pid, "nats-server": nats.pid}
        rows: list[dict[str, object]] = []
        for concurrency in concurrencies:
            asked = count if concurrency > 1 else count // 4
            await run(port, concurrency, max(100, asked // 5))
            before = {name: cpu_seconds(pid or 0) for name, pid in processes.items()}
            seconds, latencies = await run(port, concurrency, asked)
            used = {name: cpu_seconds(pid or 0) - before[name] for name, pid in processes.items()}
            rows.append(
                {
                    "callers": concurrency,
                    "tokens/s": round(asked / seconds),
                    "p50 ms": percentile(latencies, 0.5) * 1000,
                    "p99 ms": percentile(latencies, 0.99) * 1000,
                    **{f"{name} µs CPU a token": used[name] / asked * 1e6 for name in processes},
                }
            )
        await portal.stop()
        await broker.close()
        return rows


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--callers", type=int, nargs="+", default=[1, 16, 64])
    parser.add_argument("--tokens", type=int, default=4_000)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    rows = asyncio.run(measure(arguments.callers, arguments.tokens))
    report("tokens over HTTP", rows, as_json=arguments.json)


if __name__ == "__main__":
    main()
