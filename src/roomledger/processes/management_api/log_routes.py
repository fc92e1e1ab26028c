"""The paths of what the log says: the state at a moment, and what concerns something."""

from http import HTTPStatus
from typing import Annotated, Final

from fastapi import APIRouter, Query, Request, Response

from roomledger.domain.trail import Trail
from roomledger.processes.management_api.audits import Audits
from roomledger.processes.management_api.description import problems
from roomledger.processes.management_api.log_shapes import (
    AuditShape,
    EventShape,
    StateShape,
    WantedEvents,
    WantedState,
    moment_of,
)
from roomledger.processes.management_api.requests import Caller
from roomledger.processes.management_api.services import Services
from roomledger.processes.management_api.states import States
from roomledger_events.envelope import Address
from roomledger_events.mentions import Thing

NO_MOMENT: Final = "the log begins after that moment, or ends before it: `no_such_moment`"
TOO_FAR: Final = "more would have to be read for that moment than is read for an answer: `too_far`"


def log_routes(states: States, audits: Audits, services: Services) -> APIRouter:
    """Return the paths of what the log says."""
    router = APIRouter(prefix="/v1", tags=["log"])

    def seen_by(service: str) -> str | None:
        return None if services.is_super(service) else service

    @router.get(
        "/state", response_model=StateShape, responses=problems(not_found=NO_MOMENT, bad_request=TOO_FAR)
    )
    async def get_state(
        wanted: Annotated[WantedState, Query()], service: Caller, request: Request
    ) -> Response:
        """Show the cluster at a moment, rebuilt from the log.

        The super-service sees all of it, the others all workers, and of the rest what belongs to their rooms.
        """
        state = await states.at(moment_of(wanted.at), seen_by(service), tokens=wanted.tokens)
        request.state.sequence = state.sequence
        return Response(state.body, HTTPStatus.OK, media_type="application/json")

    @router.get("/audit")
    async def get_audit(
        wanted: Annotated[WantedEvents, Query()], service: Caller, request: Request
    ) -> AuditShape:
        """List the events that concern a room, a participant, a token, a worker or a task, the newest last.

        Where several are named an event concerns each of them; where none is, all events are listed but load
        reports. The super-service sees them all, the others those of their rooms and of what their tokens led
        to. A page may have fewer events than asked for and not be the last one: `next` says whether it is.
        """
        named = (
            (Thing.ROOM, wanted.room),
            (Thing.PARTICIPANT, wanted.participant),
            (Thing.TOKEN, wanted.token),
            (Thing.WORKER, wanted.worker),
            (Thing.TASK, wanted.task),
        )
        page = await audits.page(
            [Trail(thing, name) for thing, name in named if name is not None],
            (moment_of(wanted.start), moment_of(wanted.until)),
            after=None if wanted.after is None else Address.parse(wanted.after),
            limit=wanted.limit,
            service=seen_by(service),
        )
        request.state.sequence = page.sequence
        following = None if page.next is None else str(page.next)
        return AuditShape(events=[EventShape.of(told) for told in page.events], next=following)

    return router
