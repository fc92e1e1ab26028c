"""The two kinds of log that the contract is tested on, each with what can befall a log."""

import asyncio
import shutil
from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol, Self

from nats.aio.client import Client

from roomledger.event_store.connection import Connection, connect
from roomledger.event_store.jetstream import JetStreamStore
from roomledger.event_store.layout import Layout
from roomledger.event_store.memory import MemoryStore
from roomledger.event_store.reading import Patience
from roomledger.event_store.store import EventStore
from roomledger.runtime.nats_credentials import INBOX_PREFIX
from roomledger_events.envelope import Commit, Event, Payload
from roomledger_events.identifiers import new_id
from roomledger_events.rooms import RoomDeleted, TextSent
from roomledger_events.subjects import Boundary, Kind, Subjects
from roomledger_events.workers import LoadReported, WorkerQuit
from tests.support.nats import NatsServer, until

ROOM = Boundary(Kind.ROOM, "r1")
OTHER = Boundary(Kind.ROOM, "r2")
TOKENS = Boundary(Kind.TOKEN, "r1")
TEXT = Boundary(Kind.TEXT, "r1")
SCHEDULER = Boundary(Kind.SCHEDULER, "portal")
LOAD = Boundary(Kind.LOAD, "portal")
NODES = Boundary(Kind.NODES, "w1")
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)

IMPATIENT = Patience(attempt_s=0.3, limit_s=1.5, heartbeat_s=0.2)


def event(data: Payload | None = None) -> Event:
    return Event.of(
        data or RoomDeleted(room="r1"),
        about="r1",
        id=new_id(),
        source="test",
        time=NOON,
        correlation="c1",
        actor="service:s1",
    )


def load() -> Event:
    return event(LoadReported(worker="w1", load=0.5))


def text() -> Event:
    return event(TextSent(sender="p1", to="all", message="hello"))


def quit_event() -> Event:
    return event(WorkerQuit(worker="w1"))


async def fill(store: EventStore, commits: int, boundary: Boundary = ROOM, expected: int = 0) -> list[int]:
    """Append commits of one event each and return their sequences."""
    sequences = []
    for _ in range(commits):
        expected = await store.append(boundary, [event()], expected)
        sequences.append(expected)
    return sequences


async def everything(commits: AsyncGenerator[Commit]) -> list[Commit]:
    async with aclosing(commits):
        return [commit async for commit in commits]


async def first(count: int, commits: AsyncGenerator[Commit], seconds: float = 20.0) -> list[Commit]:
    """Take so many commits, then close the generator."""
    taken: list[Commit] = []
    async with asyncio.timeout(seconds), aclosing(commits):
        async for commit in commits:
            taken.append(commit)
            if len(taken) == count:
                break
    return taken


class Follower:
    """Follows a log in a task of its own, with an eye on what it has seen."""

    def __init__(self, commits: AsyncGenerator[Commit]) -> None:
        self.seen: list[Commit] = []
        self._commits = commits
        self._task: asyncio.Task[None]

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._follow())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    @property
    def sequences(self) -> list[int]:
        return sequences_of(self.seen)

    async def has(self, count: int, seconds: float = 20.0) -> None:
        """Wait until it has seen so many, or has failed."""
        await until(lambda: len(self.seen) >= count or self._task.done(), seconds)
        if self._task.done():
            self._task.result()

    async def ended(self, seconds: float = 20.0) -> None:
        """Wait until it has failed; raises what it failed with."""
        async with asyncio.timeout(seconds):
            await asyncio.shield(self._task)

    async def _follow(self) -> None:
        async with aclosing(self._commits):
            async for commit in self._commits:
                self.seen.append(commit)


def sequences_of(commits: list[Commit]) -> list[int]:
    return [commit.sequence for commit in commits]


class Log(Protocol):
    """A log with a store on it, and what can befall it."""

    @property
    def store(self) -> EventStore:
        """The store."""
        ...

    async def reopen(self) -> EventStore:
        """Open it once more, as a process that starts does."""
        ...

    async def put(self, boundary: Boundary, body: bytes) -> int:
        """Store what another program would."""
        ...

    async def expire(self, sequence: int) -> None:
        """Let a commit of an expiring kind expire."""
        ...

    async def back_up(self) -> None:
        """Keep the log as it is now."""
        ...

    async def restore(self) -> None:
        """Put back what was kept."""
        ...

    async def replace(self) -> None:
        """Put another log in its place."""
        ...

    async def close(self) -> None:
        """Clear up."""
        ...


class LogInMemory:
    def __init__(self) -> None:
        self.memory = MemoryStore()
        self.store: EventStore = self.memory
        self._kept = 0

    async def reopen(self) -> EventStore:
        self.memory.reopen()
        return self.memory

    async def put(self, boundary: Boundary, body: bytes) -> int:
        return self.memory.put(boundary, body)

    async def expire(self, sequence: int) -> None:
        self.memory.expire(sequence)

    async def back_up(self) -> None:
        self._kept = (await self.store.position()).sequence

    async def restore(self) -> None:
        self.memory.go_back(self._kept)

    async def replace(self) -> None:
        self.memory.replace()

    async def close(self) -> None:
        pass


class LogInJetStream:
    """A log on a real server; its messages expire after a second."""

    layout = Layout(max_bytes=64 * 1024 * 1024, load_ttl_s=1, text_ttl_s=1)

    def __init__(self, server: NatsServer, path: Path) -> None:
        self.server = server
        self.store: JetStreamStore
        self.connection: Connection
        self._connections: list[Connection] = []
        self._kept = path / "kept"

    async def open(self, layout: Layout | None = None, patience: Patience = IMPATIENT) -> JetStreamStore:
        self.connection = await self.connect()
        self.store = await JetStreamStore.open(self.connection, layout or self.layout, patience=patience)
        return self.store

    async def connect(self, url: str | None = None, user: str = "service") -> Connection:
        connection = await connect(
            url or self.server.url,
            user,
            self.server.credentials[user],
            inbox_prefix=INBOX_PREFIX[user],
        )
        self._connections.append(connection)
        return connection

    async def reopen(self) -> EventStore:
        return await JetStreamStore.open(await self.connect(), self.layout, patience=IMPATIENT)

    async def admin(self) -> Client:
        return await self.server.connect("admin")

    async def put(self, boundary: Boundary, body: bytes) -> int:
        admin = await self.admin()
        return (await admin.jetstream().publish(Subjects().of(boundary), body)).seq

    async def expire(self, sequence: int) -> None:
        async def is_gone() -> bool:
            return not await everything(self.store.read(start=sequence, until=sequence))

        await until(is_gone)

    async def back_up(self) -> None:
        await self.server.stop()
        shutil.copytree(self._files(), self._kept)
        await self.server.start()

    async def restore(self) -> None:
        await self.server.stop()
        shutil.rmtree(self._files())
        shutil.copytree(self._kept, self._files())
        await self.server.start()

    async def replace(self) -> None:
        jetstream = (await self.admin()).jetstream()
        await jetstream.delete_stream(self.layout.name)
        await self.reopen()

    async def close(self) -> None:
        for connection in self._connections:
            await connection.close()

    def _files(self) -> Path:
        return self.server.directory.path / "jetstream"
