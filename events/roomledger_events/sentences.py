"""What happened, in a sentence for people: one for every type of event."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

from roomledger_events.envelope import Event, Payload, Unreadable
from roomledger_events.nodes import NodeAssigned, NodeDied, NodeReady, NodeReleased, NodeStarted, NodeStopped
from roomledger_events.rooms import (
    ControllerReleased,
    ControllerTakenOver,
    JoinRefused,
    Media,
    ParticipantAway,
    ParticipantBack,
    ParticipantJoined,
    ParticipantLeft,
    Permission,
    PermissionChanged,
    RoomChanged,
    RoomCreated,
    RoomDeleted,
    RoomSettings,
    TextSent,
)
from roomledger_events.subjects import Boundary
from roomledger_events.tasks import (
    Basis,
    ReservationCancelled,
    ReservationExpired,
    ReservationExtended,
    SchedulingRefused,
    TaskLaidDown,
    TaskPickedUp,
    TaskReleased,
    WorkerReserved,
)
from roomledger_events.tokens import TokenIssued, TokenRevoked
from roomledger_events.workers import (
    LoadReported,
    SchedulerTakenOver,
    WorkerDrainDeadlineReached,
    WorkerDraining,
    WorkerJoined,
    WorkerLost,
    WorkerQuit,
    WorkerStateReported,
    WorkerUndrained,
)

SHOWN: Final = 80
"""So many characters of what users wrote are shown."""
_STATES: Final = {0: "not ready", 1: "initializing", 2: "ready"}
_REASONS: Final = {
    "logout": "logged out",
    "disconnected": "the connection was lost",
    "not_back": "did not come back in time",
    "dropped": "was removed",
}


def sentence(boundary: Boundary, event: Event) -> str:
    """Return what happened, without a full stop; it begins with a word of ours, whatever users wrote."""
    write = _SENTENCES.get(type(event.data))
    return f"a {event.type}" if write is None else write(boundary.name, event.data)


def _quoted(text: str) -> str:
    """Return what a user wrote, in quotes; what cannot be printed is escaped."""
    return repr(text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…")


def _until(time: datetime | None) -> str:
    return "" if time is None else f" until {time:%F %T}Z"


def _media(media: Media) -> str:
    return " and ".join(name for name in ("audio", "video") if getattr(media, name)) or "nothing"


def _permission(permission: Permission) -> str:
    return f"publish {_media(permission.publish)}, subscribe to {_media(permission.subscribe)}"


def _settings(settings: RoomSettings) -> str:
    limit = settings.participant_limit
    return f"{_quoted(settings.name)}, {f'at most {limit} participants' if limit > 0 else 'no limit'}"


def _figures(basis: Basis) -> str:
    load = "" if basis.load is None else f", at load {basis.load:.3f}"
    return f"by {basis.strategy} among {basis.candidates} of {basis.workers}{load}"


def _refused(basis: Basis) -> str:
    told = ", ".join(f"{count} {rule}" for rule, count in sorted(basis.refused.items()))
    return f"{basis.workers} workers{f': {told}' if told else ''}"


def _left(room: str, d: ParticipantLeft) -> str:
    said = "" if d.message is None else f": {_quoted(d.message)}"
    return f"participant {d.participant} left room {room}, {_REASONS.get(d.reason, d.reason)}{said}"


def _picked_up(purpose: str, d: TaskPickedUp) -> str:
    other = "" if d.reserved_for in {None, d.worker} else f", which was held for {d.reserved_for}"
    return f"worker {d.worker} picked up {purpose} task {d.task}{other}"


def _text(room: str, d: TextSent) -> str:
    whom = "everybody" if d.to == "all" else f"participant {d.to}"
    return f"participant {d.sender} wrote to {whom} in room {room}: {_quoted(d.message)}"


# p: the purpose, r: the room, w: the worker, as the boundary's name says; d: the event's data
_SENTENCES: Final[Mapping[type[Payload], Callable[[str, Any], str]]] = {
    TokenIssued: lambda r, d: (
        f"token {d.token} was issued for {_quoted(d.user)} as {_quoted(d.role)} in room {r}, at portal"
        f" {d.portal}, good{_until(d.expires_at)}"
    ),
    TokenRevoked: lambda r, d: f"token {d.token} of room {r} was revoked",
    SchedulerTakenOver: lambda p, d: (
        f"manager {d.manager} took over deciding for purpose {p}, epoch {d.epoch}"
    ),
    WorkerJoined: lambda p, d: f"worker {d.worker} joined for purpose {p}, from {_quoted(d.info.ip)}",
    WorkerQuit: lambda p, d: f"worker {d.worker} of purpose {p} quit, its tasks are free",
    WorkerLost: lambda p, d: (
        f"worker {d.worker} of purpose {p} was lost after {d.silent_ms} ms of silence, its tasks are free"
    ),
    WorkerStateReported: lambda _, d: f"worker {d.worker} is {_STATES.get(d.state, d.state)}",
    WorkerDraining: lambda _, d: f"worker {d.worker} gets no new tasks{_until(d.deadline)}",
    WorkerDrainDeadlineReached: lambda _, d: (
        f"worker {d.worker} had {d.tasks_left} tasks left at the deadline of its drain"
    ),
    WorkerUndrained: lambda _, d: f"worker {d.worker} gets new tasks again",
    LoadReported: lambda _, d: f"worker {d.worker} reported load {d.load:.3f}",
    WorkerReserved: lambda p, d: (
        f"worker {d.worker} was reserved for {p} task {d.task}{_until(d.expires_at)}, {_figures(d.basis)}"
    ),
    ReservationExtended: lambda p, d: (
        f"the reservation of worker {d.worker} for {p} task {d.task} was extended{_until(d.expires_at)}"
    ),
    ReservationCancelled: lambda p, d: (
        f"the reservation of worker {d.worker} for {p} task {d.task} was given up"
    ),
    ReservationExpired: lambda p, d: f"the reservation of worker {d.worker} for {p} task {d.task} ran out",
    TaskPickedUp: _picked_up,
    TaskLaidDown: lambda p, d: (
        f"worker {d.worker} laid down {p} task {d.task}, held for it{_until(d.expires_at)}"
    ),
    TaskReleased: lambda p, d: f"{p} task {d.task} has left worker {d.worker}: {d.reason}",
    SchedulingRefused: lambda p, d: (
        f"no worker was found for {p} task {d.task}: {d.reason}, {_refused(d.basis)}"
    ),
    RoomCreated: lambda r, d: f"room {r} was created by service {d.service}: {_settings(d.settings)}",
    RoomChanged: lambda r, d: f"room {r} was changed: {_settings(d.settings)}",
    RoomDeleted: lambda r, _: f"room {r} was deleted, whoever was in it is out",
    ControllerTakenOver: lambda r, d: (
        f"node {d.node} of worker {d.worker} took over deciding for room {r}, epoch {d.epoch}"
    ),
    ControllerReleased: lambda r, d: f"node {d.node} decides for room {r} no longer, epoch {d.epoch}",
    ParticipantJoined: lambda r, d: (
        f"participant {d.participant} joined room {r} as {_quoted(d.user)}, {_quoted(d.role)}, with token"
        f" {d.token} at portal {d.portal}"
    ),
    JoinRefused: lambda r, d: (
        f"participant {d.participant} was not let into room {r} with token {d.token}: {d.reason}"
    ),
    ParticipantAway: lambda r, d: (
        f"participant {d.participant} in room {r} lost the connection to portal {d.portal}, is waited"
        f" for{_until(d.back_by)}"
    ),
    ParticipantBack: lambda r, d: f"participant {d.participant} in room {r} is back, at portal {d.portal}",
    ParticipantLeft: _left,
    PermissionChanged: lambda r, d: (
        f"participant {d.participant} in room {r} may {_permission(d.permission)}"
    ),
    TextSent: _text,
    NodeStarted: lambda w, d: f"node {d.node} of worker {w} was started",
    NodeReady: lambda w, d: f"node {d.node} of worker {w} is ready",
    NodeAssigned: lambda w, d: f"node {d.node} of worker {w} was given room {d.room}",
    NodeReleased: lambda w, d: f"node {d.node} of worker {w} runs room {d.room} no longer",
    NodeStopped: lambda w, d: f"node {d.node} of worker {w} was ended: {d.reason}",
    NodeDied: lambda w, d: f"node {d.node} of worker {w} ended by itself: {d.reason}",
    Unreadable: lambda _, d: f"something that this version cannot read: {d.reason}",
}
