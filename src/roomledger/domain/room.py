"""A room: who may change it, who decides for it, who is in it.

    never there ──CreateRoom──▶ there ──DeleteRoom──▶ deleted ──CreateRoom──▶ there, of the next generation

    a participant of a room that is there:

    out ──Join──▶ in ──LoseConnection──▶ away ──Return──▶ in
                  in ──LosePortal──▶ away, if the session was at it
                  in, away ──Leave, Drop, DeleteRoom──▶ out
                  away ──EndAbsence, when its time is over──▶ out

`ROOM` is these rules as a `Decider`.  Joins have a file of their own, `admission`.  What is asked for
somebody who is out, or by a portal that the session has left, has no effect and is no error, except where the
caller waits for something: `Return`, `SetPermission` and `SendText` are refused with ``no_such_participant``.
Everything that a token sets off is correlated by the token's id.
"""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from itertools import takewhile
from typing import Any, Final

import msgspec

from roomledger.domain.admission import ALL, join
from roomledger.domain.decider import Context, Decider, Decision, Fact
from roomledger.domain.errors import Code, Refusal
from roomledger.domain.room_commands import (
    ChangeRoom,
    CreateRoom,
    DeleteRoom,
    Drop,
    EndAbsence,
    Join,
    Leave,
    LoseConnection,
    LosePortal,
    MediaChange,
    ReleaseController,
    Return,
    RevokeToken,
    RoomCommand,
    SendText,
    SetPermission,
    TakeOverController,
)
from roomledger.domain.room_settings import checked
from roomledger.domain.room_state import Controller, RoomState, evolve
from roomledger.domain.roster import Participant
from roomledger_events.envelope import Event, Payload
from roomledger_events.identifiers import check_id
from roomledger_events.rooms import (
    ControllerReleased,
    ControllerTakenOver,
    JoinRefused,
    Media,
    ParticipantAway,
    ParticipantBack,
    ParticipantLeft,
    Permission,
    PermissionChanged,
    RoomChanged,
    RoomCreated,
    RoomDeleted,
    RoomSettings,
    TextSent,
)
from roomledger_events.tokens import TokenRevoked

RELEASE_AFTER: Final = timedelta(seconds=30)
"""How long the controller of an empty room stays."""
MAX_TEXT: Final = 65_536
"""The longest text message, in characters."""
MAX_MESSAGE: Final = 1_024
"""The longest message to somebody who is dropped, in characters."""
MAX_GRACE_MS: Final = 24 * 60 * 60 * 1000
LEAVING: Final = frozenset({"logout", "disconnected", "not_back"})
"""The reasons that somebody may leave for."""
MAX_LOST: Final = 100
"""How many participants are lost with a portal at once: as many as surely go into one commit."""
MAX_DUE: Final = 100
"""How many commands are due at once at most; the others are due next."""

# -- Decide: the room itself


def _create(state: RoomState, command: CreateRoom, _: Context) -> Decision:
    settings = checked(command.settings)
    if state.settings is not None:
        if (state.service, state.settings) == (command.service, settings):
            return Decision(answer=settings)
        raise Refusal(Code.ROOM_EXISTS, f"there is a room {command.room} already")
    try:
        check_id(command.room)
    except ValueError as error:
        raise Refusal(Code.INVALID_ARGUMENT, str(error)) from error
    created = RoomCreated(
        room=command.room, service=command.service, settings=settings, generation=state.generation + 1
    )
    return Decision([Fact(command.room, created)], settings)


def _change(state: RoomState, command: ChangeRoom, _: Context) -> Decision:
    there, settings = _there(state), checked(command.settings)
    if settings == there:
        return Decision(answer=settings)
    return Decision([Fact(state.room, RoomChanged(room=state.room, settings=settings))], settings)


def _delete(state: RoomState, _: DeleteRoom, __: Context) -> Decision:
    if state.settings is None and state.generation > 0:
        return Decision()
    _there(state)
    return Decision([Fact(state.room, RoomDeleted(room=state.room))])


def _revoke(state: RoomState, command: RevokeToken, context: Context) -> Decision:
    try:
        state.tokens.check(command.token, context.now)
    except Refusal as refusal:
        if refusal.code is Code.INVALID_TOKEN:
            raise
        return Decision()  # it can never be used any more, and that is what was asked for
    return Decision([Fact(command.token, TokenRevoked(token=command.token), command.token)])


