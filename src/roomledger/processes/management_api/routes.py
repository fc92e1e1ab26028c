"""The paths of the management API."""

import re
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from fastapi.responses import PlainTextResponse
from fastapi.security import HTTPBearer

from roomledger.domain.errors import Code
from roomledger.event_store.store import EventStore
from roomledger.processes.management_api.doorway import SEQUENCE
from roomledger.processes.management_api.errors import Problem
from roomledger.processes.management_api.rooms import KnownRoom, Rooms
from roomledger.processes.management_api.shapes import (
    Id,
    NewRoom,
    NewToken,
    Paging,
    PreferenceShape,
    ProblemShape,
    RoomShape,
)
from roomledger.processes.management_api.tokens import Tokens, Wish
from roomledger.runtime.commands import Meta
from roomledger.runtime.projector import Projector
from roomledger_events.identifiers import new_id

TOTAL: Final = "Total-Count"
MAX_SEQUENCE: Final = 2**63 - 1
_traceparent: Final = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}").fullmatch


def _problems(*statuses: HTTPStatus) -> dict[int | str, dict[str, Any]]:
    schema = ProblemShape.model_json_schema()
    content = {"application/problem+json": {"schema": schema}}
    return {
        int(status): {"description": status.phrase, "content": content}
        for status in (
            HTTPStatus.BAD_REQUEST,
            HTTPStatus.UNAUTHORIZED,
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            HTTPStatus.SERVICE_UNAVAILABLE,
            *statuses,
        )
    }


# Coroutines, though they wait for nothing: FastAPI runs plain functions in threads.
async def service_of(request: Request) -> str:
    """Return the service that a request comes from; the doorway found it out."""
    return str(request.state.service)


async def traceparent_of(request: Request) -> str | None:
    """Return the W3C trace context of a request, if it has one."""
    given = request.headers.get("traceparent", "")
    return given if _traceparent(given) else None


Caller = Annotated[str, Depends(service_of)]
Trace = Annotated[str | None, Depends(traceparent_of)]


async def meta_of(service: Caller, trace: Trace) -> Meta:
    """Return what goes with a command of this request."""
    return Meta(f"service:{service}", command=new_id(), traceparent=trace)


Wanted = Annotated[Meta, Depends(meta_of)]


def routes(rooms: Rooms, tokens: Tokens, projector: Projector, store: EventStore) -> APIRouter:
    """Return the paths under ``/v1``."""
    # The doorway has asked for it already; this is for the description.
    key = Depends(HTTPBearer(auto_error=False, description="the service's key"))
    reflected = Depends(_reflecting(projector, store))
    router = APIRouter(prefix="/v1", dependencies=[key, reflected])
    _add_rooms(router, rooms)
    _add_tokens(router, tokens)
    return router


def _reflecting(projector: Projector, store: EventStore) -> Callable[..., Awaitable[None]]:
    async def reflect(
        at_least: Annotated[
            int | None,
            Header(
                alias=SEQUENCE,
                ge=0,
                le=MAX_SEQUENCE,
                description="the answer reflects at least this sequence of the log",
            ),
        ] = None,
    ) -> None:
        if at_least is None or at_least <= projector.position:
            return
        head = await store.position()
        if at_least > head.sequence:
            raise Problem(
                HTTPStatus.BAD_REQUEST,
                Code.INVALID_ARGUMENT,
                f"{SEQUENCE}: the log ends at {head.sequence}, before {at_least}",
            )
        await projector.caught_up(at_least)

    return reflect


def _add_rooms(router: APIRouter, rooms: Rooms) -> None:
    @router.post("/rooms", status_code=HTTPStatus.CREATED, responses=_problems(), tags=["rooms"])
    async def create_room(
        body: NewRoom, service: Caller, meta: Wanted, request: Request, response: Response
    ) -> RoomShape:
        """Create a room. Without roles it gets the default ones."""
        room = await rooms.create(service, body.settings(), meta)
        response.headers["Location"] = request.url_for("get_room", room=room.id).path
        return _shown(room, request)

    @router.get("/rooms", responses=_problems(), tags=["rooms"])
    async def list_rooms(
        paging: Annotated[Paging, Query()], service: Caller, request: Request, response: Response
    ) -> list[RoomShape]:
        """List the rooms of the service, oldest first; the header Total-Count says how many there are."""
        found, count, request.state.sequence = await rooms.list(
            service, page=paging.page, per_page=paging.per_page
        )
        response.headers[TOTAL] = str(count)
        return [RoomShape.of(room.id, room.settings) for room in found]

    @router.get("/rooms/{room}", responses=_problems(HTTPStatus.NOT_FOUND), tags=["rooms"])
    async def get_room(room: Id, service: Caller, request: Request) -> RoomShape:
        """Show a room."""
        return _shown(await rooms.get(service, room), request)


def _add_tokens(router: APIRouter, tokens: Tokens) -> None:
    @router.post(
        "/rooms/{room}/tokens",
        response_class=PlainTextResponse,
        responses=_problems(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT),
        tags=["tokens"],
    )
    async def issue_token(
        room: Id, body: NewToken, service: Caller, trace: Trace, request: Request
    ) -> PlainTextResponse:
        """Issue a token: the right to join the room once. 409 `no_match`: no portal serves the preference."""
        preference = (body.preference or PreferenceShape()).plain()
        issued = await tokens.issue(service, room, Wish(body.user, body.role, preference, trace))
        request.state.sequence = issued.sequence
        return PlainTextResponse(issued.text, headers={"Cache-Control": "no-store"})

    @router.delete(
        "/tokens/{token}",
        status_code=HTTPStatus.NO_CONTENT,
        responses=_problems(HTTPStatus.NOT_FOUND),
        tags=["tokens"],
    )
    async def revoke_token(token: Id, service: Caller, meta: Wanted, request: Request) -> None:
        """Revoke a token: one that was not used yet can never be used."""
        request.state.sequence = await tokens.revoke(service, token, meta)


def _shown(room: KnownRoom, request: Request) -> RoomShape:
    request.state.sequence = room.sequence
    return RoomShape.of(room.id, room.settings)
