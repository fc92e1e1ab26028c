"""The paths of tokens."""

import re
from http import HTTPStatus
from typing import Any, Final

from fastapi import APIRouter, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import PlainTextResponse
from pydantic import TypeAdapter, ValidationError
from starlette.types import ASGIApp, Receive, Scope, Send

from roomledger.processes.management_api.description import problems
from roomledger.processes.management_api.requests import (
    Caller,
    Wanted,
    once_of,
    service_of,
    traceparent_of,
)
from roomledger.processes.management_api.room_routes import NO_ROOM
from roomledger.processes.management_api.shapes import Id, NewToken, PreferenceShape
from roomledger.processes.management_api.tokens import Tokens, Wish
from roomledger_events.identifiers import check_id

NO_TOKEN: Final = "the service has no such token: `invalid_token`"  # noqa: S105  - a sentence
PATH: Final = "/v1/rooms/{room}/tokens"
_path: Final = re.compile(r"/v1/rooms/([^/]+)/tokens").fullmatch
_ISSUE: Final[dict[str, Any]] = {
    "parameters": [{"name": "room", "in": "path", "required": True, "schema": TypeAdapter(Id).json_schema()}],
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/NewToken"}}},
    },
}


def token_routes(tokens: Tokens) -> APIRouter:
    """Return the paths of tokens."""
    router = APIRouter(prefix="/v1", tags=["tokens"])

    @router.post(
        "/rooms/{room}/tokens",  # noqa: FAST003  - `issue` reads it
        response_class=PlainTextResponse,
        responses=problems(not_found=NO_ROOM, conflict="no portal serves this preference: `no_match`"),
        openapi_extra=_ISSUE,
    )
    async def issue_token(request: Request) -> Response:
        """Issue a token: the right to join the room once."""
        return await issue(tokens, request)

    @router.delete(
        "/tokens/{token}", status_code=HTTPStatus.NO_CONTENT, responses=problems(not_found=NO_TOKEN)
    )
    async def revoke_token(token: Id, service: Caller, meta: Wanted, request: Request) -> None:
        """Revoke a token: one that was not used yet can never be used."""
        request.state.sequence = await tokens.revoke(service, token, meta)

    return router


class TokenPath:
    """Leads requests for tokens past the application, which would take a third of all that they cost.

    They are the ones that come for each user. What is answered is the same.

    Args:
        app: The application.
        tokens: The tokens of all rooms.
    """

    def __init__(self, app: ASGIApp, tokens: Tokens) -> None:
        self._app = app
        self._tokens = tokens

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Issue a token, or hand the request on (ASGI).

        Raises:
            Exception: Whatever comes in between; who stands outside makes a problem of it.
        """
        found = _path(scope["path"]) if scope["method"] == "POST" else None
        if found is None:
            await self._app(scope, receive, send)
            return
        scope["path_params"] = {"room": found[1]}
        scope["state"]["path"] = PATH
        response = await issue(self._tokens, Request(scope, receive))
        await response(scope, receive, send)


async def issue(tokens: Tokens, request: Request) -> Response:
    """Answer a request for a token.

    Raises:
        RequestValidationError: It is not as it should be.
        Refusal: There is no such room or role, or no portal takes the user.
        EventStoreError: The log cannot take it.
    """
    room, body = _read_room(request), _read_wish(await request.body())
    preference = (body.preference or PreferenceShape()).plain()
    wish = Wish(body.user, body.role, preference, traceparent_of(request))
    issued = await tokens.issue(service_of(request), room, wish, once_of(request))
    request.state.sequence = issued.sequence
    return PlainTextResponse(issued.text, headers={"Cache-Control": "no-store"})


def _read_room(request: Request) -> str:
    try:
        return check_id(request.path_params["room"])
    except ValueError as error:
        raise RequestValidationError([{"loc": ("path", "room"), "msg": str(error), "type": "id"}]) from None


def _read_wish(body: bytes) -> NewToken:
    try:
        return NewToken.model_validate_json(body)
    except ValidationError as error:
        errors = [
            {**each, "loc": ("body", *each["loc"])}
            for each in error.errors(include_url=False, include_input=False)
        ]
        raise RequestValidationError(errors) from None