# -- Decide: its controller


def _take_over(state: RoomState, command: TakeOverController, _: Context) -> Decision:
    _there(state)
    if state.controller is not None and state.controller[:2] == (command.worker, command.node):
        return Decision(answer=state.controller)
    controller = Controller(command.worker, command.node, state.epoch + 1)
    fact = ControllerTakenOver(
        room=state.room, worker=controller.worker, node=controller.node, epoch=controller.epoch
    )
    return Decision([Fact(state.room, fact)], controller)


def _release(state: RoomState, command: ReleaseController, _: Context) -> Decision:
    controller = state.controller
    if controller is None or controller.node != command.node:
        return Decision(answer=True)
    if state.participants:
        return Decision(answer=False)
    fact = ControllerReleased(room=state.room, node=controller.node, epoch=controller.epoch)
    return Decision([Fact(state.room, fact)], answer=True)


# -- Decide: its participants


def _leave(state: RoomState, command: Leave, _: Context) -> Decision:
    if command.reason not in LEAVING:
        raise Refusal(Code.INVALID_ARGUMENT, f"{command.reason[:40]!r} is no reason to leave")
    participant = state.participants.get(command.participant)
    if participant is None or command.portal not in {None, participant.portal}:
        return Decision(answer=False)
    return _out(participant, command.reason)


def _drop(state: RoomState, command: Drop, _: Context) -> Decision:
    if command.message is not None and len(command.message) > MAX_MESSAGE:
        raise Refusal(Code.INVALID_ARGUMENT, f"a message has at most {MAX_MESSAGE} characters")
    participant = state.participants.get(command.participant)
    if participant is None:
        return Decision(answer=False)
    return _out(participant, "dropped", command.message)


def _end_absence(state: RoomState, command: EndAbsence, context: Context) -> Decision:
    participant = state.participants.get(command.participant)
    if participant is None or participant.back_by is None or participant.back_by > context.now:
        return Decision(answer=False)
    return _out(participant, "not_back")


def _out(participant: Participant, reason: str, message: str | None = None) -> Decision:
    left = ParticipantLeft(
        participant=participant.id,
        reason=reason,
        message=message,
        user=participant.user,
        role=participant.role,
    )
    return Decision([_fact(participant, left)], answer=True)


def _set_permission(state: RoomState, command: SetPermission, _: Context) -> Decision:
    participant = _present(state, command.participant)
    now, wanted = participant.permission, command.permission
    permission = Permission(
        publish=_media(now.publish, wanted.publish), subscribe=_media(now.subscribe, wanted.subscribe)
    )
    if permission == now:
        return Decision(answer=participant)
    fact = PermissionChanged(participant=participant.id, permission=permission)
    changed = msgspec.structs.replace(participant, permission=permission)
    return Decision([_fact(participant, fact)], changed)


def _media(now: Media, wanted: Media | MediaChange) -> Media:
    return Media(
        audio=now.audio if wanted.audio is None else wanted.audio,
        video=now.video if wanted.video is None else wanted.video,
    )


def _send_text(state: RoomState, command: SendText, _: Context) -> Decision:
    if len(command.message) > MAX_TEXT:
        raise Refusal(Code.INVALID_ARGUMENT, f"a text has at most {MAX_TEXT} characters")
    sender = _present(state, command.sender)
    if command.to != ALL:
        _present(state, command.to)
    return Decision([_fact(sender, TextSent(sender=sender.id, to=command.to, message=command.message))])


def _lose(state: RoomState, command: LoseConnection, context: Context) -> Decision:
    back_by = _back_by(command.grace_ms, context)
    participant = state.participants.get(command.participant)
    if participant is None or participant.away or participant.portal != command.portal:
        return Decision()
    if command.epoch not in {None, participant.epoch}:
        return Decision()
    return Decision([_away(participant, back_by, command.told)])


