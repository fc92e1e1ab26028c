"""Portals in front of real rooms, and clients that speak to them by hand."""

import asyncio
import json
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from roomledger.domain.signed_token import Claims, sign
from roomledger.processes.portal.portal import Portal
from roomledger.runtime.token_keys import TokenKeys
from roomledger_events.envelope import Event
from roomledger_events.identifiers import new_id
from roomledger_events.subjects import Boundary, Kind
from tests.support.cluster import TestCluster
from tests.support.house import SUBPROTOCOL
from tests.support.serving import Serving, start


class Guest:
    """A client that reads all it gets, and keeps answers and notifications apart."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.told: list[dict[str, Any]] = []
        self.id = ""
        self.ticket = ""
        self._ids = 0
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._more = asyncio.Event()
        self._reading = asyncio.create_task(self._read())

    @property
    def last(self) -> str:
        """The address of the last notification."""
        seq: str = self.told[-1]["params"]["seq"]
        return seq

    def texts(self) -> list[str]:
        """Return the texts that it was told."""
        return [each["params"]["message"] for each in self.told if each["method"] == "text"]

    def of(self, method: str) -> list[dict[str, Any]]:
        """Return the params of all notifications of one method."""
        return [each["params"] for each in self.told if each["method"] == method]

    async def ask(self, method: str, **params: Any) -> dict[str, Any]:  # noqa: ANN401  - JSON values
        """Send a request and return its answer: what is in ``result``, or the error's ``data``."""
        self._ids += 1
        answer = self._answers[self._ids] = asyncio.get_running_loop().create_future()
        call = {"jsonrpc": "2.0", "id": self._ids, "method": method, "params": params}
        await self.socket.send(json.dumps(call))
        message = await asyncio.wait_for(answer, 15)
        found: dict[str, Any] = message["result"] if "result" in message else message["error"]["data"]
        return found

    async def login(self, token: str, *, reconnect: bool = True) -> dict[str, Any]:
        result = await self.ask("login", token=token, reconnect=reconnect)
        assert "id" in result, result
        self.id, self.ticket = result["id"], result.get("ticket", "")
        return result

    async def relogin(self, ticket: str, after: str | None = None) -> dict[str, Any]:
        """Come back, and take what was missed as if it had been told."""
        params = {"ticket": ticket} if after is None else {"ticket": ticket, "after": after}
        result = await self.ask("relogin", **params)
        assert "ticket" in result, result
        self.id, self.ticket = result["id"], result["ticket"]
        return result

    async def until(self, method: str, number: int = 1) -> list[dict[str, Any]]:
        """Wait until it was told something so many times, and return all of that."""
        async with asyncio.timeout(15):
            while len(self.of(method)) < number:
                self._more.clear()
                await self._more.wait()
        return self.of(method)

    async def closed(self) -> int | None:
        """Wait until the connection is closed, and return the code."""
        await asyncio.wait_for(asyncio.shield(self._reading), 15)
        return self.socket.close_code

    def abort(self) -> None:
        """Be gone without a word."""
        self.socket.transport.abort()

    async def _read(self) -> None:
        try:
            async for frame in self.socket:
                message = json.loads(frame)
                if "method" in message:
                    self.told.append(message)
                    self._more.set()
                elif message["id"] in self._answers:
                    self._answers.pop(message["id"]).set_result(message)
        except ConnectionClosed:
            pass


class Portals:
    """A cluster with rooms and portals; everything ends with the stack."""

    def __init__(self, cluster: TestCluster, path: Path, stack: AsyncExitStack) -> None:
        self.cluster = cluster
        self._path = path
        self._stack = stack
        self._keys = TokenKeys(cluster.access.broker, cluster.settings())

    async def start(self, **settings: Any) -> None:  # noqa: ANN401  - what a test sets
        """Start all that a portal needs."""
        await self._keys.load()
        await self.cluster.manager()
        await self.cluster.conference(worker_id="conference-1", **settings)
        await self.cluster.room("r1")

    async def portal(self, worker: str, **settings: Any) -> Portal:  # noqa: ANN401  - what a test sets
        portal: Portal = await self.cluster.start(Portal, worker_id=worker, **settings)
        return portal

    async def process(self, worker: str, **settings: object) -> Serving:
        """Start a portal as a process of its own, to be killed; its url is in what it said when ready."""
        values = {
            "worker_id": worker,
            "nats_url": self.cluster.server.url,
            "nats_password": self.cluster.server.credentials["service"],
            **settings,
        }
        variables = {f"ROOMLEDGER_{name.upper()}": str(value) for name, value in values.items()}
        serving = await start(self._path / worker, "portal", **variables)
        self._stack.push_async_callback(serving.stop)
        return serving

    async def guest(self, url: str) -> Guest:
        socket = await connect(url, subprotocols=[SUBPROTOCOL], proxy=None, compression=None)
        guest = Guest(socket)

        async def close() -> None:
            await socket.close()
            await guest.closed()

        self._stack.push_async_callback(close)
        return guest

    async def token(self, url: str, user: str = "ada", room: str = "r1") -> str:
        """Return the text of a good token."""
        token = await self.cluster.token(room, user)
        claims = Claims(token=token, host="127.0.0.1:1", secure=False, room=room, code=new_id(), url=url)
        return sign(self._keys.signing, claims)

    async def inside(self, url: str, user: str = "ada") -> Guest:
        """Return a guest who is in room r1."""
        guest = await self.guest(url)
        await guest.login(await self.token(url, user))
        return guest

    async def events(self, room: str = "r1") -> list[Event]:
        """Return all that happened in a room."""
        read = self.cluster.access.store.read((Boundary(Kind.ROOM, room),))
        return [event async for commit in read for event in commit.events]

    async def of(self, participant: str) -> list[str]:
        """Return the types of what happened to a participant."""
        return [event.type for event in await self.events() if event.subject == participant]
