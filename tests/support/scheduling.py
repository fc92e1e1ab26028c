"""A cluster manager's part of a token, as a real micro service that tests direct and look at."""

import asyncio
from datetime import UTC, datetime, timedelta

from nats.aio.client import Client

from roomledger.domain.errors import Refusal
from roomledger.runtime.calls import Method, Nothing, Service, serve
from roomledger.runtime.commands import Meta
from roomledger.sdk.cluster import PREFIX, OfWorkerAndTask, Schedule, Scheduled
from roomledger_events.workers import WorkerInfo

PORTAL = WorkerInfo(ip="192.0.2.7", hostname="portal.example.com", port=8080, max_load=0.9)


class Scheduling:
    """Answers ``schedule`` and ``unschedule``.

    Attributes:
        info: What the portal that is reserved tells of itself.
        refusals: What the next requests are refused with, one after the other.
        scheduled: What was asked for, with what went with it.
        unscheduled: What was given back.
        delay: How long a portal takes to be reserved, in seconds.
        asked: Set when a portal was asked for.
    """

    def __init__(self) -> None:
        self.info = PORTAL
        self.refusals: list[Refusal] = []
        self.scheduled: list[tuple[Schedule, Meta]] = []
        self.unscheduled: list[tuple[OfWorkerAndTask, Meta]] = []
        self.delay = 0.0
        self.asked = asyncio.Event()
        self._service: Service | None = None

    async def start(self, broker: Client) -> None:
        methods = {
            "schedule": Method(Schedule, self._schedule),
            "unschedule": Method(OfWorkerAndTask, self._unschedule),
        }
        self._service = await serve(
            broker, name="cluster-manager", version="0.0.1", prefix=PREFIX, methods=methods
        )

    async def stop(self) -> None:
        if self._service is not None:
            await self._service.stop()

    async def _schedule(self, request: Schedule, meta: Meta) -> Scheduled:
        self.scheduled.append((request, meta))
        self.asked.set()
        await asyncio.sleep(self.delay)
        if self.refusals:
            raise self.refusals.pop(0)
        expires_at = datetime.now(UTC) + timedelta(milliseconds=request.reserve_ms or 0)
        return Scheduled(worker="portal-1", info=self.info, expires_at=expires_at, sequence=1)

    async def _unschedule(self, request: OfWorkerAndTask, meta: Meta) -> Nothing:
        self.unscheduled.append((request, meta))
        return Nothing()
