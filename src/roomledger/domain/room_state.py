"""What is known of one room, and how each event changes it.

The state takes in two boundaries, `ledger.room.<id>` and `ledger.token.<id>`.  It stays after a room is
deleted: a new one of the same id starts clean, but its generation and the epochs of its controllers go on
from where they were, so that nothing of the old room passes for something of the new one.
"""

from bisect import bisect_left, insort
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

import msgspec

from roomledger.domain.roster import Participant, Roster
from roomledger.domain.token import Tokens
from roomledger_events.envelope import Event, Payload
from roomledger_events.rooms import (
    ControllerReleased,
    ControllerTakenOver,
    JoinRefused,
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
)
from roomledger_events.tokens import TokenIssued, TokenRevoked

REFUSAL_INTERVAL: Final = timedelta(seconds=1)
"""A refusal for the same token and reason is recorded once in this time."""

# -- State


class Controller(NamedTuple):
    """The node that decides for a room, and the how-manyth controller of the room it is."""

    worker: str
    node: str
    epoch: int


@dataclass(slots=True)
class RoomState:
    """One room.

    Attributes:
        room: Its id; empty as long as there never was such a room.
        service: Whose it is.
        settings: None where there is no such room, or no longer.
        generation: How many rooms of this id there have been.
        permissions: Role → what it may do.
        controller: Who decides; None where nobody does.
        epoch: The epoch of the last controller.
        participants: Id → who is in, in the order of joining.
        away: When somebody who is away leaves, and who; in order.
        empty_since: Since when a controller has had nobody in the room.
        tokens: Those of the last minutes.
        refused: Token and reason → when such a refusal was recorded last; the newest last.
        roster: The participants once more, for listings.
    """

    room: str = ""
    service: str = ""
    settings: RoomSettings | None = None
    generation: int = 0
    permissions: dict[str, Permission] = field(default_factory=dict)
    controller: Controller | None = None
    epoch: int = 0
    participants: dict[str, Participant] = field(default_factory=dict)
    away: list[tuple[datetime, str]] = field(default_factory=list)
    empty_since: datetime | None = None
    tokens: Tokens = field(default_factory=Tokens)
    refused: dict[tuple[str, str], datetime] = field(default_factory=dict)
    roster: Roster = field(default_factory=Roster, compare=False)


# -- Evolve


def evolve(state: RoomState, event: Event) -> RoomState:
    """Take an event of the room or of its tokens in."""
    change = _CHANGES.get(type(event.data))
    if change is not None:
        change(state, event, event.data)
    state.tokens.pass_time(event.time)
    while state.refused:
        oldest = next(iter(state.refused))
        if state.refused[oldest] + REFUSAL_INTERVAL > event.time:
            break
        del state.refused[oldest]
    return state


def _created(state: RoomState, _: Event, data: RoomCreated) -> None:
    state.room, state.service, state.generation = data.room, data.service, data.generation
    _set(state, data.settings)


def _changed(state: RoomState, _: Event, data: RoomChanged) -> None:
    _set(state, data.settings)


def _set(state: RoomState, settings: RoomSettings) -> None:
    state.settings = settings
    state.permissions = {
        role.role: Permission(publish=role.publish, subscribe=role.subscribe) for role in settings.roles
    }


def _deleted(state: RoomState, _: Event, __: RoomDeleted) -> None:
    state.settings = state.controller = state.empty_since = None
    state.permissions, state.participants, state.away, state.roster = {}, {}, [], Roster()
    state.tokens.void(state.generation)


def _taken_over(state: RoomState, event: Event, data: ControllerTakenOver) -> None:
    state.controller = Controller(data.worker, data.node, data.epoch)
    state.epoch = data.epoch
    state.empty_since = None if state.participants else event.time


def _released(state: RoomState, _: Event, __: ControllerReleased) -> None:
    state.controller = state.empty_since = None


def _issued(state: RoomState, _: Event, data: TokenIssued) -> None:
    if data.generation > state.generation or (
        data.generation == state.generation and state.settings is not None
    ):
        state.tokens.issue(data)


def _revoked(state: RoomState, _: Event, data: TokenRevoked) -> None:
    state.tokens.revoke(data.token)


def _joined(state: RoomState, event: Event, data: ParticipantJoined) -> None:
    _out(state, event, data.participant)
    participant = Participant(
        id=data.participant,
        user=data.user,
        role=data.role,
        permission=data.permission,
        portal=data.portal,
        token=data.token,
        incarnation=data.incarnation,
    )
    state.participants[participant.id] = participant
    state.roster.join(participant)
    state.tokens.use(data.token, participant.id)
    state.empty_since = None


def _left(state: RoomState, event: Event, data: ParticipantLeft) -> None:
    _out(state, event, data.participant)


def _out(state: RoomState, event: Event, who: str) -> None:
    participant = state.participants.pop(who, None)
    if participant is None:
        return
    _expect_no_longer(state, participant)
    state.roster.leave(participant.id)
    if not state.participants and state.controller is not None:
        state.empty_since = event.time


def _refused(state: RoomState, event: Event, data: JoinRefused) -> None:
    key = (data.token, data.reason)
    state.refused.pop(key, None)
    state.refused[key] = event.time


def _away(state: RoomState, _: Event, data: ParticipantAway) -> None:
    participant = state.participants.get(data.participant)
    if participant is not None:
        _expect_no_longer(state, participant)
        _replace(state, participant, portal=data.portal, away=True, back_by=data.back_by)
        if data.back_by is not None:
            insort(state.away, (data.back_by, participant.id))


def _back(state: RoomState, _: Event, data: ParticipantBack) -> None:
    participant = state.participants.get(data.participant)
    if participant is not None:
        _expect_no_longer(state, participant)
        _replace(
            state,
            participant,
            portal=data.portal,
            incarnation=data.incarnation,
            epoch=data.epoch or participant.epoch + 1,
            away=False,
            back_by=None,
        )


def _permitted(state: RoomState, _: Event, data: PermissionChanged) -> None:
    participant = state.participants.get(data.participant)
    if participant is not None:
        _replace(state, participant, permission=data.permission)


def _replace(state: RoomState, participant: Participant, **changes: Any) -> None:  # noqa: ANN401  - its fields
    state.participants[participant.id] = msgspec.structs.replace(participant, **changes)


def _expect_no_longer(state: RoomState, participant: Participant) -> None:
    if participant.back_by is not None:
        del state.away[bisect_left(state.away, (participant.back_by, participant.id))]


_CHANGES: Final[dict[type[Payload], Callable[[RoomState, Event, Any], None]]] = {
    RoomCreated: _created,
    RoomChanged: _changed,
    RoomDeleted: _deleted,
    ControllerTakenOver: _taken_over,
    ControllerReleased: _released,
    TokenIssued: _issued,
    TokenRevoked: _revoked,
    ParticipantJoined: _joined,
    ParticipantLeft: _left,
    JoinRefused: _refused,
    ParticipantAway: _away,
    ParticipantBack: _back,
    PermissionChanged: _permitted,
}
