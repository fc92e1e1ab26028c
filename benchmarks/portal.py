"""What a portal's connections weigh, how fast it lets clients in, and how fast a text reaches a full room.

    python -m benchmarks.portal [--json] [--connections N] [--room N] [--logins N] [--callers N ...]

Portal, conference worker, nodes, cluster manager, nats-server and all clients are processes of their own.
The bar: an idle connection costs the portal at most 25 KB.
"""

import argparse
import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import psutil

from benchmarks.callers import Callers
from benchmarks.figures import cpu_seconds, percentile, process, report, server
from benchmarks.rooms import WORKER, Stage
from benchmarks.sockets import ClientProcess, allow, clients
from roomledger.domain.signed_token import Claims, sign
from roomledger.event_store.connection import connect
from roomledger.event_store.jetstream import JetStreamStore
from roomledger.runtime.token_keys import TokenKeys
from roomledger.settings import Settings

BAR_KB: Final = 25.0
IN_A_ROOM: Final = 50
IDLE_S: Final = 30.0
"""For how long it is watched what they cost while nothing happens: a ping of each, at least."""
SETTLE_S: Final = 2.0
"""How long the portal has to let go of what it needs for a moment only."""


class House:
    """A portal with what it needs, and clients.

    Attributes:
        url: The portal's.
        pid: The portal's process.
        clients: The process of all clients.
    """

    def __init__(self, stage: Stage, key: bytes, url: str, pid: int, clients: ClientProcess) -> None:
        self.url = url
        self.pid = pid
        self.clients = clients
        self._stage = stage
        self._key = key
        self._rooms = 0

    async def tokens(self, count: int, in_a_room: int = IN_A_ROOM) -> list[str]:
        """Return so many tokens, for rooms of this size, which run already."""
        texts: list[str] = []
        while len(texts) < count:
            self._rooms += 1
            room = f"room-{self._rooms}"
            await self._stage.room(room)
            ids = await self._stage.tokens(room, min(in_a_room, count - len(texts)))
            await self._stage.node(room)
            texts += [self._token(room, each) for each in ids]
        return texts

    def _token(self, room: str, token: str) -> str:
        host = self.url.partition("//")[2].rstrip("/")
        claims = Claims(token=token, host=host, secure=False, room=room, code=token, url=self.url)
        return sign(self._key, claims)

    def resident_kb(self) -> float:
        """Return how much memory the portal has, in KB."""
        return psutil.Process(self.pid).memory_info().rss / 1000


@asynccontextmanager
async def house(connections: int) -> AsyncIterator[House]:
    """Run everything."""
    allow(connections)
    async with (
        server() as (nats, path),
        process(nats, path / "manager", "cluster-manager"),
        process(
            nats, path / "conference", "conference", ROOMLEDGER_WORKER_ID=WORKER, ROOMLEDGER_MAX_NODES="1"
        ),
        process(
            nats,
            path / "portal",
            "portal",
            ROOMLEDGER_PORTAL_PORT="0",
            ROOMLEDGER_SOCKETIO_PORT="0",
            ROOMLEDGER_PORTAL_CONNECTIONS=str(2 * connections),
            ROOMLEDGER_LOGIN_TIMEOUT_MS="3600000",
        ) as portal,
        clients() as outside,
    ):
        broker = await connect(nats.url, "service", nats.credentials["service"])
        callers = await Callers.connect(nats.url, "service", nats.credentials["service"])
        keys = TokenKeys(broker, Settings())
        await keys.load()
        assert nats.pid is not None
        stage = Stage(broker, await JetStreamStore.open(broker), callers, nats.pid)
        url = json.loads((path / "portal" / "endpoints.json").read_text())["portal"]
        yield House(stage, keys.signing, url, portal.pid, outside)
        await broker.close()


# -- What connections weigh


async def weights(connections: int) -> list[dict[str, object]]:
    """Return a row for connections that wait for a login, and one for those that are in a room."""
    async with house(connections) as there:
        await _warm(there)
        await asyncio.sleep(SETTLE_S)
        empty = there.resident_kb()
        await there.clients.do("open", url=there.url, count=connections)
        before = await _weight(there, connections, empty, "before the login")
    async with house(connections) as there:
        await _warm(there)
        tokens = await there.tokens(connections)
        await asyncio.sleep(SETTLE_S)
        empty = there.resident_kb()
        await there.clients.do("login", url=there.url, tokens=tokens, concurrency=16, reconnect=True)
        after = await _weight(there, connections, empty, f"in rooms of {IN_A_ROOM}")
    return [before, after]


