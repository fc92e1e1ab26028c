"""The paths of workers and tasks."""

from typing import Annotated, Final

from fastapi import APIRouter, Query, Request, Response

from roomledger.processes.management_api.cluster_shapes import (
    DrainWish,
    Purpose,
    TaskShape,
    WorkerShape,
)
from roomledger.processes.management_api.description import problems
from roomledger.processes.management_api.explanation_shapes import ExplanationShape
from roomledger.processes.management_api.requests import Caller, pages, sent_meta_of
from roomledger.processes.management_api.services import Services
from roomledger.processes.management_api.shapes import Id, Paging
from roomledger.processes.management_api.workers import Workers, plain
from roomledger.sdk.cluster import WorkerView
from roomledger_events.envelope import to_json

NO_WORKER: Final = "there is no such worker: `no_such_worker`"
NO_TASK: Final = "no worker has such a task, or it belongs to another service's room or token: `no_such_task`"
NO_DECISION: Final = "nothing was decided on such a task, or it is another service's: `no_such_task`"
SUPER_ONLY: Final = "only the super-service may: `forbidden`"


def cluster_routes(workers: Workers, services: Services) -> APIRouter:
    """Return the paths of workers and tasks."""
    router = APIRouter(prefix="/v1/cluster", tags=["cluster"])

    def shown(view: WorkerView, service: str) -> WorkerShape:
        return WorkerShape.of(view, plain(view.info), with_tasks=services.is_super(service))

    @router.get("/workers")
    async def list_workers(
        paging: Annotated[PagingByPurpose, Query()], service: Caller, request: Request, response: Response
    ) -> list[WorkerShape]:
        """List the workers of a purpose, or all, in joining order."""
        page, per_page = paging.page, paging.per_page
        found, count = await workers.list(paging.purpose, page=page, per_page=per_page)
        response.headers.update(pages(request, page=page, per_page=per_page, count=count))
        return [shown(view, service) for view in found]

    @router.get("/workers/{worker}", responses=problems(not_found=NO_WORKER))
    async def get_worker(worker: Id, service: Caller) -> WorkerShape:
        """Show a worker."""
        return shown(await workers.get(worker), service)

    @router.post("/workers/{worker}/drain", responses=problems(not_found=NO_WORKER, forbidden=SUPER_ONLY))
    async def drain_worker(
        worker: Id, service: Caller, request: Request, body: DrainWish | None = None
    ) -> WorkerShape:
        """Let a worker get no new tasks; at the deadline it is told to move those that it has."""
        services.check_super(service)
        deadline_ms = None if body is None else body.deadline_ms
        return shown(await workers.drain(worker, deadline_ms, sent_meta_of(request)), service)

    @router.delete("/workers/{worker}/drain", responses=problems(not_found=NO_WORKER, forbidden=SUPER_ONLY))
    async def undrain_worker(worker: Id, service: Caller, request: Request) -> WorkerShape:
        """Let a worker get new tasks again."""
        services.check_super(service)
        return shown(await workers.undrain(worker, sent_meta_of(request)), service)

    @router.get("/tasks/{purpose}/{task}", responses=problems(not_found=NO_TASK))
    async def get_task(purpose: Purpose, task: Id, service: Caller) -> TaskShape:
        """Show which worker has a task: for `conference` a room's id, for `portal` a token's code.

        The super-service sees every task, the others those of their own rooms and tokens.
        """
        seen_by = None if services.is_super(service) else service
        return TaskShape.of(purpose, task, await workers.task(purpose, task, seen_by=seen_by))

    @router.get(
        "/tasks/{purpose}/{task}/explain",
        responses=problems(not_found=NO_DECISION),
        response_model=ExplanationShape,
    )
    async def explain_task(purpose: Purpose, task: Id, service: Caller) -> Response:
        """Explain the last decision on a task, made once more from the log, with every worker."""
        seen_by = None if services.is_super(service) else service
        explanation = await workers.explanation(purpose, task, seen_by=seen_by)
        return Response(to_json(explanation), media_type="application/json")

    return router


class PagingByPurpose(Paging):
    """Which part of the workers is wanted."""

    purpose: Purpose | None = None
