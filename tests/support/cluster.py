"""A cluster for a test: real processes' shells on a real nats-server, in the test's own event loop."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from roomledger.event_store.connection import Connection, connect
from roomledger.event_store.jetstream import JetStreamStore
from roomledger.processes.cluster_manager.manager import ClusterManager
from roomledger.processes.conference.conference import Conference
from roomledger.runtime.access import Access, layout
from roomledger.sdk.cluster import Cluster
from roomledger.sdk.worker import Worker
from roomledger.settings import Settings
from roomledger_events.envelope import Commit, Event, Payload
from roomledger_events.identifiers import new_id
from roomledger_events.rooms import Media, Role, RoomCreated, RoomSettings
from roomledger_events.subjects import Boundary, Kind
from roomledger_events.tokens import TokenIssued
from roomledger_events.workers import WorkerInfo
from tests.support.nats import NatsServer, until

PRESENTER = Role(
    role="presenter",
    publish=Media(audio=True, video=True),
    subscribe=Media(audio=True, video=True),
)


def event(data: Payload, about: str, *, correlation: str = "test") -> Event:
    """Put data into an envelope, as a process would."""
    return Event.of(
        data,
        about=about,
        id=new_id(),
        source="test",
        time=datetime.now(UTC),
        correlation=correlation,
        actor="test",
    )


class TestCluster:
    """Starts processes on one nats-server; all are stopped at the end, the last one first."""

    __test__ = False

    def __init__(self, server: NatsServer, path: Path, stack: AsyncExitStack) -> None:
        self.server = server
        self._path = path
        self._stack = stack
        self.access: Access

    def settings(self, **changes: Any) -> Settings:  # noqa: ANN401  - what a test sets
        password = self.server.credentials["service"]
        return Settings(
            **{
                "data_dir": self._path,
                "nats_url": self.server.url,
                "nats_password": password,
                "api_port": 0,
                "portal_port": 0,
                "socketio_port": 0,
                **changes,
            }
        )

    async def connect(self, **changes: Any) -> Access:  # noqa: ANN401  - what a test sets
        connection: Connection = await connect(self.server.url, "service", self.server.credentials["service"])
        self._stack.push_async_callback(connection.close)
        store = await JetStreamStore.open(connection, layout(self.settings(**changes)))
        return Access(connection, store)

    async def start(self, make: Any, **changes: Any) -> Any:  # noqa: ANN401  - any of the processes
        """Start a process on a connection of its own."""
        access = await self.connect()
        process = make(self.settings(**changes), access.broker, access.store)
        self._stack.push_async_callback(process.stop)
        await process.start()
        return process

    async def manager(self, **changes: Any) -> ClusterManager:  # noqa: ANN401  - what a test sets
        """Start a cluster manager and wait until it is the active one."""
        manager: ClusterManager = await self.start(ClusterManager, **changes)
        await until(manager.active.is_set)
        return manager

    async def conference(self, **changes: Any) -> Conference:  # noqa: ANN401  - what a test sets
        conference: Conference = await self.start(Conference, **changes)
        return conference

    def cluster(self, actor: str = "test") -> Cluster:
        return Cluster(self.access.broker, actor=actor)

    async def worker(self, purpose: str, worker: str, load: float = 0.1, **info: Any) -> Worker:  # noqa: ANN401
        """Start a worker that beats."""
        told = WorkerInfo(**{"ip": "127.0.0.1", "max_load": 0.9, **info})
        started = Worker(self.cluster(), purpose=purpose, worker=worker, info=told, load=lambda: load)
        self._stack.push_async_callback(started.stop)
        await started.start()
        return started

    async def room(self, room: str, limit: int = -1) -> None:
        """Create a room, as the management API does."""
        settings = RoomSettings(name=room, participant_limit=limit, roles=(PRESENTER,))
        created = RoomCreated(room=room, service="s1", settings=settings, generation=1)
        await self.access.store.append(Boundary(Kind.ROOM, room), [event(created, room)], 0)

    async def token(self, room: str, user: str = "ada", life_s: float = 60, generation: int = 1) -> str:
        """Issue a token, as the management API does, and return its id."""
        issued = _issued(room, user, life_s, generation)
        token = issued.token
        await self.access.store.append(Boundary(Kind.TOKEN, room), [event(issued, token)], None)
        return token

    async def tokens(self, room: str, number: int) -> list[str]:
        """Issue tokens, many in one commit, and return their ids."""
        issued = [_issued(room, "ada", 600, 1) for _ in range(number)]
        for start in range(0, number, 200):
            events = [event(each, each.token) for each in issued[start : start + 200]]
            await self.access.store.append(Boundary(Kind.TOKEN, room), events, None)
        return [each.token for each in issued]

    async def commits(self) -> list[Commit]:
        return [commit async for commit in self.access.store.read()]

    async def types(self, kind: Kind, name: str) -> list[str]:
        """Return the types of a boundary's events, in order."""
        read = self.access.store.read((Boundary(kind, name),))
        return [each.type async for commit in read for each in commit.events]


def _issued(room: str, user: str, life_s: float, generation: int) -> TokenIssued:
    return TokenIssued(
        token=new_id(),
        code=new_id(),
        room=room,
        service="s1",
        user=user,
        role="presenter",
        portal="p1",
        generation=generation,
        expires_at=datetime.now(UTC) + timedelta(seconds=life_s),
    )


@asynccontextmanager
async def running_cluster(server: NatsServer, path: Path) -> AsyncIterator[TestCluster]:
    """Yield a cluster without any process yet."""
    async with AsyncExitStack() as stack:
        cluster = TestCluster(server, path, stack)
        cluster.access = await cluster.connect()
        yield cluster
