"""The cluster manager: follows the log until the lease is its own, then decides until it is not."""

import asyncio
import contextlib
from functools import cache
from typing import Any

import structlog
from nats.aio.client import Client

from roomledger import __version__
from roomledger.domain.decider import Decider
from roomledger.domain.purpose import PurposeSettings
from roomledger.domain.scheduler import SCHEDULER
from roomledger.domain.scheduler_state import SchedulerState
from roomledger.event_store.errors import Conflict, LogUnavailable
from roomledger.event_store.store import EventStore
from roomledger.processes.cluster_manager.active import Active
from roomledger.processes.cluster_manager.following import Following
from roomledger.processes.cluster_manager.lease import Lease
from roomledger.processes.cluster_manager.methods import methods
from roomledger.runtime.calls import serve
from roomledger.runtime.ending import end
from roomledger.sdk.cluster import PREFIX
from roomledger.settings import Settings
from roomledger_events.identifiers import new_secret_id

NAME = "cluster-manager"
_PAUSE_S = 0.5

log = structlog.get_logger(__name__)


class ClusterManager:
    """One of any number of managers on one log.

    Args:
        settings: What can be set.
        broker: A connection of its own.
        store: The log, on that connection.
    """

    def __init__(self, settings: Settings, broker: Client, store: EventStore) -> None:
        self.id = settings.manager_id or f"manager-{new_secret_id()[:8]}"
        self.active = asyncio.Event()
        self._settings = settings
        self._broker = broker
        self._store = store
        self._purpose = cache(self._settings_of)
        self._decider = cache(self._decider_of)
        self._following = Following(store, self._decider)
        self._lease = Lease(
            broker,
            bucket=f"{settings.log_name}_LEASES",
            holder=self.id,
            replicas=settings.log_replicas,
        )
        self._running: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Follow the log, and decide as soon as it is this manager's turn.

        Raises:
            UnknownStrategy: The settings name a strategy that does not exist.
            LogUnavailable: The lease's bucket could not be made.
        """
        for purpose in self._settings.scheduler:
            self._purpose(purpose)
        await self._lease.prepare()
        self._running = asyncio.create_task(self._run(), name=f"cluster manager {self.id}")

    async def stop(self) -> None:
        """Decide no more, and let another manager take over at once."""
        await end(self._running)

    async def failed(self) -> BaseException:
        """Return what ended the manager that cannot be mended here, such as a log that was replaced."""
        if self._running is None:
            raise RuntimeError("a manager is watched after its start")
        await asyncio.wait({self._running})
        return self._running.exception() or asyncio.CancelledError()

    async def _run(self) -> None:
        while True:
            await self._wait_for_the_lease()
            holding = asyncio.create_task(self._lease.hold(), name="lease")
            try:
                await self._decide(holding)
            except (LogUnavailable, Conflict) as error:
                log.warning("cannot take over now", manager=self.id, why=str(error))
                await asyncio.sleep(_PAUSE_S)
            finally:
                held = not holding.done()
                await end(holding)
                if held:
                    await self._lease.release()
            self._following.restart()

    async def _wait_for_the_lease(self) -> None:
        following = self._following.start()
        acquiring = asyncio.create_task(self._lease.acquire(), name="waiting for the lease")
        try:
            await asyncio.wait({following, acquiring}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            acquired = acquiring.done()
            await end(acquiring)
            await self._following.stop()
        if not acquired:
            raise RuntimeError("following the log ended by itself")

    async def _decide(self, holding: "asyncio.Task[None]") -> None:
        """Decide as long as the lease holds and no other manager has taken over."""
        await self._following.catch_up()
        active = Active(
            self._broker,
            self._store,
            # Of its own for each time, so that what this process did before is told from what it does now.
            manager=f"{self.id}-{new_secret_id()[:6]}",
            settings=self._purpose,
            decider=self._decider,
        )
        deposed = asyncio.create_task(active.deposed.wait())
        try:
            await active.start(self._following.purposes, self._following.sequence)
            service = await serve(
                self._broker, name=NAME, version=__version__, prefix=PREFIX, methods=methods(active)
            )
            self.active.set()
            log.info("deciding", manager=self.id, purposes=len(active.desks))
            try:
                await asyncio.wait({holding, deposed}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                self.active.clear()
                with contextlib.suppress(Exception):
                    await service.stop()
        finally:
            deposed.cancel()
            await active.stop()

    def _settings_of(self, purpose: str) -> PurposeSettings:
        default = PurposeSettings.default(purpose)
        given: dict[str, Any] = {}
        for name in ("default", purpose):
            found = self._settings.scheduler.get(name)
            if found is not None:
                given |= found.model_dump(exclude_none=True)
        return PurposeSettings(
            purpose=purpose,
            strategy=given.get("strategy", default.strategy),
            task_load=given.get("task_load", default.task_load),
            reserve_ms=given.get("reserve_ms", default.reserve_ms),
            lease_ms=given.get("lease_ms", default.lease_ms),
            load_threshold=given.get("load_change", default.load_threshold),
        )

    def _decider_of(self, purpose: str) -> Decider[SchedulerState, Any]:
        return SCHEDULER(self._purpose(purpose))
