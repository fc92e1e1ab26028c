"""What the controllers of a node answer: the methods of the wire, as commands and queries of a room."""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from roomledger.domain import room_commands
from roomledger.domain.admission import Admission
from roomledger.domain.errors import Code, Refusal
from roomledger.domain.room_state import RoomState
from roomledger.domain.roster import Listing
from roomledger.processes.conference.controller import RoomController
from roomledger.processes.conference.lists import Shown
from roomledger.runtime.calls import Method, Nothing
from roomledger.runtime.commands import Answer, Meta, Query
from roomledger.sdk import room_shapes as shapes
from roomledger_events.rooms import RoomSettings


class _Page(msgspec.Struct, frozen=True):
    """`Changes`, written already."""

    changes: msgspec.Raw


def controller_methods(controller: Callable[[str], RoomController]) -> Mapping[str, Method]:
    """Return the methods by name.

    Args:
        controller: Returns the controller of a room, or raises `Refusal`.
    """
    answers = _Methods(controller)
    return {
        "join": Method(shapes.JoinRoom, answers.join),
        "leave": Method(shapes.LeaveRoom, answers.leave),
        "drop": Method(shapes.DropParticipant, answers.drop),
        "set_permission": Method(shapes.SetPermission, answers.set_permission),
        "text": Method(shapes.SendText, answers.text),
        "lose_connection": Method(shapes.LoseConnection, answers.lose_connection),
        "come_back": Method(shapes.ComeBack, answers.come_back),
        "get_participants": Method(shapes.OfRoom, answers.get_participants),
        "get_room": Method(shapes.OfRoom, answers.get_room),
        "get_changes": Method(shapes.GetChanges, answers.get_changes),
    }


class _Methods:
    """Turns requests into commands, and answers into replies."""

    def __init__(self, controller: Callable[[str], RoomController]) -> None:
        self._controller = controller

    # -- Commands

    async def join(self, request: shapes.JoinRoom, meta: Meta) -> shapes.JoinedRoom:
        controller = self._controller(request.room)
        await controller.learn_of_token(request.token)
        who = request.participant
        command = room_commands.Join(
            participant=who.id,
            portal=who.portal,
            token=request.token,
            user=who.user,
            role=who.role,
            origin=None if who.origin is None else who.origin.plain(),
            incarnation=who.incarnation or "",
        )
        answer = await controller.decide(command, meta)
        admission: Admission = answer.value
        shown = controller.lists.show(admission.listing, controller.epoch)
        return shapes.JoinedRoom(
            id=admission.participant.id,
            user=admission.participant.user,
            role=admission.participant.role,
            permission=admission.participant.permission,
            room=_view(admission.room, admission.settings, shown),
            seq=str(answer.address),
            listing=shown.listing,
        )

    async def leave(self, request: shapes.LeaveRoom, meta: Meta) -> Nothing:
        command = room_commands.Leave(request.participant, request.reason, request.portal)
        await self._decide(request.room, command, meta)
        return Nothing()

    async def drop(self, request: shapes.DropParticipant, meta: Meta) -> shapes.Dropped:
        command = room_commands.Drop(request.participant, request.reason)
        answer = await self._decide(request.room, command, meta)
        return shapes.Dropped(dropped=answer.value, seq=str(answer.address))

    async def set_permission(self, request: shapes.SetPermission, meta: Meta) -> shapes.PermissionSet:
        wish = request.permission
        change = room_commands.PermissionChange(
            publish=room_commands.MediaChange(wish.publish.audio, wish.publish.video),
            subscribe=room_commands.MediaChange(wish.subscribe.audio, wish.subscribe.video),
        )
        command = room_commands.SetPermission(request.participant, change)
        answer = await self._decide(request.room, command, meta)
        return shapes.PermissionSet(permission=answer.value.permission, seq=str(answer.address))

    async def text(self, request: shapes.SendText, meta: Meta) -> shapes.TextStored:
        sent = self._controller(request.room).sent(meta.command)
        if sent is not None:
            return shapes.TextStored(seq=str(sent))
        command = room_commands.SendText(request.sender, request.to, request.message)
        answer = await self._decide(request.room, command, meta)
        return shapes.TextStored(seq=str(answer.address))

    async def lose_connection(self, request: shapes.LoseConnection, meta: Meta) -> Nothing:
        command = room_commands.LoseConnection(
            request.participant,
            request.portal,
            grace_ms=request.grace_ms,
            epoch=request.epoch,
            told=request.told or "",
        )
        await self._decide(request.room, command, meta)
        return Nothing()

    async def come_back(self, request: shapes.ComeBack, meta: Meta) -> shapes.IsBack:
        command = room_commands.Return(request.participant, request.portal, request.incarnation or "")
        answer = await self._decide(request.room, command, meta)
        who = answer.value
        return shapes.IsBack(
            user=who.user,
            role=who.role,
            permission=who.permission,
            seq=str(answer.address),
            epoch=who.epoch,
        )

    # -- Queries

    async def get_participants(self, request: shapes.OfRoom, meta: Meta) -> shapes.Participants:
        controller = self._controller(request.room)
        answer = await controller.decide(Query(lambda state: state.roster.listing()), meta)
        shown = controller.lists.show(answer.value, controller.epoch)
        return shapes.Participants(
            participants=shown.participants, seq=str(answer.address), listing=shown.listing
        )

    async def get_room(self, request: shapes.OfRoom, meta: Meta) -> shapes.ShownRoom:
        controller = self._controller(request.room)
        answer = await controller.decide(Query(_room), meta)
        settings, listing = answer.value
        if settings is None:
            raise Refusal(Code.NO_SUCH_ROOM, "there is no such room")
        shown = controller.lists.show(listing, controller.epoch)
        return shapes.ShownRoom(
            room=_view(request.room, settings, shown),
            participant_limit=settings.participant_limit,
            present=listing.present,
            seq=str(answer.address),
            listing=shown.listing,
        )

    async def get_changes(self, request: shapes.GetChanges, _: Meta) -> _Page:
        return _Page(self._controller(request.room).lists.page(request.list, request.start))

    async def _decide(self, room: str, command: Any, meta: Meta) -> Answer:  # noqa: ANN401  - a room's command
        return await self._controller(room).decide(command, meta)


def _room(state: RoomState) -> tuple[RoomSettings | None, Listing]:
    return state.settings, state.roster.listing()


def _view(room: str, settings: RoomSettings, shown: Shown) -> shapes.RoomView:
    return shapes.RoomView(
        id=room,
        name=settings.name,
        views=tuple([view.label for view in settings.views]),
        participants=shown.participants,
    )
