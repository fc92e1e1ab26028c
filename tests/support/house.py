"""A portal on a real nats-server with its neighbours, and clients that speak to it by hand."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from roomledger.domain.signed_token import Claims, sign
from roomledger.event_store.connection import Connection
from roomledger.event_store.connection import connect as connect_broker
from roomledger.event_store.jetstream import JetStreamStore
from roomledger.processes.portal.portal import Portal
from roomledger.runtime.token_keys import TokenKeys
from roomledger.settings import Settings
from roomledger_events.identifiers import new_id
from tests.support.nats import NatsServer
from tests.support.neighbours import Neighbours

SUBPROTOCOL = Subprotocol("roomledger.v1")


class RawClient:
    """A client that sends what it is told to, right or wrong."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self._ids = 0

    async def send(self, frame: str | bytes) -> None:
        await self.socket.send(frame)

    async def receive(self) -> dict[str, Any]:
        """Return the next message."""
        message: dict[str, Any] = json.loads(await asyncio.wait_for(self.socket.recv(), 5))
        return message

    async def ask(self, method: str, params: Any = None, **members: Any) -> dict[str, Any]:  # noqa: ANN401  - JSON values
        """Send a request and return the next message."""
        self._ids += 1
        call = {"jsonrpc": "2.0", "id": self._ids, "method": method, "params": params or {}} | members
        await self.send(json.dumps(call))
        return await self.receive()

    async def login(self, token: str) -> dict[str, Any]:
        """Log in and return the result."""
        answer = await self.ask("login", {"token": token})
        assert "result" in answer, answer
        result: dict[str, Any] = answer["result"]
        return result

    async def close_code(self) -> tuple[int | None, str | None]:
        """Wait until the server has closed the connection, and return how."""
        try:
            while True:
                await asyncio.wait_for(self.socket.recv(), 8)
        except ConnectionClosed:
            return self.socket.close_code, self.socket.close_reason


class House:
    """A portal and what is around it."""

    def __init__(self, server: NatsServer, broker: Connection, store: JetStreamStore, key: bytes) -> None:
        self.server = server
        self.broker = broker
        self.store = store
        self.neighbours = Neighbours(broker, store)
        self.portal: Portal
        self._key = key
        self._stack = AsyncExitStack()

    async def open(self, portal: Portal) -> None:
        self.portal = portal
        await portal.start()

    async def client(self, **options: Any) -> RawClient:  # noqa: ANN401  - of websockets
        """Connect a client."""
        options = {"subprotocols": [SUBPROTOCOL], "proxy": None, "compression": None} | options
        socket = await self._stack.enter_async_context(connect(self.portal.url, **options))
        return RawClient(socket)

    def token(self, name: str | None = None, room: str = "r1") -> str:
        """Return the text of a good token."""
        claims = Claims(
            token=name or new_id(),
            host=f"127.0.0.1:{self.portal.port}",
            secure=False,
            room=room,
            code=f"code-{name}" if name else new_id(),
            url=self.portal.url,
        )
        return sign(self._key, claims)

    def on_close(self, end: Callable[[], None]) -> None:
        """Do something when the test is over."""
        self._stack.callback(end)

    async def close(self) -> None:
        await self._stack.aclose()


Opened = Callable[..., Awaitable[House]]


@asynccontextmanager
async def houses(server: NatsServer) -> AsyncIterator[Opened]:
    """Open portals on a server, with settings of the test's own; all of it is closed at the end."""
    async with AsyncExitStack() as stack:

        async def broker() -> Connection:
            connection = await connect_broker(server.url, "service", server.credentials["service"])
            stack.push_async_callback(connection.close)
            return connection

        async def open_(**values: Any) -> House:  # noqa: ANN401  - settings
            settings = Settings(portal_port=0, socketio_port=0, worker_id="portal-1", **values)
            outside, inside = await broker(), await broker()
            store = await JetStreamStore.open(outside)
            house = House(server, outside, store, await _key(outside, settings))
            await house.neighbours.start()
            stack.push_async_callback(house.neighbours.stop)
            await house.open(Portal(settings, inside, await JetStreamStore.open(inside)))
            stack.push_async_callback(house.portal.stop)
            stack.push_async_callback(house.close)
            return house

        yield open_


async def _key(broker: Connection, settings: Settings) -> bytes:
    keys = TokenKeys(broker, settings)
    await keys.load()
    return keys.signing


# -- Fixtures, for the conftest.py of those who want them


@pytest.fixture
async def opened(nats_server: NatsServer) -> AsyncIterator[Opened]:
    """Open portals with settings of the test's own."""
    async with houses(nats_server) as opened_:
        yield opened_


@pytest.fixture
async def house(opened: Opened) -> House:
    """Open a portal with settings that suit most tests."""
    return await opened()
