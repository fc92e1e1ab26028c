"""What the connections of existing clients weigh, and how fast a text reaches many of them.

    python -m benchmarks.existing_clients [--json] [--connections N] [--texts N]

The Socket.IO listener of a portal by itself, with clients in a process of their own, by WebSocket. A text is
pushed to all of them at once, as it is in a room: written out once, and then as python-socketio sends it.
"""

import argparse
import asyncio
import gc
import os
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import psutil
import uvloop

from benchmarks.figures import percentile, report
from roomledger.processes.portal.socketio_engine import Line, event
from roomledger.processes.portal.socketio_listener import SocketListener

TEXT = {"from": "somebody", "to": "all", "message": "x" * 200}
CLIENTS = """
import asyncio, sys, uvloop
from websockets.asyncio.client import connect

async def main(url, count):
    opening, got = asyncio.Semaphore(50), 0

    async def one():
        nonlocal got
        async with opening:
            socket = await connect(url, proxy=None, compression=None, open_timeout=60)
            await socket.recv()
            await socket.send("40")
            await socket.recv()
        print(flush=True)
        async for message in socket:
            if message == "2":
                await socket.send("3")
            else:
                got += 1
                if got % count == 0:
                    print(flush=True)

    await asyncio.gather(*(one() for _ in range(count)))

uvloop.run(main(sys.argv[1], int(sys.argv[2])))
"""


class Silent:
    """A client that asks nothing."""

    def __init__(self, line: Line) -> None:
        self.line = line

    def asked(self, event: str, arguments: list[Any], ack: int | None) -> None:
        """Take a request."""

    def lost(self) -> None:
        """Take it that the line is closed."""

    def slow(self) -> None:
        """Take it that more waits than is kept."""
        raise RuntimeError("the benchmark's clients are too slow")

    def pinged(self) -> None:
        """Take it that the client is asked whether it is there."""

    def ponged(self) -> None:
        """Take it that it is."""


async def _measure(connections: int, texts: int) -> list[dict[str, Any]]:
    lines: list[Line] = []

    def greet(line: Line) -> Silent:
        lines.append(line)
        return Silent(line)

    listener = SocketListener("127.0.0.1", 0, greet, limit=connections, max_message=65_536)
    listener.bind()
    await listener.start()
    gc.collect()
    before, cpu = psutil.Process().memory_info().rss, time.process_time()
    url = listener.url.replace("http", "ws") + "/socket.io/?EIO=4&transport=websocket"
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", CLIENTS, url, str(connections), stdout=asyncio.subprocess.PIPE
    )
    assert child.stdout is not None
    start = time.perf_counter()
    for _ in range(connections):
        await child.stdout.readline()
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    gc.collect()
    rows = [
        {
            "what": "connect",
            "clients": connections,
            "a second": connections / seconds,
            "cpu us a client": 1e6 * cpu / connections,
            "KB a client": (psutil.Process().memory_info().rss - before) / connections / 1024,
            "p50 ms": "",
            "p99 ms": "",
        }
    ]

    async def push() -> None:
        packet = event("text", TEXT)
        for line in lines:
            line.push(packet)

    async def emit() -> None:
        await listener._server.emit("text", TEXT)  # noqa: SLF001  - to compare with what it does by itself

    ways: dict[str, Callable[[], Awaitable[None]]] = {
        "text, as portals do": push,
        "text, by the library": emit,
    }
    for what, send in ways.items():
        rows.append(await _texts(what, send, child.stdout, connections, texts))
    child.kill()
    await child.wait()
    await listener.stop()
    return rows


async def _texts(
    what: str, send: Callable[[], Awaitable[None]], told: asyncio.StreamReader, connections: int, texts: int
) -> dict[str, Any]:
    took = []
    cpu = time.process_time()
    for _ in range(texts):
        start = time.perf_counter()
        await send()
        await told.readline()
        took.append(1e3 * (time.perf_counter() - start))
    return {
        "what": what,
        "clients": connections,
        "a second": connections * texts / sum(took) * 1e3,
        "cpu us a client": 1e6 * (time.process_time() - cpu) / connections / texts,
        "KB a client": "",
        "p50 ms": percentile(took, 0.5),
        "p99 ms": percentile(took, 0.99),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--connections", type=int, default=1000)
    parser.add_argument("--texts", type=int, default=50)
    arguments = parser.parse_args()
    rows = uvloop.run(_measure(arguments.connections, arguments.texts))
    report(f"existing clients, {os.cpu_count()} cores", rows, as_json=arguments.json)


if __name__ == "__main__":
    main()