async def _warm(there: House) -> None:
    """Have everything loaded that is needed once."""
    tokens = await there.tokens(2 * IN_A_ROOM)
    await there.clients.do("login", url=there.url, tokens=tokens, concurrency=16, reconnect=False)
    await there.clients.do("close")


async def _weight(there: House, connections: int, empty: float, where: str) -> dict[str, object]:
    await asyncio.sleep(SETTLE_S)
    weight = (there.resident_kb() - empty) / connections
    before, begin = cpu_seconds(there.pid), time.perf_counter()
    await asyncio.sleep(IDLE_S)
    share = (cpu_seconds(there.pid) - before) / (time.perf_counter() - begin)
    alive = await there.clients.do("alive")
    assert alive == connections, f"{connections - alive} connections were closed"
    return {
        "idle connections": connections,
        "where": where,
        "KB a connection": weight,
        "bar KB": BAR_KB,
        "portal's CPU %": share * 100,
    }


# -- Logins


async def logins(callers: list[int], count: int) -> list[dict[str, object]]:
    """Return a row for each number of clients that log in at once, connecting included."""
    rows: list[dict[str, object]] = []
    async with house(count) as there:
        await _warm(there)
        for concurrency in callers:
            tokens = await there.tokens(count if concurrency > 1 else count // 4)
            before = cpu_seconds(there.pid)
            done = await there.clients.do(
                "login", url=there.url, tokens=tokens, concurrency=concurrency, reconnect=True
            )
            used = cpu_seconds(there.pid) - before
            rows.append(
                {
                    "callers": concurrency,
                    "logins/s": round(len(tokens) / done["seconds"]),
                    "p50 ms": percentile(done["took"], 0.5) * 1000,
                    "p99 ms": percentile(done["took"], 0.99) * 1000,
                    "portal's µs CPU a login": used / len(tokens) * 1e6,
                }
            )
            await there.clients.do("close")
    return rows


# -- A text to a full room


async def texts(size: int, times: int) -> list[dict[str, object]]:
    """Return how long texts take from the one who sends them to everybody in a room."""
    async with house(size) as there:
        tokens = await there.tokens(size, in_a_room=size)
        await there.clients.do("login", url=there.url, tokens=tokens, concurrency=16, reconnect=True)
        await asyncio.sleep(SETTLE_S)
        await there.clients.do("text", times=2)
        before = cpu_seconds(there.pid)
        came = await there.clients.do("text", times=times)
        used = cpu_seconds(there.pid) - before
    return [
        {
            "in the room": size,
            "texts": times,
            "reached": len(came["each"]) // times,
            "p50 ms": percentile(came["each"], 0.5) * 1000,
            "p99 ms": percentile(came["each"], 0.99) * 1000,
            "last one, p50 ms": percentile(came["last"], 0.5) * 1000,
            "portal's ms CPU a text": used / times * 1000,
        }
    ]


def main() -> int:
    """Run the benchmark; the exit code says whether the bar was held."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--connections", type=int, default=5_000)
    parser.add_argument(
        "--room", type=int, default=1_000, help="how many are in the room that a text is sent to"
    )
    parser.add_argument("--texts", type=int, default=50)
    parser.add_argument("--logins", type=int, default=2_000)
    parser.add_argument("--callers", type=int, nargs="+", default=[1, 16, 64])
    parser.add_argument("--only", choices=["weight", "logins", "texts"])
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    held = True
    if given.only in {None, "weight"}:
        rows: list[dict[str, Any]] = asyncio.run(weights(given.connections))
        report("what idle connections of a portal weigh", rows, as_json=given.json)
        held = all(row["KB a connection"] <= BAR_KB for row in rows)
    if given.only in {None, "logins"}:
        rows = asyncio.run(logins(given.callers, given.logins))
        report("logins", rows, as_json=given.json)
    if given.only in {None, "texts"}:
        rows = asyncio.run(texts(given.room, given.texts))
        report("texts to a full room", rows, as_json=given.json)
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
