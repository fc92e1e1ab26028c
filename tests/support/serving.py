"""`roomledger` as a child process, as people run it."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

SECONDS = 40


def environment(data: Path, **variables: str) -> dict[str, str]:
    """Return an environment with free ports and this data directory."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("ROOMLEDGER_")}
    if binary := os.environ.get("ROOMLEDGER_NATS_SERVER"):
        own["ROOMLEDGER_NATS_SERVER"] = binary
    ports = {f"ROOMLEDGER_{name}_PORT": "0" for name in ("NATS", "API", "PORTAL", "SOCKETIO")}
    return own | ports | {"ROOMLEDGER_DATA_DIR": str(data)} | variables


async def run(data: Path, *arguments: str, stdin: str = "", **variables: str) -> tuple[int, str, str]:
    """Run a command to its end and return its exit code and what it said."""
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "roomledger",
        *arguments,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment(data, **variables),
        cwd=data.parent,
    )
    async with asyncio.timeout(SECONDS):
        out, errors = await child.communicate(stdin.encode())
    return child.returncode or 0, out.decode(), errors.decode()


class Serving:
    """A running `roomledger serve`, or one of its processes.

    Attributes:
        ready: The line of JSON that it wrote when it was ready.
    """

    def __init__(self, child: asyncio.subprocess.Process, ready: dict[str, Any]) -> None:
        self.ready = ready
        self._child = child
        self._errors: list[bytes] = []
        assert child.stderr is not None
        self._reading = asyncio.create_task(self._read(child.stderr))

    @property
    def errors(self) -> str:
        return b"".join(self._errors).decode()

    @property
    def is_running(self) -> bool:
        return self._child.returncode is None

    def send(self, number: signal.Signals) -> None:
        """Send it a signal, and do not wait for what it does."""
        self._child.send_signal(number)

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send it a signal and return its exit code when it has gone."""
        if self._child.returncode is None:
            self._child.send_signal(number)
        async with asyncio.timeout(SECONDS):
            code = await self._child.wait()
            await self._reading
        return code

    async def _read(self, stream: asyncio.StreamReader) -> None:
        while line := await stream.readline():
            self._errors.append(line)


async def start(data: Path, *arguments: str, **variables: str) -> Serving:
    """Start it, and return when it is ready."""
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "roomledger",
        *(arguments or ("serve",)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment(data, **variables),
        cwd=data.parent,
    )
    assert child.stdout is not None
    async with asyncio.timeout(SECONDS):
        line = await child.stdout.readline()
    if not line:
        assert child.stderr is not None
        raise AssertionError((await child.stderr.read()).decode())
    return Serving(child, json.loads(line))


@asynccontextmanager
async def serving(data: Path, *arguments: str, **variables: str) -> AsyncIterator[Serving]:
    """Run it for the time of a test."""
    async with AsyncExitStack() as stack:
        started = await start(data, *arguments, **variables)
        stack.push_async_callback(started.stop)
        yield started
