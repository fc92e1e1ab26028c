"""Existing clients, by python-socketio's own client, and a cluster that they connect to."""

import asyncio
import contextlib
import json
from abc import ABC, abstractmethod
from base64 import b64decode
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from http import HTTPStatus
from typing import Any, NamedTuple

import aiohttp
import socketio

from roomledger.domain.signed_token import Claims, sign
from roomledger.processes.portal.portal import Portal
from roomledger.runtime.token_keys import TokenKeys
from roomledger_events.identifiers import new_id
from tests.support.cluster import TestCluster

VERSIONS = ("1.0", "1.1", "1.2", "legacy")
WEBSOCKET = ("websocket",)
POLLING = ("polling",)
SECONDS = 20.0


def agent(kind: str = "JavaScript", version: str = "5.0") -> dict[str, Any]:
    return {"sdk": {"type": kind, "version": version}}


def wish(token: object, version: str, kind: str = "JavaScript") -> dict[str, Any]:
    """Return the argument of a login."""
    named = {} if version == "legacy" else {"protocol": version}
    return {"token": token, "userAgent": agent(kind), **named}


def done(version: str) -> str:
    return "success" if version == "legacy" else "ok"


def said_by_ticket(text: str) -> dict[str, Any]:
    """Return what a ticket says to those who do not look at its signature."""
    members: dict[str, Any] = json.loads(b64decode(text))
    return members


class Heard(NamedTuple):
    """An event that a client got."""

    event: str
    arguments: tuple[Any, ...]


class ExistingClient(ABC):
    """One client, whichever library it uses.

    Attributes:
        result: The payload of its login.
        told: What it got and has not taken yet.
        gone: Set when it is disconnected.
    """

    def __init__(self, version: str) -> None:
        self.version = version
        self.result: dict[str, Any] = {}
        self.told: asyncio.Queue[Heard] = asyncio.Queue()
        self.gone = asyncio.Event()

    # -- What differs by library

    @abstractmethod
    async def ask(self, event: str, *arguments: Any) -> list[Any]:  # noqa: ANN401  - JSON values
        """Send a request, and return the arguments of its acknowledgement."""

    @abstractmethod
    async def send(self, event: str, *arguments: Any) -> None:  # noqa: ANN401  - JSON values
        """Send a request without a callback."""

    @abstractmethod
    async def cut(self) -> None:
        """Lose the connection without a farewell."""

    @abstractmethod
    async def close(self) -> None:
        """Disconnect as clients do; nothing happens if it is."""

    # -- What does not

    @property
    def id(self) -> str:
        """Its participant's id."""
        id_: str = self.result["clientId" if self.version == "legacy" else "id"]
        return id_

    @property
    def ticket(self) -> str:
        ticket: str = self.result["reconnectionTicket"]
        return ticket

    @property
    def connected(self) -> bool:
        return not self.gone.is_set()

    async def login(self, token: str, kind: str = "JavaScript") -> dict[str, Any]:
        """Log in, and return the payload."""
        status, self.result = await self.ask("login", wish(token, self.version, kind))
        assert status == done(self.version), self.result
        return self.result

    async def hear(self) -> Heard:
        """Return what it is told next."""
        async with asyncio.timeout(SECONDS):
            return await self.told.get()

    async def silent(self) -> bool:
        """Tell whether it was told nothing that it has not taken, after a round trip."""
        await self.ask("nothing of this name")
        return self.told.empty()

    async def disconnected(self) -> bool:
        """Wait until it is."""
        async with asyncio.timeout(SECONDS):
            await self.gone.wait()
        return not self.connected


class PythonClient(ExistingClient):
    """A client by python-socketio."""

    def __init__(self, version: str, session: aiohttp.ClientSession) -> None:
        super().__init__(version)
        self._io = socketio.AsyncClient(reconnection=False, http_session=session)
        self._io.on("*", self._hear)
        self._io.on("disconnect", self._end)

    @classmethod
    async def connect(
        cls, stack: AsyncExitStack, url: str, version: str, transports: Sequence[str]
    ) -> "PythonClient":
        """Connect one until the stack is closed."""
        session = await stack.enter_async_context(aiohttp.ClientSession(trace_configs=[_reading()]))
        client = cls(version, session)
        await client._io.connect(url, transports=list(transports))
        stack.push_async_callback(client.close)
        return client

    async def ask(self, event: str, *arguments: Any) -> list[Any]:  # noqa: ANN401  - JSON values
        """Send a request, and return the arguments of its acknowledgement."""
        answer: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
        await self._io.emit(event, arguments, callback=lambda *got: answer.set_result(list(got)))
        async with asyncio.timeout(SECONDS):
            return await answer

    async def send(self, event: str, *arguments: Any) -> None:  # noqa: ANN401  - JSON values
        """Send a request without a callback."""
        await self._io.emit(event, arguments)

    async def cut(self) -> None:
        """Lose the connection without a farewell."""
        engine = self._io.eio
        if engine.current_transport == "websocket":
            await engine.ws.close()
        else:
            await engine.disconnect(abort=True)
        await self.disconnected()

    async def close(self) -> None:
        """Disconnect as clients do; nothing happens if it is."""
        with contextlib.suppress(Exception):  # it may be in any state at the end of a test
            if self._io.eio.current_transport == "polling":
                # Its library would wait for the end of the last poll, which comes with the next ping.
                await self._io.eio.disconnect(abort=True)
            else:
                await self._io.disconnect()

    async def _hear(self, event: str, *arguments: Any) -> None:  # noqa: ANN401  - JSON values
        self.told.put_nowait(Heard(event, arguments))

    async def _end(self, *_: object) -> None:
        self.gone.set()


