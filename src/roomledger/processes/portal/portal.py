"""The portal: the worker that clients connect to."""

import asyncio
import socket
import ssl
from collections.abc import Sequence
from typing import Final, TypedDict

import structlog

from roomledger.event_store.connection import Connection
from roomledger.event_store.store import EventStore
from roomledger.processes.portal.entrance import Entrance
from roomledger.processes.portal.errands import Errands
from roomledger.processes.portal.gateway import Gateway, tls_context
from roomledger.processes.portal.inquiries import Inquiries
from roomledger.processes.portal.live_rooms import LiveRooms
from roomledger.processes.portal.lobby import Lobby
from roomledger.processes.portal.return_desk import ReturnDesk
from roomledger.processes.portal.room_feed import RoomFeeds
from roomledger.processes.portal.session import Here
from roomledger.processes.portal.socketio_gateway import SocketGateway
from roomledger.processes.portal.whereabouts import Whereabouts
from roomledger.runtime.access import subjects
from roomledger.runtime.ending import end
from roomledger.runtime.ticket_keys import TicketKeys
from roomledger.runtime.token_keys import TokenKeys
from roomledger.sdk.cluster import Cluster
from roomledger.sdk.former import end_former
from roomledger.sdk.rooms import Conference, Controller
from roomledger.sdk.worker import DrainEnded, MoveTasks, Worker
from roomledger.settings import Settings
from roomledger_events.identifiers import new_id, new_secret_id
from roomledger_events.workers import WorkerInfo

PURPOSE: Final = "portal"
MAX_LOAD: Final = 0.9
NODE_S: Final = 2.5
"""How long a conference worker has to find a node for a room, before it is looked for anew."""
INCARNATION: Final = "incarnation"
"""The property of its worker by which rooms know whether a run of the portal is over."""
FAREWELL_S: Final = 3.0
"""How long `Portal.stop` waits for rooms to be told who left."""
_EVERYWHERE: Final = frozenset({"0.0.0.0", "::"})  # noqa: S104  - recognized, not bound

log = structlog.get_logger(__name__)


class _Bounds(TypedDict):
    """What both gateways hold their clients to."""

    login_s: float
    max_message: int
    limit: int
    rate: float
    tls: ssl.SSLContext | None
    origins: Sequence[str]


