"""Processes of their own, for tests of what a process does as a whole."""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.support.nats import NatsServer

ROOT = Path(__file__).parents[2]


class Child:
    """A Python process that is connected to a test's nats-server."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.said: list[str] = []

    async def line(self, *parts: str, seconds: float = 15) -> str:
        """Return the next line of its output that has all of these parts."""
        assert self.process.stdout is not None
        async with asyncio.timeout(seconds):
            while raw := await self.process.stdout.readline():
                line = raw.decode().rstrip()
                self.said.append(line)
                if all(part in line for part in parts):
                    return line
        raise AssertionError(f"it ended without saying {parts}: {self.said}")

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    async def end(self) -> tuple[int | None, str, str]:
        """Wait for its end, and return its exit code and what it printed that was not read yet."""
        async with asyncio.timeout(15):
            out, errors = await self.process.communicate()
        return self.process.returncode, (out or b"").decode(), errors.decode()


def environment(server: NatsServer) -> dict[str, str]:
    """Return the environment of a process that is to find the server, and nothing of ours beside."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("ROOMLEDGER_")}
    return own | {
        "PYTHONUNBUFFERED": "1",
        "ROOMLEDGER_NATS_URL": server.url,
        "ROOMLEDGER_NATS_PASSWORD": server.credentials["service"],
    }


@asynccontextmanager
async def child(server: NatsServer, path: Path, *arguments: str, stdout: int = PIPE) -> AsyncIterator[Child]:
    """Run Python with these arguments in a directory; whatever is left of it is killed at the end."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, *arguments, stdout=stdout, stderr=PIPE, cwd=path, env=environment(server)
    )
    try:
        yield Child(process)
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()
