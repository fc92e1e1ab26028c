"""Whether the process is alive, whether it can do its work, and its figures."""

from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, Response
from nats.aio.client import Client

from roomledger.domain.errors import Code
from roomledger.event_store.store import EventStore
from roomledger.processes.management_api.errors import Problem
from roomledger.processes.management_api.metrics import MEDIA_TYPE, Metrics
from roomledger.runtime.projector import Projector

NOT_READY: Any = {
    int(HTTPStatus.SERVICE_UNAVAILABLE): {"description": "not ready: `log_unavailable`, `not_ready`"}
}


def health(broker: Client, store: EventStore, projector: Projector, metrics: Metrics) -> APIRouter:
    """Return the paths that ask for it; anybody may."""
    router = APIRouter(tags=["health"])

    @router.get("/healthz")
    async def healthz() -> dict[str, str]:
        """Say that the process is alive."""
        return {"status": "alive"}

    @router.get("/readyz", responses=NOT_READY)
    async def readyz() -> dict[str, str | int]:
        """Say that the log answers, and that what is known has caught up with it; 503 if not."""
        if not broker.is_connected:
            raise Problem.retryable(Code.LOG_UNAVAILABLE, "the broker is out of reach")
        head = await store.position()
        await projector.caught_up(head.sequence)
        return {"status": "ready", "sequence": head.sequence}

    @router.get(
        "/metrics",
        response_class=Response,
        responses={int(HTTPStatus.OK): {"content": {"text/plain": {"schema": {"type": "string"}}}}},
    )
    async def show_metrics() -> Response:
        """Show figures for Prometheus."""
        return Response(metrics.text(), media_type=MEDIA_TYPE)

    return router
