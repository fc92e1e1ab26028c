"""What the benchmarks share: percentiles, a table for people, JSON for programs, and a server to run on."""

import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from roomledger.runtime.data_directory import DataDirectory
from roomledger.runtime.nats_server import EmbeddedNats


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value that this share of all is not above."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def cpu_seconds(pid: int) -> float:
    """Return the processor time that a process has used so far, all its threads together, in seconds."""
    return time.clock_gettime(_cpu_clock_of(pid))


def _cpu_clock_of(pid: int) -> int:
    """Return the id of a process's own clock, as Linux makes it up (clock_getcpuclockid(3))."""
    return (~pid << 3) | 2


def report(title: str, rows: Sequence[dict[str, Any]], *, as_json: bool) -> None:
    """Print figures: a table, or a line of JSON."""
    if as_json:
        print(json.dumps({"benchmark": title, "rows": rows}))
        return
    table = Table(*rows[0], title=title, title_justify="left")
    for row in rows:
        table.add_row(
            *(
                f"{cell:,.3g}"
                if isinstance(cell, float)
                else f"{cell:,}"
                if isinstance(cell, int)
                else str(cell)
                for cell in row.values()
            )
        )
    Console().print(table)


@asynccontextmanager
async def server() -> AsyncIterator[tuple[EmbeddedNats, Path]]:
    """Run a nats-server with the repository's nats.conf on fresh files."""
    with tempfile.TemporaryDirectory(prefix="roomledger-benchmark-") as path:
        directory = DataDirectory(Path(path) / "nats")
        with directory:
            async with EmbeddedNats(directory, 0) as nats:
                yield nats, Path(path)


@asynccontextmanager
async def process(
    nats: EmbeddedNats, data: Path, *arguments: str, **variables: str
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run one of our processes on that server, as a child."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ROOMLEDGER_")}
    environment |= {
        "ROOMLEDGER_NATS_URL": nats.url,
        "ROOMLEDGER_NATS_PASSWORD": nats.credentials["service"],
        "ROOMLEDGER_DATA_DIR": str(data),
        **variables,
    }
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "roomledger",
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment,
    )
    assert child.stdout is not None
    ready = await child.stdout.readline()
    if not ready:
        assert child.stderr is not None
        raise SystemExit((await child.stderr.read()).decode())
    drain = asyncio.create_task(_drain(child))
    try:
        yield child
    finally:
        if child.returncode is None:
            child.terminate()
        await child.wait()
        await drain


async def _drain(child: asyncio.subprocess.Process) -> None:
    assert child.stderr is not None
    while await child.stderr.readline():
        pass
