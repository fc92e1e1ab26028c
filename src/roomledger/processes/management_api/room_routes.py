"""The paths of rooms."""

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from roomledger.processes.management_api.description import problems
from roomledger.processes.management_api.known_rooms import KnownRoom
from roomledger.processes.management_api.requests import Caller, Wanted, once_of, pages
from roomledger.processes.management_api.rooms import Rooms
from roomledger.processes.management_api.shapes import Id, NewRoom, Paging, RoomChange, RoomShape
from roomledger.processes.management_api.tokens import Tokens

NO_ROOM = "the service has no such room: `no_such_room`"


def room_routes(rooms: Rooms, tokens: Tokens) -> APIRouter:
    """Return the paths of rooms."""
    router = APIRouter(prefix="/v1/rooms", tags=["rooms"])

    @router.post(
        "",
        status_code=HTTPStatus.CREATED,
        responses=problems(conflict="there is another room of this id: `room_exists`"),
    )
    async def create_room(
        body: NewRoom, service: Caller, meta: Wanted, request: Request, response: Response
    ) -> RoomShape:
        """Create a room. Without roles it gets the default ones, without an id a new one."""
        once = once_of(request)
        room = body.id or (None if once is None else once.id("room"))
        created = await rooms.create(
            service, body.settings(), meta, room=room, again=once is not None and once.again
        )
        response.headers["Location"] = request.url_for("get_room", room=created.id).path
        return _shown(created, request)

    @router.get("")
    async def list_rooms(
        paging: Annotated[Paging, Query()], service: Caller, request: Request, response: Response
    ) -> list[RoomShape]:
        """List the rooms of the service, oldest first."""
        found, count, request.state.sequence = await rooms.list(
            service, page=paging.page, per_page=paging.per_page
        )
        response.headers.update(pages(request, page=paging.page, per_page=paging.per_page, count=count))
        return [RoomShape.of(room.id, room.settings) for room in found]

    @router.get("/{room}", responses=problems(not_found=NO_ROOM))
    async def get_room(room: Id, service: Caller, request: Request) -> RoomShape:
        """Show a room."""
        return _shown(await rooms.get(service, room), request)

    @router.put("/{room}", responses=problems(not_found=NO_ROOM))
    async def replace_room(
        room: Id, body: RoomChange, service: Caller, meta: Wanted, request: Request
    ) -> RoomShape:
        """Replace what is set of a room: what is left out is the default, but for the name.

        Who is in stays in, with the same permission.
        """
        return _shown(await rooms.change(service, room, body.of(room).instead_of, meta), request)

    @router.patch("/{room}", responses=problems(not_found=NO_ROOM))
    async def change_room(
        room: Id, body: RoomChange, service: Caller, meta: Wanted, request: Request
    ) -> RoomShape:
        """Change what is set of a room: what is left out stays (lists are replaced as a whole).

        Who is in stays in, with the same permission.
        """
        return _shown(await rooms.change(service, room, body.of(room).onto, meta), request)

    @router.delete("/{room}", status_code=HTTPStatus.NO_CONTENT, responses=problems(not_found=NO_ROOM))
    async def delete_room(room: Id, service: Caller, meta: Wanted, request: Request) -> None:
        """Delete a room: everybody in it is out, for the reason `room_deleted`, and its tokens are void."""
        request.state.sequence = await rooms.delete(service, room, meta)
        tokens.give_back_of(room, request.state.sequence, meta)

    return router


def _shown(room: KnownRoom, request: Request) -> RoomShape:
    request.state.sequence = room.sequence
    return RoomShape.of(room.id, room.settings)
