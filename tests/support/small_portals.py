"""Small portals that speak the native protocol over real sockets, and do what a test wants."""

import asyncio
import base64
import contextlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from roomledger.domain.signed_token import Claims, sign
from roomledger.sdk.client import SUBPROTOCOL

ME = "p1"


class SmallRoom:
    """What the small portals have in common: what happened, and the session of one participant.

    Attributes:
        refusals: Why relogins are refused, one after another; then they are not.
        logins: The params of every login.
        relogins: The params of every relogin, also of those that were refused.
        texts: What was said.
        life_ms: How long tickets are good.
    """

    def __init__(self) -> None:
        self.happened: list[dict[str, Any]] = []
        self.refusals: list[dict[str, Any]] = []
        self.logins: list[dict[str, Any]] = []
        self.relogins: list[dict[str, Any]] = []
        self.texts: list[str] = []
        self.refreshed = 0
        self.life_ms = 600_000
        self.gives_tickets = True
        self.holder: ServerConnection | None = None
        self._tickets = 0

    def ticket(self) -> str:
        self._tickets += 1
        ticket = {"ticketId": str(self._tickets), "notBefore": 0, "notAfter": self.life_ms}
        return base64.b64encode(json.dumps(ticket).encode()).decode()

    def happen(self, *messages: str) -> None:
        """Let somebody say something, which stands in the log."""
        for message in messages:
            seq = f"{len(self.happened) + 2}.0"
            said = {"from": "p2", "to": "all", "message": message, "seq": seq}
            self.happened.append({"jsonrpc": "2.0", "method": "text", "params": said})

    def after(self, seq: str) -> list[dict[str, Any]]:
        """Return what happened after a place in the log."""
        return self.happened[int(seq.partition(".")[0]) - 1 :]


class SmallPortal:
    """One of them.

    Attributes:
        answers: Set it to False to say nothing to relogins.
        connections: How many there have been.
    """

    def __init__(self, room: SmallRoom) -> None:
        self.room = room
        self.answers = True
        self.connections = 0
        self._port = 0
        self._server: Server | None = None
        self._sockets: set[ServerConnection] = set()

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self._port}/"

    def token(self) -> str:
        claims = Claims(
            token="t1",
            host=f"127.0.0.1:{self._port}",
            secure=False,
            room="r1",
            code="c1",
            url=self.url,
        )
        return sign(b"key", claims)

    async def start(self) -> None:
        """Serve, on the same port as before."""
        self._server = await serve(self._serve, "127.0.0.1", self._port, subprotocols=[SUBPROTOCOL])
        self._port = self._server.sockets[0].getsockname()[1]

    async def kill(self) -> None:
        """End as a process does that is killed: without a word."""
        if self._server is None:
            return
        self.cut()
        self._server.close(close_connections=False)
        await self._server.wait_closed()
        self._server = None

    def cut(self) -> None:
        """Lose all connections."""
        for socket in list(self._sockets):
            socket.transport.abort()

    async def close(self, code: int, reason: str) -> None:
        """Close all connections."""
        for socket in list(self._sockets):
            await socket.close(code, reason)

    async def tell(self, method: str, params: dict[str, Any]) -> None:
        """Tell whoever is here something."""
        for socket in list(self._sockets):
            await socket.send(json.dumps({"jsonrpc": "2.0", "method": method, "params": params}))

    async def say(self, *messages: str) -> None:
        """Let somebody say something, and tell who is here."""
        for message in messages:
            self.room.happen(message)
            await self.tell("text", self.room.happened[-1]["params"])

    # -- What it answers

    async def _serve(self, socket: ServerConnection) -> None:
        self.connections += 1
        self._sockets.add(socket)
        try:
            with contextlib.suppress(ConnectionClosed):
                async for frame in socket:
                    await self._take(socket, json.loads(frame))
        finally:
            self._sockets.discard(socket)

    async def _take(self, socket: ServerConnection, call: dict[str, Any]) -> None:
        room, params = self.room, call["params"]
        match call["method"]:
            case "login":
                room.logins.append(params)
                room.holder = socket
                await self._answer(socket, call, self._login())
            case "relogin":
                await self._relogin(socket, call)
            case "refresh_ticket":
                room.refreshed += 1
                await self._answer(socket, call, {"ticket": room.ticket()})
            case "text":
                room.texts.append(params["message"])
                await self._answer(socket, call, {})
            case "participants":
                await self._answer(socket, call, {"participants": [_ME]})
            case "logout":
                await self._answer(socket, call, {})
                await socket.close(1000, "logged out")

    def _login(self) -> dict[str, Any]:
        room = {"id": "r1", "name": "Room", "views": ["common"], "participants": [_ME], "streams": []}
        media = {"audio": True, "video": True}
        login = {
            **_ME,
            "permission": {"publish": media, "subscribe": media},
            "room": room,
            "seq": f"{len(self.room.happened) + 1}.0",
        }
        return login | ({"ticket": self.room.ticket()} if self.room.gives_tickets else {})

    async def _relogin(self, socket: ServerConnection, call: dict[str, Any]) -> None:
        room, params = self.room, call["params"]
        room.relogins.append(params)
        if not self.answers:
            return
        if room.refusals:
            error = {"code": -32000, "message": "no", "data": room.refusals.pop(0)}
            await self._send(socket, {"jsonrpc": "2.0", "id": call["id"], "error": error})
            await socket.close(1008, "the relogin failed")
            return
        former, room.holder = room.holder, socket
        missed = room.after(params["after"])
        last = f"{len(room.happened) + 1}.0"
        back = {"id": ME, "ticket": room.ticket(), "seq": last, "missed": missed}
        await self._answer(socket, call, back)
        if former is not None:
            await former.close(4002, "another connection has the session")

    async def _answer(self, socket: ServerConnection, call: dict[str, Any], result: object) -> None:
        await self._send(socket, {"jsonrpc": "2.0", "id": call["id"], "result": result})

    @staticmethod
    async def _send(socket: ServerConnection, message: dict[str, Any]) -> None:
        await socket.send(json.dumps(message))


_ME = {"id": ME, "user": "ada", "role": "presenter"}


@asynccontextmanager
async def small_portals(number: int) -> AsyncIterator[list[SmallPortal]]:
    """Start portals of one room; they are gone at the end."""
    room = SmallRoom()
    portals = [SmallPortal(room) for _ in range(number)]
    try:
        for portal in portals:
            await portal.start()
        yield portals
    finally:
        await asyncio.gather(*(portal.kill() for portal in portals))
