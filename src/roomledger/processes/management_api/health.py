"""Whether the process is alive, and whether it can do its work."""

from fastapi import APIRouter
from nats.aio.client import Client

from roomledger.domain.errors import Code
from roomledger.event_store.store import EventStore
from roomledger.processes.management_api.errors import Problem
from roomledger.runtime.projector import Projector


def health(broker: Client, store: EventStore, projector: Projector) -> APIRouter:
    """Return the paths that ask for it; anybody may."""
    router = APIRouter(tags=["health"])

    @router.get("/healthz")
    async def healthz() -> dict[str, str]:
        """Say that the process is alive."""
        return {"status": "alive"}

    @router.get("/readyz")
    async def readyz() -> dict[str, str | int]:
        """Say that the log answers, and that what is known has caught up with it; 503 if not."""
        if not broker.is_connected:
            raise Problem.retryable(Code.LOG_UNAVAILABLE, "the broker is out of reach")
        head = await store.position()
        await projector.caught_up(head.sequence)
        return {"status": "ready", "sequence": head.sequence}

    return router
