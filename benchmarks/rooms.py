"""What joins and other events of rooms cost, over NATS with fsynced events.

    python -m benchmarks.rooms [--json] [--joins N] [--events N] [--sizes N ...]

The cluster manager, the conference worker, its nodes and nats-server are processes of their own; the callers
share this process and one connection.  The bar: to join a room of 10,000 costs its node at most twice the
processor time that it costs to join a room of 10.
"""

import argparse
import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any, Final

from benchmarks.callers import Callers
from benchmarks.figures import cpu_seconds, percentile, process, report, server
from roomledger.domain.room_settings import DEFAULT_ROLES
from roomledger.event_store.connection import Connection, connect
from roomledger.event_store.jetstream import JetStreamStore
from roomledger.sdk.cluster import Cluster
from roomledger.sdk.rooms import Conference, Controller
from roomledger_events.envelope import Event, Payload
from roomledger_events.identifiers import new_id
from roomledger_events.rooms import Media, ParticipantJoined, Permission, RoomCreated, RoomSettings
from roomledger_events.subjects import Boundary, Kind
from roomledger_events.tokens import TokenIssued

WORKER: Final = "conference-1"
MAX_RATIO: Final = 2.0
ROUNDS: Final = 10
ALL: Final = Permission(publish=Media(audio=True, video=True), subscribe=Media(audio=True, video=True))


class Stage:
    """A cluster with one conference worker, and the way to it."""

    def __init__(self, broker: Connection, store: JetStreamStore, callers: Callers, nats: int) -> None:
        self.broker = broker
        self.callers = callers
        self.nats = nats
        self.conference = Conference(broker, actor="benchmark", time_limit=30)
        self._cluster = Cluster(broker, actor="benchmark")
        self._store = store

    async def room(self, room: str, participants: int = 0) -> None:
        """Create a room in which participants are already: p0, p1, ..."""
        settings = RoomSettings(name=room, roles=DEFAULT_ROLES)
        created = RoomCreated(room=room, service="s1", settings=settings)
        last = await self._append(Boundary(Kind.ROOM, room), [(created, room)], 0)
        for start in range(0, participants, 200):
            joined = [_joined(number) for number in range(start, min(participants, start + 200))]
            last = await self._append(Boundary(Kind.ROOM, room), joined, last)

    async def tokens(self, room: str, number: int) -> list[str]:
        """Issue tokens for a room."""
        tokens = [new_id() for _ in range(number)]
        for start in range(0, number, 200):
            issued = [(_issued(room, token), token) for token in tokens[start : start + 200]]
            await self._append(Boundary(Kind.TOKEN, room), issued, None)
        return tokens

    async def node(self, room: str) -> tuple[str, int]:
        """Have a room run, and return its node and that one's process."""
        await self._cluster.schedule("conference", room)
        node = await self.conference.get_node(WORKER, room)
        view = await self.conference.query_node(WORKER, node=node)
        assert view.pid is not None
        return node, view.pid

    async def _append(
        self, boundary: Boundary, facts: Sequence[tuple[Payload, str]], expected: int | None
    ) -> int:
        now = datetime.now(UTC)
        events = [
            Event.of(
                data,
                about=about,
                id=new_id(),
                source="benchmark",
                time=now,
                correlation=about,
                actor="benchmark",
            )
            for data, about in facts
        ]
        return await self._store.append(boundary, events, expected)


@asynccontextmanager
async def stage(nodes: int) -> AsyncIterator[Stage]:
    """Yield a cluster whose conference worker has so many nodes."""
    async with (
        server() as (nats, path),
        process(nats, path / "manager", "cluster-manager"),
        process(
            nats,
            path / "conference",
            "conference",
            ROOMLEDGER_WORKER_ID=WORKER,
            ROOMLEDGER_MAX_NODES=str(nodes),
            ROOMLEDGER_PRERUN=str(nodes),
        ),
    ):
        broker = await connect(nats.url, "service", nats.credentials["service"])
        callers = await Callers.connect(nats.url, "service", nats.credentials["service"])
        assert nats.pid is not None
        yield Stage(broker, await JetStreamStore.open(broker), callers, nats.pid)
        await broker.close()


