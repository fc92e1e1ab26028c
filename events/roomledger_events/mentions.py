"""Which things an event names: whoever looks for all that concerns one of them looks here."""

from enum import StrEnum
from typing import Final, NamedTuple

import msgspec

from roomledger_events.catalogue import CATALOGUE
from roomledger_events.envelope import Event, Payload
from roomledger_events.subjects import Boundary, Kind


class Thing(StrEnum):
    """What can be looked for by its id, or by its name as a user."""

    TOKEN = "token"  # noqa: S105  - a word, no secret
    PARTICIPANT = "participant"
    USER = "user"
    ROOM = "room"
    WORKER = "worker"
    TASK = "task"
    CORRELATION = "correlation"
    """What a token, or a request, set off: its id stands in the envelope of all that followed."""


class Mention(NamedTuple):
    """One thing that an event names."""

    thing: Thing
    id: str


FIELDS: Final = {
    "token": Thing.TOKEN,
    "code": Thing.TASK,
    "task": Thing.TASK,
    "room": Thing.ROOM,
    "user": Thing.USER,
    "worker": Thing.WORKER,
    "portal": Thing.WORKER,
    "reserved_for": Thing.WORKER,
    "participant": Thing.PARTICIPANT,
    "sender": Thing.PARTICIPANT,
    "to": Thing.PARTICIPANT,
}
"""What a field of an event's data names."""
BOUNDARIES: Final = {
    Kind.ROOM: Thing.ROOM,
    Kind.TEXT: Thing.ROOM,
    Kind.TOKEN: Thing.ROOM,
    Kind.NODES: Thing.WORKER,
}
"""What the name of a boundary is the id of."""
ACTORS: Final = {
    "participant": Thing.PARTICIPANT,
    "worker": Thing.WORKER,
    "portal": Thing.WORKER,
}
"""What an actor of this kind is."""
CONFERENCE: Final = Boundary(Kind.SCHEDULER, "conference")
"""Where the id of a task is that of a room."""
ALL: Final = "all"
"""Whom a text is to that is to everybody; no participant has this id."""


def _named_by(cls: type[Payload]) -> tuple[tuple[str, Thing], ...]:
    return tuple(
        (field.name, FIELDS[field.name]) for field in msgspec.structs.fields(cls) if field.name in FIELDS
    )


_NAMED: Final = {cls: _named_by(cls) for cls in CATALOGUE.values()}


def mentions(boundary: Boundary, event: Event) -> list[Mention]:
    """Return what an event names, each once: in its data, by where it stands, by who caused it.

    A correlation counts only where it leads to other events: not where it is the event's own cause, or what
    the event is about.
    """
    data = event.data
    found: dict[Mention, None] = {}
    for field, thing in _NAMED.get(type(data), ()):
        name = getattr(data, field)
        if name:
            found[Mention(thing, name)] = None
    if boundary.kind in BOUNDARIES:
        found[Mention(BOUNDARIES[boundary.kind], boundary.name)] = None
        found.pop(Mention(Thing.PARTICIPANT, ALL), None)
    elif boundary == CONFERENCE:
        for task in [each.id for each in found if each.thing is Thing.TASK]:
            found[Mention(Thing.ROOM, task)] = None
    who, _, actor = event.actor.partition(":")
    if actor and who in ACTORS:
        found[Mention(ACTORS[who], actor)] = None
    correlation = event.correlationid
    if correlation and correlation not in {event.causationid, event.subject, getattr(data, "token", None)}:
        found[Mention(Thing.CORRELATION, correlation)] = None
    return list(found)
