"""Existing clients by socket.io-client, in a Node process that does what a test says."""

import asyncio
import json
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

from tests.support.existing_clients import SECONDS, ExistingClient, Heard

FOLDER = Path(__file__).parents[1] / "clients"


class NodeClients:
    """The clients of one Node process."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._numbers = count(1)
        self._clients: dict[int, NodeClient] = {}
        self._calls: dict[int, asyncio.Future[Any]] = {}
        self._reading = asyncio.create_task(self._read())

    async def connect(
        self, stack: AsyncExitStack, url: str, version: str, transports: Sequence[str]
    ) -> "NodeClient":
        """Connect one until the stack is closed."""
        return await self._connect(stack, url, version, transports, reconnection=False)

    async def reconnecting(
        self, stack: AsyncExitStack, url: str, version: str, transports: Sequence[str]
    ) -> "NodeClient":
        """Connect one that connects again by itself."""
        return await self._connect(stack, url, version, transports, reconnection=True)

    async def _connect(
        self, stack: AsyncExitStack, url: str, version: str, transports: Sequence[str], *, reconnection: bool
    ) -> "NodeClient":
        number = next(self._numbers)
        client = self._clients[number] = NodeClient(version, self, number)
        await self.order(number, "connect", url=url, transports=list(transports), reconnection=reconnection)
        stack.push_async_callback(client.close)
        return client

    async def order(self, client: int, do: str, **details: Any) -> Any:  # noqa: ANN401  - JSON values
        """Have something done, and return what comes of it."""
        call = next(self._numbers)
        done = self._calls[call] = asyncio.get_running_loop().create_future()
        line = json.dumps({"client": client, "call": call, "do": do, **details})
        assert self._process.stdin is not None
        self._process.stdin.write(line.encode() + b"\n")
        async with asyncio.timeout(SECONDS):
            return await done

    async def end(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.wait()
        await self._reading

    async def _read(self) -> None:
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            told = json.loads(line)
            if "call" not in told:
                self._clients[told["client"]].take(told)
            elif "error" in told:
                self._calls.pop(told["call"]).set_exception(ConnectionError(told["error"]))
            else:
                self._calls.pop(told["call"]).set_result(told["value"])


class NodeClient(ExistingClient):
    """A client by socket.io-client.

    Attributes:
        connections: How often it has connected.
        why: Why it was disconnected last, in the words of the library.
    """

    def __init__(self, version: str, clients: NodeClients, number: int) -> None:
        super().__init__(version)
        self._clients = clients
        self._number = number
        self.connections = 0
        self.why = ""

    async def ask(self, event: str, *arguments: Any) -> list[Any]:  # noqa: ANN401  - JSON values
        """Send a request, and return the arguments of its acknowledgement."""
        answer: list[Any] = await self._clients.order(self._number, "ask", event=event, arguments=arguments)
        return answer

    async def send(self, event: str, *arguments: Any) -> None:  # noqa: ANN401  - JSON values
        """Send a request without a callback."""
        await self._clients.order(self._number, "send", event=event, arguments=arguments)

    async def cut(self) -> None:
        """Lose the connection without a farewell."""
        await self._clients.order(self._number, "cut")
        await self.disconnected()

    async def close(self) -> None:
        """Disconnect as clients do; nothing happens if it is."""
        await self._clients.order(self._number, "close")

    def take(self, told: dict[str, Any]) -> None:
        """Take what the process tells of it."""
        if "event" in told:
            self.told.put_nowait(Heard(told["event"], tuple(told["arguments"])))
        elif "connected" in told:
            self.connections += 1
            self.gone.clear()
        elif "gone" in told:
            self.why = told["gone"]
            self.gone.set()


@asynccontextmanager
async def node_clients() -> AsyncIterator[NodeClients]:
    """Start the Node process for the time of a test."""
    process = await asyncio.create_subprocess_exec(
        "node", "existing_clients.mjs", stdin=PIPE, stdout=PIPE, cwd=FOLDER
    )
    clients = NodeClients(process)
    yield clients
    await clients.end()