# -- Joins by callers


async def joins(concurrencies: Sequence[int], number: int) -> list[dict[str, object]]:
    """Return a row for each number of callers who join an empty room."""
    rows: list[dict[str, object]] = []
    async with stage(1) as there:
        for concurrency in concurrencies:
            for warm in (True, False):
                room = f"joins-{concurrency}-{warm}"
                wanted = max(100, number // 10) if warm else number if concurrency > 1 else number // 4
                await there.room(room)
                node, pid = await there.node(room)
                calls = _joins(node, room, await there.tokens(room, wanted), count())
                before = cpu_seconds(pid), cpu_seconds(there.nats)
                seconds = await there.callers.run(calls, concurrency)
                used = cpu_seconds(pid) - before[0], cpu_seconds(there.nats) - before[1]
                assert not there.callers.failures, there.callers.failures[0]
            rows.append(
                {
                    "callers": concurrency,
                    "joins/s": round(len(calls) / seconds),
                    "p50 ms": percentile(there.callers.latencies, 0.5) * 1000,
                    "p99 ms": percentile(there.callers.latencies, 0.99) * 1000,
                    "node µs CPU a join": used[0] / len(calls) * 1e6,
                    "nats-server µs CPU a join": used[1] / len(calls) * 1e6,
                }
            )
    return rows


# -- Events by rooms


async def events(rooms: Sequence[int], number: int, callers: int, nodes: int) -> list[dict[str, object]]:
    """Return a row for each number of rooms that the callers' permissions are changed in."""
    rows: list[dict[str, object]] = []
    async with stage(nodes) as there:
        for together in rooms:
            names = [f"events-{together}-{number}" for number in range(together)]
            each = max(1, 2 * callers // together)
            for name in names:
                await there.room(name, each)
            placed = [await there.node(name) for name in names]
            pids = dict.fromkeys(pid for _, pid in placed)
            targets = [
                (node, name, f"p{who}")
                for who in range(each)
                for (node, _), name in zip(placed, names, strict=True)
            ]
            calls = [
                _permission(*targets[turn % len(targets)], allowed=turn // len(targets) % 2 == 1)
                for turn in range(number)
            ]
            before = [cpu_seconds(pid) for pid in pids]
            seconds = await there.callers.run(calls, callers)
            used = sum(map(cpu_seconds, pids)) - sum(before)
            assert not there.callers.failures, there.callers.failures[0]
            rows.append(
                {
                    "rooms": together,
                    "nodes": len(pids),
                    "callers": callers,
                    "events/s": round(len(calls) / seconds),
                    "p50 ms": percentile(there.callers.latencies, 0.5) * 1000,
                    "p99 ms": percentile(there.callers.latencies, 0.99) * 1000,
                    "nodes' µs CPU an event": used / len(calls) * 1e6,
                }
            )
    return rows


# -- Joins by the size of the room


async def growth(sizes: Sequence[int], number: int) -> list[dict[str, object]]:
    """Return a row for each size of a room; they take turns, to meet the same noise."""
    async with stage(1) as there:
        placed: dict[int, tuple[str, int]] = {}
        tokens: dict[int, list[str]] = {}
        for size in sizes:
            await there.room(f"size-{size}", size)
            placed[size] = await there.node(f"size-{size}")
            tokens[size] = await there.tokens(f"size-{size}", number)
        used = dict.fromkeys(sizes, 0.0)
        took: dict[int, list[float]] = {size: [] for size in sizes}
        names = count()
        for turn in range(ROUNDS):
            for size in sizes:
                room, (node, pid) = f"size-{size}", placed[size]
                part = tokens[size][turn * number // ROUNDS : (turn + 1) * number // ROUNDS]
                calls = _joins(node, room, part, names)
                before = cpu_seconds(pid)
                await there.callers.run(calls, 1)
                used[size] += cpu_seconds(pid) - before
                assert not there.callers.failures, there.callers.failures[0]
                took[size] += there.callers.latencies
                await there.callers.run([_leave(node, room, body) for _, body in calls], 16)
        client = Controller(there.broker, actor="benchmark")
        rows: list[dict[str, object]] = []
        for size in sizes:
            first, next_ = [await _complete(there, client, size, placed[size][0]) for _ in range(2)]
            rows.append(
                {
                    "in the room": size,
                    "node µs CPU a join": used[size] / number * 1e6,
                    "p50 ms": percentile(took[size], 0.5) * 1000,
                    "p99 ms": percentile(took[size], 0.99) * 1000,
                    "with the whole list, first ms": first,
                    "then ms": next_,
                }
            )
        return rows


async def _complete(there: Stage, client: Controller, size: int, node: str) -> float:
    """Return the ms that a join takes a portal that wants to know of everybody, and leave again."""
    room, me = f"size-{size}", new_id()
    (token,) = await there.tokens(room, 1)
    await asyncio.sleep(0.1)
    begin = time.perf_counter()
    joined = await client.join(node, room, token, participant=me, portal="portal-1")
    took = (time.perf_counter() - begin) * 1000
    assert len(joined.room.participants) == size + 1
    await client.leave(node, room, me, reason="logout")
    return took


# -- What goes over the wire


def _joins(node: str, room: str, tokens: Sequence[str], names: "count[int]") -> list[tuple[bytes, bytes]]:
    subject = f"rpc.controller.{node}.join".encode()
    return [
        (
            subject,
            json.dumps(
                {
                    "room": room,
                    "token": token,
                    "participant": {"id": f"guest-{next(names)}", "portal": "portal-1"},
                    "meta": {"command": new_id(), "correlation": token, "actor": "portal:portal-1"},
                }
            ).encode(),
        )
        for token in tokens
    ]


def _leave(node: str, room: str, join: bytes) -> tuple[bytes, bytes]:
    who: str = json.loads(join)["participant"]["id"]
    body = {"room": room, "participant": who, "reason": "logout"}
    return f"rpc.controller.{node}.leave".encode(), json.dumps(body).encode()


def _permission(node: str, room: str, participant: str, *, allowed: bool) -> tuple[bytes, bytes]:
    body = {
        "room": room,
        "participant": participant,
        "permission": {"publish": {"audio": allowed}},
        "meta": {"command": new_id(), "actor": "service:s1"},
    }
    return f"rpc.controller.{node}.set_permission".encode(), json.dumps(body).encode()


def _joined(number: int) -> tuple[Payload, str]:
    who = f"p{number}"
    joined = ParticipantJoined(
        participant=who,
        user=f"user {number}",
        role="presenter",
        permission=ALL,
        portal="portal-1",
        token=new_id(),
    )
    return joined, who


def _issued(room: str, token: str) -> TokenIssued:
    return TokenIssued(
        token=token,
        code=new_id(),
        room=room,
        service="s1",
        user="ada",
        role="presenter",
        portal="portal-1",
        expires_at=datetime.now(UTC) + timedelta(hours=1),
    )


def main() -> int:
    """Run the benchmark; the exit code says whether the bar was held."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--callers", type=int, nargs="+", default=[1, 16, 64])
    parser.add_argument("--joins", type=int, default=4_000)
    parser.add_argument("--rooms", type=int, nargs="+", default=[1, 10, 100])
    parser.add_argument("--events", type=int, default=10_000)
    parser.add_argument("--nodes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10, 100, 1_000, 10_000])
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    by_callers = asyncio.run(joins(given.callers, given.joins))
    report("joins over NATS", by_callers, as_json=given.json)
    by_rooms = asyncio.run(events(given.rooms, given.events, 64, given.nodes))
    report("events of rooms", by_rooms, as_json=given.json)
    by_size: list[dict[str, Any]] = asyncio.run(growth(given.sizes, max(ROUNDS, given.joins // 10)))
    report("joins by the size of the room", by_size, as_json=given.json)
    costs = [row["node µs CPU a join"] for row in by_size]
    ratio = max(costs) / costs[0]
    if not given.json:
        print(f"a join costs at most {ratio:.2f} times what it costs in the smallest room (bar {MAX_RATIO})")
    return 0 if ratio <= MAX_RATIO else 1


if __name__ == "__main__":
    sys.exit(main())
