"""A real nats-server for a test: with the repository's nats.conf, on a free port, with files of its own."""

import asyncio
import contextlib
import os
import random
import signal
import socket
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import nats
from nats.aio.client import Client

from roomledger.runtime.data_directory import DataDirectory
from roomledger.runtime.nats_conf import Names
from roomledger.runtime.nats_credentials import INBOX_PREFIX
from roomledger.runtime.nats_server import EmbeddedNats

TOO_OLD = Path(__file__).parents[2] / ".tools" / "nats-server-2.11" / "bin" / "nats-server"
"""A nats-server that roomledger refuses; `make test` puts it there."""


class NatsServer:
    """A running nats-server that a test may also kill, pause and start again.

    It comes back on the same port with the same files, as a server does that was restarted.
    """

    def __init__(self, path: Path, names: Names = Names()) -> None:  # noqa: B008  - immutable
        self.directory = DataDirectory(path)
        self._names = names
        self.refusals: list[str] = []
        """What the server said to clients of `connect` that were not allowed something."""
        self._clients: list[Client] = []
        self._server: EmbeddedNats | None = None
        self._port = _quiet_port()

    @property
    def server(self) -> EmbeddedNats:
        assert self._server is not None, "nats-server has not been started"
        return self._server

    @property
    def url(self) -> str:
        return self.server.url

    @property
    def credentials(self) -> dict[str, str]:
        return self.server.credentials

    async def start(self) -> None:
        self.directory.lock()
        self._server = EmbeddedNats(self.directory, self._port, environ=_environment(), names=self._names)
        await self._server.start()

    async def stop(self) -> None:
        """Stop it in good order."""
        self._signal(signal.SIGCONT)
        await self.server.stop()

    async def restart(self) -> None:
        await self.stop()
        await self.start()

    async def kill(self) -> None:
        """End it without a warning, as a power cut would."""
        self._signal(signal.SIGKILL)
        await self.server.died()
        await self.server.stop()

    def pause(self) -> None:
        """Let it be there without an answer, as an overloaded machine or a cut line would."""
        self._signal(signal.SIGSTOP)
        while not self._is_halted():  # each of its threads stops when it next gets to run
            time.sleep(0.001)

    def _is_halted(self) -> bool:
        threads = Path(f"/proc/{self.server.pid}/task").iterdir()
        return all((each / "stat").read_text().rpartition(") ")[2].startswith("T") for each in threads)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    async def connect(self, user: str = "service", **options: Any) -> Client:  # noqa: ANN401  - nats.connect's
        """Connect as one of the users; closed when the test is over."""

        async def note(error: Exception) -> None:
            self.refusals.append(str(error))

        options = {
            "error_cb": note,
            "inbox_prefix": INBOX_PREFIX[user],
            "max_reconnect_attempts": -1,
            "reconnect_time_wait": 0.05,
        } | options
        client = await nats.connect(self.url, user=user, password=self.credentials[user], **options)
        self._clients.append(client)
        return client

    async def close(self) -> None:
        """Close the connections, end the server and let go of the files."""
        self._signal(signal.SIGCONT)
        for client in self._clients:
            with contextlib.suppress(ConnectionError):  # a server that is stopped does not take a farewell
                await client.close()
        await self.server.stop()
        self.directory.release()

    def _signal(self, number: signal.Signals) -> None:
        pid = self.server.pid
        if pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)


async def until(condition: Callable[[], bool | Awaitable[bool]], seconds: float = 5.0) -> None:
    """Wait until a condition holds.

    Raises:
        TimeoutError: It does not hold in time.
    """
    async with asyncio.timeout(seconds):
        while True:
            holds = condition()
            if holds if isinstance(holds, bool) else await holds:
                return
            await asyncio.sleep(0.01)


def _quiet_port() -> int:
    """Return a free port that no outgoing connection is given while the server is away.

    Else a client that tries to reconnect may get that very port, and then is connected to itself.
    """
    while True:
        port = random.randrange(16_384, 32_768)  # noqa: S311  - no secret
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


def _environment() -> dict[str, str]:
    # Passwords are made up anew; only the binary may be chosen from outside.
    own = {name: value for name, value in os.environ.items() if not name.startswith("ROOMLEDGER_")}
    if binary := os.environ.get("ROOMLEDGER_NATS_SERVER"):
        own["ROOMLEDGER_NATS_SERVER"] = binary
    return own
