"""What answers from the log look like on the wire: events, and states of the cluster."""

import re
from datetime import datetime
from typing import Annotated, Any, Final, Self

import msgspec
from pydantic import AfterValidator, ConfigDict, Field, WithJsonSchema

from roomledger.processes.management_api.shapes import Id, Shape
from roomledger.runtime.rebuilding import Moment
from roomledger.runtime.trails import Told
from roomledger_events.sentences import sentence

MOMENT: Final = (
    r"^([0-9]{1,18}|[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?"
    r"(Z|[+-][0-9]{2}:[0-9]{2}))$"
)
"""A sequence, or a time with its zone (RFC 3339)."""
ADDRESS: Final = r"^[0-9]{1,18}(\.[0-9]{1,3})?$"
MAX_TOKENS: Final = 100_000
MAX_EVENTS: Final = 1000


def _moment(text: str) -> str:
    if re.fullmatch(MOMENT[1:-1], text, re.ASCII) is None:
        raise ValueError("a sequence of the log, or a time with its zone such as 2026-01-31T12:00:00Z")
    moment_of(text)
    return text


def _address(text: str) -> str:
    if re.fullmatch(ADDRESS[1:-1], text, re.ASCII) is None:
        raise ValueError("an address in the log such as 1042.3")
    return text


def moment_of(text: str | None) -> Moment:
    """Return the moment that a text names, which has been checked."""
    if text is None:
        return None
    return int(text) if text.isdecimal() else datetime.fromisoformat(text)


_EXAMPLES: Final = {"examples": ["1042", "2026-01-31T12:00:00Z"]}
At = Annotated[
    str, AfterValidator(_moment), WithJsonSchema({"type": "string", "pattern": MOMENT, **_EXAMPLES})
]
Behind = Annotated[
    str,
    AfterValidator(_address),
    WithJsonSchema({"type": "string", "pattern": ADDRESS, "examples": ["1042.3"]}),
]


class _Shape(Shape):
    model_config = ConfigDict(alias_generator=None, strict=False)


class WantedState(_Shape):
    """Which state is wanted."""

    at: Annotated[
        At | None, Field(description="a sequence, or a time with its zone; without it where the log stands")
    ] = None
    tokens: Annotated[int, Field(ge=0, le=MAX_TOKENS, description="how many of the newest tokens")] = 1000


class WantedEvents(_Shape):
    """Which events are wanted: on the trail of each of what is named."""

    room: Annotated[Id | None, Field(description="what names the room")] = None
    participant: Annotated[
        Id | None, Field(description="what names the participant, and what its token led to")
    ] = None
    token: Annotated[Id | None, Field(description="what the token led to")] = None
    worker: Annotated[Id | None, Field(description="what names the worker")] = None
    task: Annotated[Id | None, Field(description="what names the task")] = None
    start: Annotated[At | None, Field(alias="from", description="from a moment on")] = None
    until: Annotated[At | None, Field(description="up to a moment, with it")] = None
    after: Annotated[
        Behind | None, Field(description="only what stands behind this address: `next` of the page before")
    ] = None
    limit: Annotated[int, Field(ge=1, le=MAX_EVENTS, description="how many events at most")] = 100


class StateShape(_Shape):
    """The cluster at a moment. The columns of each row are those of the projections' tables."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "sequence": 1042,
                    "time": "2026-01-31T12:00:00.000000Z",
                    "workers": [{"id": "portal-1", "purpose": "portal", "load": 0.12, "ip": "192.0.2.7"}],
                    "tasks": [{"purpose": "conference", "id": "demo", "worker": "c1", "state": "running"}],
                    "rooms": [
                        {"id": "demo", "name": "Lecture", "participants": [{"id": "p1", "user": "ada"}]}
                    ],
                    "tokens": [{"id": "t1", "room": "demo", "user": "ada", "state": "used"}],
                    "token_count": 1,
                }
            ]
        }
    )

    sequence: Annotated[int, Field(description="the sequence that the state is of")]
    time: Annotated[datetime | None, Field(description="when that was; none before anything happened")]
    workers: list[dict[str, Any]]
    tasks: list[dict[str, Any]]
    rooms: Annotated[list[dict[str, Any]], Field(description="each with who is in it")]
    tokens: Annotated[list[dict[str, Any]], Field(description="the newest, in the order of their issuing")]
    token_count: Annotated[int, Field(description="how many there are")]


class EventShape(_Shape):
    """An event of the log (CloudEvents), with where it stands and what it says."""

    address: Annotated[str, Field(description="where it stands: sequence and place in its commit")]
    boundary: Annotated[str, Field(description="the boundary of the log that it belongs to")]
    stored: Annotated[datetime, Field(description="when the log stored it")]
    what: Annotated[str, Field(description="what happened, for people")]
    id: str
    type: str
    source: Annotated[str, Field(description="which process appended it")]
    time: Annotated[datetime, Field(description="when it was decided")]
    subject: Annotated[str, Field(description="the id of what it is about")]
    correlationid: Annotated[str, Field(description="what set it off")]
    causationid: Annotated[str | None, Field(description="the command or event that caused it")]
    actor: Annotated[str, Field(description="who wanted it")]
    dataversion: int
    data: dict[str, Any]

    @classmethod
    def of(cls, told: Told) -> Self:
        """Show an event."""
        event = told.event
        return cls(
            address=str(told.address),
            boundary=str(told.commit.boundary),
            stored=told.commit.time,
            what=sentence(told.commit.boundary, event),
            id=event.id,
            type=event.type,
            source=event.source,
            time=event.time,
            subject=event.subject,
            correlationid=event.correlationid,
            causationid=event.causationid,
            actor=event.actor,
            dataversion=event.dataversion,
            data=msgspec.to_builtins(event.data),
        )


class AuditShape(_Shape):
    """A page of events, the newest last."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "events": [
                        {
                            "address": "22.0",
                            "boundary": "room.demo",
                            "stored": "2026-01-31T12:00:00.650595Z",
                            "what": "participant p1 left room demo, logged out",
                            "id": "01a205e7-f24a-76de-8434-53d7e1c779df",
                            "type": "ParticipantLeft",
                            "source": "conference/node-ac4071ff",
                            "time": "2026-01-31T12:00:00.650595Z",
                            "subject": "p1",
                            "correlationid": "t1",
                            "causationid": "leave:p1",
                            "actor": "participant:p1",
                            "dataversion": 1,
                            "data": {"participant": "p1", "reason": "logout"},
                        }
                    ],
                    "next": "22.0",
                }
            ]
        }
    )

    events: list[EventShape]
    next: Annotated[str | None, Field(description="`after` of the next page; none if this was the last one")]
