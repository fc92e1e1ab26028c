"""Who gets into a room.

A join is refused, in this order, because
    the participant's or the token's id is none, or the id is taken    no trace
    there never was such a room, or no node runs it                    no trace
    the room was deleted                                               no_such_room, recorded
    the token is unknown, expired, revoked or used                     invalid_token, token_*, recorded
    it claims to be another user or role than the token was issued for invalid_token, recorded
    the role is no longer there                                        invalid_role, recorded
    the room is full                                                   room_full, recorded

A refused join uses no token up.  What is recorded is recorded once a second for the same token and reason.
"""

from typing import NamedTuple

import msgspec

from roomledger.domain.decider import Context, Decision, Fact
from roomledger.domain.errors import Code, Refusal
from roomledger.domain.room_commands import Join
from roomledger.domain.room_state import REFUSAL_INTERVAL, RoomState
from roomledger.domain.roster import Listing, Participant
from roomledger_events.identifiers import check_id
from roomledger_events.rooms import JoinRefused, ParticipantJoined, Permission, RoomSettings

ALL = "all"
"""Whom a text goes to when it goes to everybody; nobody can be called so."""

# -- Answers


class Present(msgspec.Struct, frozen=True, gc=False):
    """A participant as others see it."""

    id: str
    user: str
    role: str


class RoomShown(msgspec.Struct, frozen=True):
    """A room as somebody who is in it sees it."""

    id: str
    name: str
    views: list[str]
    participants: list[Present]
    streams: list[str] = []


class Joined(msgspec.Struct, frozen=True):
    """What somebody learns who was let in."""

    id: str
    user: str
    role: str
    permission: Permission
    room: RoomShown


class Admission(NamedTuple):
    """The answer to a join. It costs the same however many are in the room, until it is `shown`."""

    participant: Participant
    room: str
    settings: RoomSettings
    listing: Listing

    def shown(self) -> Joined:
        """Return it written out: everybody who was in at the join, with the one who joined."""
        who = self.participant
        present = [Present(each.id, each.user, each.role) for each in self.listing.participants()]
        views = [view.label for view in self.settings.views]
        room = RoomShown(self.room, self.settings.name, views, present)
        return Joined(who.id, who.user, who.role, who.permission, room)


# -- Decide


def join(state: RoomState, command: Join, context: Context) -> Decision:
    """Let somebody in, or record why not.

    Raises:
        Refusal: The join is refused without a trace.
    """
    here = _check_ids(state, command)
    if here is not None and state.settings is not None:
        return Decision(answer=Admission(here, state.room, state.settings, state.roster.listing()))
    if state.generation == 0:
        raise Refusal(Code.NO_SUCH_ROOM, "there is no such room")
    if state.settings is not None and state.controller is None:
        raise Refusal(Code.WRONG_CONTROLLER, "no node runs this room now")
    try:
        return _admit(state, command, context)
    except Refusal as refusal:
        return _refuse(state, command, context, refusal)


def _check_ids(state: RoomState, command: Join) -> Participant | None:
    """Return who is in already by this very join."""
    try:
        check_id(command.participant)
        check_id(command.token)
    except ValueError as error:
        raise Refusal(Code.INVALID_ARGUMENT, str(error)) from error
    here = state.participants.get(command.participant)
    if command.participant == ALL or (here is not None and here.token != command.token):
        raise Refusal(Code.INVALID_ARGUMENT, f"the participant id {command.participant} is taken")
    return here


def _admit(state: RoomState, command: Join, context: Context) -> Decision:
    if state.settings is None:
        raise Refusal(Code.NO_SUCH_ROOM, "this room was deleted")
    issued = state.tokens.check(command.token, context.now)
    if command.user not in {None, issued.user} or command.role not in {None, issued.role}:
        raise Refusal(Code.INVALID_TOKEN, "this token was issued for another user or role")
    permission = state.permissions.get(issued.role)
    if permission is None:
        raise Refusal(Code.INVALID_ROLE, f"this room has no role {issued.role!r}")
    limit = state.settings.participant_limit
    if 0 < limit <= len(state.participants):
        raise Refusal(Code.ROOM_FULL, f"all {limit} seats of this room are taken", limit=limit)
    participant = Participant(
        id=command.participant,
        user=issued.user,
        role=issued.role,
        permission=permission,
        portal=command.portal,
        token=command.token,
        incarnation=command.incarnation,
    )
    joined = ParticipantJoined(
        participant=participant.id,
        user=participant.user,
        role=participant.role,
        permission=permission,
        portal=participant.portal,
        token=participant.token,
        origin=issued.origin if command.origin is None else command.origin,
        incarnation=participant.incarnation,
    )
    answer = Admission(participant, state.room, state.settings, state.roster.listing(participant))
    return Decision([Fact(participant.id, joined, participant.token)], answer)


def _refuse(state: RoomState, command: Join, context: Context, refusal: Refusal) -> Decision:
    recorded = state.refused.get((command.token, refusal.code))
    if recorded is not None and abs(context.now - recorded) < REFUSAL_INTERVAL:
        return Decision(refusal=refusal)
    fact = JoinRefused(participant=command.participant, token=command.token, reason=refusal.code.value)
    return Decision([Fact(command.participant, fact, command.token)], refusal=refusal)
