"""The cluster manager: follows the log until the lease is its own, then decides until it is not."""

import asyncio
import contextlib
from functools import cache
from typing import Any, NamedTuple

import structlog
from nats.aio.client import Client

from roomledger import __version__
from roomledger.domain.decider import Decider
from roomledger.domain.errors import Refusal
from roomledger.domain.purpose import PurposeSettings
from roomledger.domain.scheduler import SCHEDULER
from roomledger.domain.scheduler_snapshot import freeze
from roomledger.domain.scheduler_state import SchedulerState
from roomledger.event_store.errors import Conflict, EventStoreError, LogUnavailable
from roomledger.event_store.store import Bookmark, EventStore
from roomledger.processes.cluster_manager.active import Active, Desk
from roomledger.processes.cluster_manager.following import Following
from roomledger.processes.cluster_manager.lease import Lease
from roomledger.processes.cluster_manager.methods import methods
from roomledger.processes.cluster_manager.snapshots import EVERY_EVENTS, EVERY_S, Snapshots, Taken
from roomledger.runtime.calls import serve
from roomledger.runtime.ending import end
from roomledger.runtime.purposes import settings_of
from roomledger.sdk.cluster import PREFIX
from roomledger.settings import Settings
from roomledger_events.identifiers import new_secret_id

NAME = "cluster-manager"
STOP_S = 6.0
"""How long what is under way may take at the end."""
_PAUSE_S = 0.5

log = structlog.get_logger(__name__)


class _Looked(NamedTuple):
    bookmark: Bookmark
    purposes: dict[str, Taken]


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
        self._snapshots = Snapshots(
            broker, store, bucket=f"{settings.log_name}_SNAPSHOTS", replicas=settings.log_replicas
        )
        self._lease = Lease(
            broker,
            bucket=f"{settings.log_name}_LEASES",
            holder=self.id,
            replicas=settings.log_replicas,
        )
        self._running: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()

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
        self._stopping.set()
        if self._running is not None:
            await asyncio.wait({self._running}, timeout=STOP_S)
        await end(self._running)

    async def failed(self) -> BaseException:
        """Return what ended the manager that cannot be mended here, such as a log that was replaced."""
        if self._running is None:
            raise RuntimeError("a manager is watched after its start")
        await asyncio.wait({self._running})
        return self._running.exception() or asyncio.CancelledError()

    async def _run(self) -> None:
        while not self._stopping.is_set():
            found = await self._snapshots.load() if self._settings.snapshots else None
            purposes, sequence = found or ({}, 0)
            self._following.begin(purposes, sequence)
            if not await self._wait_for_the_lease():
                return
            last: _Looked | None = None
            holding = asyncio.create_task(self._lease.hold(), name="lease")
            try:
                last = await self._decide(holding)
            except (LogUnavailable, Conflict) as error:
                log.warning("cannot take over now", manager=self.id, why=str(error))
                await asyncio.sleep(_PAUSE_S)
            finally:
                held = not holding.done()
                await end(holding)
                if held:
                    await self._lease.release()
            if last is not None:
                # Only now: another manager need not wait for it.
                await self._snapshots.save(*last)

    async def _wait_for_the_lease(self) -> bool:
        """Follow the log until the lease is this manager's; False if it is to stop."""
        following = self._following.start()
        acquiring = asyncio.create_task(self._lease.acquire(), name="waiting for the lease")
        stopping = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait({following, acquiring, stopping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            acquired, stopped = acquiring.done(), stopping.done()
            await end(acquiring, stopping)
            await self._following.stop()
        if acquired and stopped:
            await self._lease.release()
        elif not acquired and not stopped:
            raise RuntimeError("following the log ended by itself")
        return acquired and not stopped

    async def _decide(self, holding: "asyncio.Task[None]") -> "_Looked | None":
        """Decide as long as the lease holds and no other manager has taken over.

        Returns what there was to be seen at the end, if the end was a stop.
        """
        await self._following.catch_up()
        active = Active(
            self._broker,
            self._store,
            # Of its own for each time, so that what this process did before is told from what it does now.
            manager=f"{self.id}-{new_secret_id()[:6]}",
            settings=self._purpose,
            decider=self._decider,
        )
        watched = {
            holding,
            asyncio.create_task(active.deposed.wait()),
            asyncio.create_task(self._stopping.wait()),
        }
        keeping: asyncio.Task[None] | None = None
        try:
            await active.start(self._following.purposes, self._following.sequence)
            service = await serve(
                self._broker, name=NAME, version=__version__, prefix=PREFIX, methods=methods(active)
            )
            self.active.set()
            log.info("deciding", manager=self.id, purposes=len(active.desks))
            keeping = asyncio.create_task(self._keep_snapshots(active), name="snapshots")
            try:
                await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)
            finally:
                self.active.clear()
                with contextlib.suppress(Exception):
                    await service.stop()
            if self._stopping.is_set() and not active.deposed.is_set():
                with contextlib.suppress(EventStoreError, Refusal):
                    return await self._look(active)
            return None
        finally:
            await end(keeping, *(watched - {holding}))
            await active.stop()

    async def _keep_snapshots(self, active: Active) -> None:
        kept = -self._following.events
        while True:
            await asyncio.sleep(EVERY_S)
            written = sum(desk.writer.events for desk in active.desks.values())
            if written - kept < EVERY_EVENTS:
                continue
            with contextlib.suppress(EventStoreError, Refusal):
                if await self._snapshots.save(*await self._look(active)):
                    kept = written

    async def _look(self, active: Active) -> "_Looked":
        """Return what the log has led to; each purpose is looked at when it is its turn."""
        bookmark = await self._snapshots.bookmark()
        taken = {purpose: await _taken(desk) for purpose, desk in active.desks.items()}
        return _Looked(bookmark, taken)

    def _settings_of(self, purpose: str) -> PurposeSettings:
        return settings_of(self._settings, purpose)

    def _decider_of(self, purpose: str) -> Decider[SchedulerState, Any]:
        return SCHEDULER(self._purpose(purpose))


async def _taken(desk: Desk) -> Taken:
    def take(state: SchedulerState, sequence: int, basis: int) -> Taken:
        return Taken(freeze(state), sequence, basis, desk.writer.commands())

    return await desk.writer.at_rest(take)
