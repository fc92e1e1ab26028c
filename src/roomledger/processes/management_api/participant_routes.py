"""The paths of participants."""

from http import HTTPStatus
from typing import Annotated, Final

from fastapi import APIRouter, Query, Request, Response

from roomledger.processes.management_api.description import problems
from roomledger.processes.management_api.participant_shapes import ParticipantShape, Patch, wish_of
from roomledger.processes.management_api.participants import MAX_REASON, Participants, Seen
from roomledger.processes.management_api.requests import Caller, Wanted, pages
from roomledger.processes.management_api.room_routes import NO_ROOM
from roomledger.processes.management_api.shapes import Id, Paging, Text

NOBODY: Final = f"{NO_ROOM}; nobody such is in it: `no_such_participant`"
Reason = Annotated[
    Text, Query(min_length=1, max_length=MAX_REASON, description="what the participant is told")
]


def participant_routes(participants: Participants) -> APIRouter:
    """Return the paths of participants."""
    router = APIRouter(prefix="/v1/rooms/{room}/participants", tags=["participants"])

    @router.get("", responses=problems(not_found=NO_ROOM))
    async def list_participants(
        room: Id, paging: Annotated[Paging, Query()], service: Caller, request: Request, response: Response
    ) -> list[ParticipantShape]:
        """List who is in a room, in the order of joining."""
        found, count, request.state.sequence = await participants.list(
            service, room, page=paging.page, per_page=paging.per_page
        )
        response.headers.update(pages(request, page=paging.page, per_page=paging.per_page, count=count))
        return [ParticipantShape.of(row) for row in found]

    @router.get("/{participant}", responses=problems(not_found=NOBODY))
    async def get_participant(
        room: Id, participant: Id, service: Caller, request: Request
    ) -> ParticipantShape:
        """Show a participant."""
        return _shown(await participants.get(service, room, participant), request)

    @router.patch("/{participant}", responses=problems(not_found=NOBODY))
    async def change_participant(
        room: Id, participant: Id, body: Patch, service: Caller, meta: Wanted, request: Request
    ) -> ParticipantShape:
        """Change what a participant may do (a JSON Patch): it is told, and enforced from here on."""
        wish = wish_of(body)
        seen = await participants.set_permission(service, room, participant, wish, meta)
        return _shown(seen, request)

    @router.delete("/{participant}", status_code=HTTPStatus.NO_CONTENT, responses=problems(not_found=NOBODY))
    async def remove_participant(
        room: Id,
        participant: Id,
        service: Caller,
        meta: Wanted,
        request: Request,
        reason: Reason | None = None,
    ) -> None:
        """Remove a participant from a room."""
        sequence = await participants.remove(service, room, participant, reason, meta)
        request.state.sequence = sequence

    return router


def _shown(seen: Seen, request: Request) -> ParticipantShape:
    request.state.sequence = seen.sequence
    return ParticipantShape.of(seen.row, seen.permission)
