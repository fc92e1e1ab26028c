"""Participants whose portal died without a word: found away, so that they come back or leave.

A portal tells a room of each connection that it loses. One that was killed tells nothing; but the cluster
gives its worker up after the lease, and a portal that is started again under its id is another run of it. So
a node asks, as long as somebody is in its rooms, which run of their portals the cluster knows, and has each
room find those away who are at another one. From then on the room's own deadlines see to them.

A portal that the cluster gave up by mistake tells the room of each session that it is there.
"""

import asyncio
from collections.abc import Callable, Collection
from typing import Final

import structlog

from roomledger.domain.errors import Code, Refusal
from roomledger.processes.conference.controller import RoomController
from roomledger.runtime.ending import end
from roomledger.sdk.cluster import Cluster

PERIOD_S: Final = 2.0
"""How often the cluster is asked."""
INCARNATION: Final = "incarnation"
"""The property of a portal's worker that tells its runs apart."""
PURPOSE: Final = "portal"

log = structlog.get_logger(__name__)


class PortalWatch:
    """Watches the portals of those who are in a node's rooms.

    Args:
        cluster: Knows which portals there are.
        controllers: The node's controllers.
        grace_ms: How long a room waits for those whose portal is gone.
    """

    def __init__(
        self, cluster: Cluster, controllers: Callable[[], Collection[RoomController]], *, grace_ms: int
    ) -> None:
        self._cluster = cluster
        self._controllers = controllers
        self._grace_ms = grace_ms
        self._watching: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to watch."""
        self._watching = asyncio.create_task(self._watch(), name="portals")

    async def stop(self) -> None:
        """Watch no more."""
        await end(self._watching)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(PERIOD_S)
            try:
                await self._look()
            except Refusal as refusal:
                log.info("portals cannot be looked after at the moment", why=str(refusal))
            except Exception:
                log.exception("portals could not be looked after; trying again")

    async def _look(self) -> None:
        """Have rooms find those away whose portal is gone.

        Raises:
            Refusal: The cluster, or a room, cannot be asked now.
        """
        wanted = {controller: controller.portals() for controller in self._controllers()}
        running = {
            portal: await self._running(portal)
            for portal in sorted({portal for runs in wanted.values() for portal, _ in runs})
        }
        for controller, runs in wanted.items():
            for portal in sorted({portal for portal, run in runs if running[portal] != run}):
                found = await controller.lose_portal(portal, running[portal], self._grace_ms)
                log.info("a portal is gone", portal=portal, room=controller.room, participants=found)

    async def _running(self, portal: str) -> str | None:
        """Return which run of a portal the cluster knows; None if it knows none."""
        try:
            view = await self._cluster.get_worker(portal)
        except Refusal as refusal:
            if refusal.code is Code.NO_SUCH_WORKER:
                return None
            raise
        run = view.info.properties.get(INCARNATION)
        return run if view.purpose == PURPOSE and isinstance(run, str) else None
