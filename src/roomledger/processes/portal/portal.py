"""The portal: the worker that clients connect to."""

import asyncio
import socket
from typing import Final

import structlog
from nats.aio.client import Client

from roomledger.event_store.store import EventStore
from roomledger.processes.portal.departures import Departures
from roomledger.processes.portal.entrance import Entrance
from roomledger.processes.portal.gateway import Gateway
from roomledger.processes.portal.lobby import Lobby
from roomledger.processes.portal.room_feed import RoomFeeds
from roomledger.processes.portal.whereabouts import Whereabouts
from roomledger.runtime.token_keys import TokenKeys
from roomledger.sdk.cluster import Cluster
from roomledger.sdk.former import end_former
from roomledger.sdk.rooms import Conference, Controller
from roomledger.sdk.worker import Worker
from roomledger.settings import Settings
from roomledger_events.identifiers import new_secret_id
from roomledger_events.workers import WorkerInfo

PURPOSE: Final = "portal"
MAX_LOAD: Final = 0.9
NODE_S: Final = 2.5
"""How long a conference worker has to find a node for a room, before it is looked for anew."""
FAREWELL_S: Final = 3.0
"""How long `Portal.stop` waits for rooms to be told who left."""
_EVERYWHERE: Final = frozenset({"0.0.0.0", "::"})  # noqa: S104  - recognized, not bound

log = structlog.get_logger(__name__)


class Portal:
    """One portal.

    Args:
        settings: What can be set.
        broker: A connection of its own.
        store: The log, on that connection.

    Attributes:
        id: Its worker's id.
        port: Where it listens, once it is started.
        url: Where clients find it, once it is started.
    """

    def __init__(self, settings: Settings, broker: Client, store: EventStore) -> None:
        self.id = settings.worker_id or f"portal-{new_secret_id()[:8]}"
        self.port = 0
        self.url = ""
        self._settings = settings
        self._broker = broker
        self._cluster = Cluster(broker, actor=f"portal:{self.id}")
        self._keys = TokenKeys(broker, settings)
        self._failure: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()
        self._feeds = RoomFeeds(store, self._fail)
        self._gateway = Gateway(
            login_s=settings.login_timeout_ms / 1000,
            max_message=settings.max_message_bytes,
            limit=settings.portal_connections,
        )
        self._worker: Worker | None = None
        self._departures: Departures | None = None

    @property
    def connections(self) -> int:
        """How many clients are connected."""
        return self._gateway.connections

    async def start(self) -> None:
        """Listen for clients, and join the cluster.

        Raises:
            CannotListen: The address cannot be had.
            LogUnavailable: The token keys could not be read.
            Refusal: The cluster does not take it.
        """
        await self._keys.load()
        settings = self._settings
        self.port = await self._gateway.bind(settings.host, settings.portal_port)
        try:
            host = self._host()
            self.url = f"ws://{f'[{host}]' if ':' in host else host}:{self.port}/"
            self._worker = Worker(
                self._cluster, purpose=PURPOSE, worker=self.id, info=self._info(host), load=self._load
            )
            await self._gateway.open(self._furnish(self._worker))
            await end_former(self._cluster, purpose=PURPOSE, worker=self.id)
            await self._worker.start()
        except BaseException:
            await self._gateway.stop()
            raise
        log.info("the portal serves", worker=self.id, url=self.url)

    async def stop(self) -> None:
        """Close all connections, tell the rooms who left, and quit the cluster."""
        await self._gateway.stop()
        await self._feeds.close()
        if self._departures is not None:
            await self._departures.finish(FAREWELL_S)
        if self._worker is not None:
            await self._worker.stop()

    async def failed(self) -> BaseException:
        """Return what ended the portal that it cannot mend: the log is not the one that it followed."""
        return await asyncio.shield(self._failure)

    def _furnish(self, worker: Worker) -> Lobby:
        actor = f"portal:{self.id}"
        controller = Controller(self._broker, actor=actor)
        conference = Conference(self._broker, actor=actor, time_limit=NODE_S)
        whereabouts = Whereabouts(self._cluster, conference)
        self._departures = Departures(whereabouts, controller, worker)
        return Lobby(
            entrance=Entrance(self._keys, whereabouts, controller, self.id),
            feeds=self._feeds,
            departures=self._departures,
            whereabouts=whereabouts,
            controller=controller,
            worker=worker,
        )

    def _host(self) -> str:
        """Return the host that clients are told."""
        settings = self._settings
        return settings.advertise or (socket.gethostname() if settings.host in _EVERYWHERE else settings.host)

    def _info(self, host: str) -> WorkerInfo:
        return WorkerInfo(
            ip=host,
            hostname=self._settings.advertise,
            port=self.port,
            max_load=MAX_LOAD,
            properties={"url": self.url},
        )

    def _load(self) -> float:
        return min(1.0, self._gateway.connections / self._settings.portal_connections)

    def _fail(self, error: Exception) -> None:
        if not self._failure.done():
            self._failure.set_result(error)
