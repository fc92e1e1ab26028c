"""Participants, as the service that owns their room sees them, changes what they may do, and removes them."""

import sqlite3
from typing import Final, NamedTuple

from roomledger.domain.errors import Code, Refusal
from roomledger.event_store.store import EventStore
from roomledger.processes.management_api.controllers import Controllers
from roomledger.processes.management_api.rooms import Rooms
from roomledger.runtime.calls import RequestMeta
from roomledger.runtime.commands import Meta
from roomledger.runtime.projector import Projector
from roomledger.sdk.rooms import Controller, Dropped, PermissionSet, PermissionWish
from roomledger_events.envelope import Address
from roomledger_events.rooms import Permission
from roomledger_projections import rooms as projected
from roomledger_projections.projection import Row
from roomledger_projections.rooms import ROOMS

MAX_REASON: Final = 1024
"""The longest reason for a removal, in characters."""


class Seen(NamedTuple):
    """A participant, as of a sequence of the log.

    Attributes:
        row: As the projection has it.
        sequence: The sequence of the log that this reflects.
        permission: What it may do, where that is known better than by the row.
    """

    row: Row
    sequence: int
    permission: Permission | None = None


class Participants:
    """The participants of all rooms; a service sees those of its own rooms only.

    Args:
        store: The log.
        projector: Keeps what is known.
        rooms: The rooms that they are in.
        controllers: Who decides about them.
    """

    def __init__(
        self, store: EventStore, projector: Projector, *, rooms: Rooms, controllers: Controllers
    ) -> None:
        self._store = store
        self._projector = projector
        self._rooms = rooms
        self._controllers = controllers

    async def list(self, service: str, room: str, *, page: int, per_page: int) -> tuple[list[Row], int, int]:
        """Return a page of who is in a room, in the order of joining, how many are, and the sequence of that.

        Raises:
            Refusal: There is no such room.
            EventStoreError: The room is not known yet, and the log cannot be read.
        """
        await self._rooms.get(service, room)

        def ask(db: sqlite3.Connection) -> tuple[list[Row], int]:
            found = projected.participants_of(db, room, limit=per_page, offset=(page - 1) * per_page)
            return found, projected.participant_count(db, room)

        (found, count), sequence = await self._projector.ask(ROOMS, ask)
        return found, count, sequence

    async def get(self, service: str, room: str, participant: str) -> Seen:
        """Return who is in a room, also who joined this very moment.

        Raises:
            Refusal: There is no such room, or nobody such in it.
            EventStoreError: Nobody such is known yet, and the log cannot be read.
        """
        await self._rooms.get(service, room)
        row, sequence = await self._projector.ask(ROOMS, projected.participant, room, participant)
        if row is None:
            head = await self._store.position()
            if head.sequence > sequence:
                await self._projector.caught_up(head.sequence)
                row, sequence = await self._projector.ask(ROOMS, projected.participant, room, participant)
        if row is None:
            raise _nobody(participant)
        return Seen(row, sequence)

    async def set_permission(
        self, service: str, room: str, participant: str, wish: PermissionWish, meta: Meta
    ) -> Seen:
        """Change what somebody may do, and return the participant once that is in the log.

        Raises:
            Refusal: There is nobody such, or the room's controller is not to be had.
            EventStoreError: It is not known yet whether there is, and the log cannot be read.
        """
        seen = await self.get(service, room, participant)
        sent = _sent(meta)

        async def ask(controller: Controller, node: str) -> PermissionSet:
            return await controller.set_permission(node, room, participant, wish, meta=sent)

        done = await self._controllers.ask(room, sent, ask)
        return Seen(seen.row, Address.parse(done.seq).sequence, done.permission)

    async def remove(self, service: str, room: str, participant: str, reason: str | None, meta: Meta) -> int:
        """Throw somebody out of a room, and return the sequence since when.

        Raises:
            Refusal: There is nobody such, or the room's controller is not to be had.
            EventStoreError: It is not known yet whether there is, and the log cannot be read.
        """
        await self.get(service, room, participant)
        sent = _sent(meta)

        async def ask(controller: Controller, node: str) -> Dropped:
            return await controller.drop(node, room, participant, reason=reason, meta=sent)

        done = await self._controllers.ask(room, sent, ask)
        if not done.dropped:
            raise _nobody(participant)
        return Address.parse(done.seq).sequence


def _sent(meta: Meta) -> RequestMeta:
    return RequestMeta(
        command=meta.command,
        correlation=meta.correlation,
        actor=meta.actor,
        traceparent=meta.traceparent,
    )


def _nobody(participant: str) -> Refusal:
    return Refusal(Code.NO_SUCH_PARTICIPANT, f"there is no participant {participant} in this room")