Connect = Callable[[AsyncExitStack, str, str, Sequence[str]], Awaitable[ExistingClient]]
"""Connects a client to a url, of a version, by some transports, until a stack is closed."""


async def connect(
    stack: AsyncExitStack, portal: Portal, version: str = "1.2", transports: Sequence[str] = WEBSOCKET
) -> ExistingClient:
    """Connect a client by python-socketio to a portal, until the stack is closed."""
    return await PythonClient.connect(stack, portal.socketio_url or "", version, transports)


def _reading() -> aiohttp.TraceConfig:
    """Have all answers read, which the library does not do with those that it has no use for."""

    async def read(_session: object, _context: object, ended: aiohttp.TraceRequestEndParams) -> None:
        if ended.response.status != HTTPStatus.SWITCHING_PROTOCOLS:
            await ended.response.read()

    config = aiohttp.TraceConfig()
    config.on_request_end.append(read)
    return config


class Campus:
    """A cluster with portals, rooms and existing clients.

    Attributes:
        portal: The first portal.
        stack: Closed when the test is over.
    """

    def __init__(
        self,
        cluster: TestCluster,
        portal: Portal,
        key: bytes,
        stack: AsyncExitStack,
        connect: Connect = PythonClient.connect,
    ) -> None:
        self.cluster = cluster
        self.portal = portal
        self._key = key
        self.stack = stack
        self._connect = connect

    @asynccontextmanager
    async def visit(self) -> AsyncIterator["Campus"]:
        """Use it for the time of a test: the clients that were connected are gone afterwards."""
        async with AsyncExitStack() as stack:
            yield Campus(self.cluster, self.portal, self._key, stack, self._connect)

    async def room(self, limit: int = -1) -> str:
        """Return the id of a new room."""
        room = f"room-{new_id()}"
        await self.cluster.room(room, limit)
        return room

    async def token(self, room: str, user: str = "ada", **claims: Any) -> str:  # noqa: ANN401  - of the claims
        """Return the text of a good token, or of one that claims something else."""
        issued = claims.pop("token", None) or await self.cluster.token(room, user)
        return self.sign(room, token=issued, **claims)

    def sign(self, room: str, *, token: str, key: bytes | None = None, **changes: Any) -> str:  # noqa: ANN401  - of the claims
        claims = {
            "token": token,
            "host": "127.0.0.1:1",
            "secure": False,
            "room": room,
            "code": new_id(),
            "url": self.portal.url,
            **changes,
        }
        return sign(key or self._key, Claims(**claims))

    async def client(
        self, version: str = "1.2", transports: Sequence[str] = WEBSOCKET, portal: Portal | None = None
    ) -> ExistingClient:
        """Connect a client to a portal of this process."""
        return await self.connect((portal or self.portal).socketio_url or "", version, transports)

    async def connect(self, url: str, version: str, transports: Sequence[str] = WEBSOCKET) -> ExistingClient:
        """Connect a client to any portal."""
        return await self._connect(self.stack, url, version, transports)

    async def guest(
        self,
        room: str,
        version: str = "1.2",
        user: str = "ada",
        *,
        transports: Sequence[str] = WEBSOCKET,
        kind: str = "JavaScript",
        portal: Portal | None = None,
    ) -> ExistingClient:
        """Connect a client and let it into a room."""
        client = await self.client(version, transports, portal)
        await client.login(await self.token(room, user), kind)
        return client

    async def present(self, room: str) -> set[str]:
        """Return who is in a room, as the log tells it."""
        present: set[str] = set()
        for commit in await self.cluster.commits():
            if commit.boundary.name != room:
                continue
            for event in commit.events:
                if event.type == "ParticipantJoined":
                    present.add(event.subject)
                elif event.type == "ParticipantLeft":
                    present.discard(event.subject)
        return present


def _reading() -> aiohttp.TraceConfig:
    """Have all answers read, which the library does not do with those that it has no use for."""

    async def read(_session: object, _context: object, ended: aiohttp.TraceRequestEndParams) -> None:
        if ended.response.status != HTTPStatus.SWITCHING_PROTOCOLS:
            await ended.response.read()

    config = aiohttp.TraceConfig()
    config.on_request_end.append(read)
    return config


@asynccontextmanager
async def campus(
    cluster: TestCluster,
    connect: Connect = PythonClient.connect,
    **settings: Any,  # noqa: ANN401  - of the portal
) -> AsyncIterator[Campus]:
    """Start a manager, a conference worker and a portal on a cluster."""
    await cluster.manager()
    await cluster.conference()
    portal = await cluster.start(Portal, **settings)
    keys = TokenKeys(cluster.access.broker, cluster.settings())
    await keys.load()
    async with AsyncExitStack() as stack:
        yield Campus(cluster, portal, keys.signing, stack, connect)