class Portal:
    """One portal.

    Args:
        settings: What can be set.
        broker: A connection of its own.
        store: The log, on that connection.

    Raises:
        OSError: The certificate cannot be read.
        ssl.SSLError: It is none.

    Attributes:
        id: Its worker's id.
        port: Where it listens, once it is started.
        url: Where clients find it, once it is started.
        socketio_url: Where existing clients find it, once it is started; None if it does not listen for them.
    """

    def __init__(self, settings: Settings, broker: Connection, store: EventStore) -> None:
        self.id = settings.worker_id or f"portal-{new_secret_id()[:8]}"
        self.here = Here(self.id, new_id())
        self.port = 0
        self.url = ""
        self.socketio_url: str | None = None
        self._settings = settings
        self._broker = broker
        self._store = store
        self._cluster = Cluster(broker, actor=f"portal:{self.id}")
        self._keys = TokenKeys(broker, settings)
        self._ticket_keys = TicketKeys(broker, settings)
        self._failure: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()
        live = LiveRooms(broker, store, subjects(settings))
        self._feeds = RoomFeeds(store, live.follow, self._fail)
        bounds = _Bounds(
            login_s=settings.login_timeout_ms / 1000,
            max_message=settings.max_message_bytes,
            limit=settings.portal_connections,
            rate=settings.client_rate,
            tls=tls_context(settings.portal_tls_cert, settings.portal_tls_key),
            origins=settings.portal_origins,
        )
        self._gateway = Gateway(**bounds)
        self._socketio: SocketGateway | None = None
        if settings.socketio:
            self._socketio = SocketGateway(settings.host, settings.socketio_port, **bounds)
        self._worker: Worker | None = None
        self._errands: Errands | None = None
        self._lobby: Lobby | None = None
        self._listening: asyncio.Task[None] | None = None

    @property
    def connections(self) -> int:
        """How many clients are connected."""
        existing = 0 if self._socketio is None else self._socketio.connections
        return self._gateway.connections + existing

    @property
    def sessions(self) -> int:
        """How many sessions are here, with those that wait for their clients."""
        return 0 if self._lobby is None else self._lobby.sessions

    @property
    def draining(self) -> bool:
        """Whether it lets nobody new in."""
        return self._worker is not None and self._worker.draining

    async def start(self) -> None:
        """Listen for clients, and join the cluster.

        Raises:
            CannotListen: The address cannot be had.
            LogUnavailable: The token keys could not be read.
            Refusal: The cluster does not take it.
        """
        await self._keys.load()
        await self._ticket_keys.load()
        settings = self._settings
        self.port = await self._gateway.bind(settings.host, settings.portal_port)
        try:
            host = self._host()
            tls = settings.portal_tls_cert is not None
            name = f"[{host}]" if ":" in host else host
            self.url = f"{'wss' if tls else 'ws'}://{name}:{self.port}/"
            if self._socketio is not None:
                self._socketio.bind()
                self.socketio_url = f"{'https' if tls else 'http'}://{name}:{self._socketio.port}"
            self._worker = Worker(
                self._cluster, purpose=PURPOSE, worker=self.id, info=self._info(host), load=self._load
            )
            self._lobby = self._furnish(self._worker)
            await end_former(self._cluster, purpose=PURPOSE, worker=self.id)
            # A room takes those for gone who are at a run of the portal that the cluster does not know.
            await self._worker.start()
            for gateway in self._gateways():
                await gateway.open(self._lobby)
            self._listening = asyncio.create_task(self._listen(self._worker), name=f"news of {self.id}")
        except BaseException:
            await self._close()
            raise
        log.info("the portal serves", worker=self.id, url=self.url, socketio=self.socketio_url)

    async def stop(self) -> None:
        """Close all connections, tell the rooms who left or waits, and quit the cluster."""
        await self._close()
        if self._lobby is not None:
            await self._lobby.close()
        await self._feeds.close()
        if self._errands is not None:
            await self._errands.finish(FAREWELL_S)
        if self._worker is not None:
            await self._worker.stop()
        await end(self._listening)

    async def failed(self) -> BaseException:
        """Return what ended the portal that it cannot mend: the log is not the one that it followed."""
        return await asyncio.shield(self._failure)

    def _gateways(self) -> list[Gateway | SocketGateway]:
        return [self._gateway] if self._socketio is None else [self._gateway, self._socketio]

    async def _close(self) -> None:
        await asyncio.gather(*(gateway.stop() for gateway in self._gateways()))

    def _furnish(self, worker: Worker) -> Lobby:
        actor = f"portal:{self.id}"
        controller = Controller(self._broker, actor=actor)
        conference = Conference(self._broker, actor=actor, time_limit=NODE_S)
        whereabouts = Whereabouts(self._cluster, conference)
        inquiries = Inquiries(whereabouts)
        settings = self._settings
        self._errands = Errands(
            whereabouts, controller, worker, self.here, grace_ms=settings.reconnection_timeout_ms
        )
        desk = ReturnDesk(
            self._ticket_keys,
            inquiries,
            controller,
            self._store,
            self.here,
            life_ms=settings.ticket_life_ms,
        )
        return Lobby(
            here=self.here,
            entrance=Entrance(self._keys, inquiries, controller, self.here),
            desk=desk,
            feeds=self._feeds,
            errands=self._errands,
            inquiries=inquiries,
            controller=controller,
            worker=worker,
        )

    async def _listen(self, worker: Worker) -> None:
        """Act on what the cluster says to its worker.

        A task that is another worker's now needs nothing: the room tells where its session is. Nor does
        having been given up: a room that found somebody away is told by the session that it is there.
        """
        async for news in worker:
            if self._lobby is None:
                continue
            if isinstance(news, MoveTasks):
                self._lobby.emptying = True
                for gateway in self._gateways():
                    gateway.empty("the portal is being emptied")
            elif isinstance(news, DrainEnded):
                self._lobby.emptying = False

    def _host(self) -> str:
        """Return the host that clients are told."""
        settings = self._settings
        return settings.advertise or (socket.gethostname() if settings.host in _EVERYWHERE else settings.host)

    def _info(self, host: str) -> WorkerInfo:
        return WorkerInfo(
            ip=host,
            hostname=self._settings.advertise,
            port=self.port if self._socketio is None else self._socketio.port,
            secure=self._settings.portal_tls_cert is not None,
            max_load=MAX_LOAD,
            properties={"url": self.url, INCARNATION: self.here.incarnation},
        )

    def _load(self) -> float:
        return min(1.0, self.connections / self._settings.portal_connections)

    def _fail(self, error: Exception) -> None:
        if not self._failure.done():
            self._failure.set_result(error)
