"""The paths of services: for the super-service."""

import secrets
from http import HTTPStatus
from typing import Annotated, Final

from fastapi import APIRouter, Query, Request, Response

from roomledger.processes.management_api.cluster_routes import SUPER_ONLY
from roomledger.processes.management_api.description import problems
from roomledger.processes.management_api.requests import Caller, once_of, pages
from roomledger.processes.management_api.service_shapes import CreatedService, NewService, ServiceShape
from roomledger.processes.management_api.services import KEY_BYTES, Services
from roomledger.processes.management_api.shapes import Id, Paging

EXISTS: Final = "there is a service of this id, or with this key: `service_exists`"


def service_routes(services: Services) -> APIRouter:
    """Return the paths of services."""
    router = APIRouter(prefix="/services", tags=["services"])

    @router.post(
        "",
        status_code=HTTPStatus.CREATED,
        responses=problems(forbidden=SUPER_ONLY, conflict=EXISTS),
    )
    async def create_service(
        body: NewService, service: Caller, request: Request, response: Response
    ) -> CreatedService:
        """Create a service. Its key is shown in this answer only."""
        services.check_super(service)
        once = once_of(request)
        made_up = secrets.token_hex(4) if once is None else once.id("service")[:8]
        key = body.key or (secrets.token_urlsafe(KEY_BYTES) if once is None else once.id("key"))
        created = await services.add(
            body.id or f"service-{made_up}", key, name=body.name, again=once is not None and once.again
        )
        response.headers["Cache-Control"] = "no-store"
        return CreatedService(id=created.id, name=created.name, created=created.created, key=key)

    @router.get("", responses=problems(forbidden=SUPER_ONLY))
    async def list_services(
        paging: Annotated[Paging, Query()], service: Caller, request: Request, response: Response
    ) -> list[ServiceShape]:
        """List the services, the oldest first."""
        services.check_super(service)
        page, per_page = paging.page, paging.per_page
        found = await services.list()
        response.headers.update(pages(request, page=page, per_page=per_page, count=len(found)))
        wanted = found[(page - 1) * per_page : page * per_page]
        return [ServiceShape.of(each, is_super=services.is_super(each.id)) for each in wanted]

    @router.delete(
        "/{id}",
        status_code=HTTPStatus.NO_CONTENT,
        responses=problems(
            forbidden=SUPER_ONLY,
            not_found="there is no such service: `no_such_service`",
            conflict="it is the super-service, which stays: `super_service`",
        ),
    )
    async def delete_service(id: Id, service: Caller) -> None:  # noqa: A002  - as the path has it
        """Delete a service: its key lets nobody in any more. Its rooms stay, with whoever is in them."""
        services.check_super(service)
        await services.remove(id)

    return router