def _lose_portal(state: RoomState, command: LosePortal, context: Context) -> Decision:
    back_by = _back_by(command.grace_ms, context)
    if len(command.participants) > MAX_LOST:
        raise Refusal(Code.INVALID_ARGUMENT, f"at most {MAX_LOST} participants are lost at once")
    there = (state.participants.get(each) for each in dict.fromkeys(command.participants))
    return Decision(
        [
            _away(participant, back_by)
            for participant in there
            if participant is not None
            and participant.portal == command.portal
            and participant.ends_with(command.running)
        ]
    )


def _back_by(grace_ms: int, context: Context) -> datetime:
    if not 1 <= grace_ms <= MAX_GRACE_MS:
        raise Refusal(Code.INVALID_ARGUMENT, f"a grace has 1 to {MAX_GRACE_MS} ms")
    return context.now + timedelta(milliseconds=grace_ms)


def _away(participant: Participant, back_by: datetime, told: str = "") -> Fact:
    away = ParticipantAway(participant=participant.id, portal=participant.portal, back_by=back_by, told=told)
    return _fact(participant, away)


def _return(state: RoomState, command: Return, _: Context) -> Decision:
    participant = _present(state, command.participant)
    here = (participant.portal, participant.incarnation) == (command.portal, command.incarnation)
    if here and not participant.away:
        return Decision(answer=participant)
    back = msgspec.structs.replace(
        participant,
        portal=command.portal,
        incarnation=command.incarnation,
        epoch=participant.epoch + 1,
        away=False,
        back_by=None,
    )
    fact = ParticipantBack(
        participant=back.id, portal=back.portal, incarnation=back.incarnation, epoch=back.epoch
    )
    return Decision([_fact(participant, fact)], back)


def _fact(participant: Participant, data: Payload) -> Fact:
    return Fact(participant.id, data, participant.token)


def _there(state: RoomState) -> RoomSettings:
    if state.settings is None:
        raise Refusal(Code.NO_SUCH_ROOM, "there is no such room")
    return state.settings


def _present(state: RoomState, participant: str) -> Participant:
    present = state.participants.get(participant)
    if present is None:
        raise Refusal(Code.NO_SUCH_PARTICIPANT, f"{participant[:64]!r} is not in this room")
    return present


_RULES: Final[dict[type, Callable[[RoomState, Any, Context], Decision]]] = {
    CreateRoom: _create,
    ChangeRoom: _change,
    DeleteRoom: _delete,
    RevokeToken: _revoke,
    TakeOverController: _take_over,
    ReleaseController: _release,
    Join: join,
    Leave: _leave,
    Drop: _drop,
    SetPermission: _set_permission,
    SendText: _send_text,
    LoseConnection: _lose,
    LosePortal: _lose_portal,
    Return: _return,
    EndAbsence: _end_absence,
}


def _decide(state: RoomState, command: RoomCommand, context: Context) -> Decision:
    return _RULES[type(command)](state, command, context)


def _again(_: RoomState, command: RoomCommand, events: Sequence[Event]) -> Decision | None:
    """Return what a command was answered that has led to these events; None to have it decided anew."""
    last = events[-1].data
    if isinstance(command, Leave | Drop) and isinstance(last, ParticipantLeft):
        return Decision(answer=True)
    if isinstance(command, Join) and isinstance(last, JoinRefused):
        return Decision(refusal=Refusal(Code(last.reason), f"it was refused: {last.reason}"))
    return None


# -- Deadlines


def room_decider(release_after: timedelta = RELEASE_AFTER) -> Decider[RoomState, RoomCommand]:
    """Return the rules of a room.

    Args:
        release_after: How long the controller of an empty room stays.
    """

    def deadline(state: RoomState) -> datetime | None:
        if state.away:
            return state.away[0][0]
        return None if state.empty_since is None else state.empty_since + release_after

    def due(state: RoomState, now: datetime) -> Sequence[RoomCommand]:
        late = takewhile(lambda absence: absence[0] <= now, state.away[:MAX_DUE])
        commands: list[RoomCommand] = [EndAbsence(participant) for _, participant in late]
        if state.controller and state.empty_since and state.empty_since + release_after <= now:
            commands.append(ReleaseController(state.controller.node))
        return commands

    return Decider(RoomState, evolve, _decide, deadline, due, _again)


ROOM: Final = room_decider()
"""The rules of a room as they are by default."""
