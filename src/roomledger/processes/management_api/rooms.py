"""Rooms, as the services that own them create, change, delete and see them."""

import secrets
import sqlite3
from collections.abc import Callable, Sequence
from typing import Final

from roomledger.domain.errors import Code, Refusal
from roomledger.domain.room import ROOM
from roomledger.domain.room_commands import ChangeRoom, CreateRoom, DeleteRoom, RoomCommand
from roomledger.domain.room_state import RoomState
from roomledger.event_store.store import EventStore
from roomledger.processes.management_api.known_rooms import Gone, KnownRoom, KnownRooms
from roomledger.runtime.commands import Answer, Meta
from roomledger.runtime.deciding import Folded, decide_once, fold
from roomledger.runtime.projector import Projector
from roomledger_events.envelope import Commit
from roomledger_events.rooms import Media, Role, RoomSettings, View
from roomledger_events.subjects import Boundary, Kind
from roomledger_projections import rooms as projected
from roomledger_projections.projection import Row
from roomledger_projections.rooms import ROOMS

ID_BYTES: Final = 12


class Rooms:
    """The rooms of all services; each sees its own only.

    Args:
        store: The log.
        projector: Keeps what is known.
        source: This process, for the events' envelopes.
    """

    def __init__(self, store: EventStore, projector: Projector, *, source: str) -> None:
        self._store = store
        self._projector = projector
        self._source = source
        self._known = KnownRooms()

    def take_in(self, commits: Sequence[Commit]) -> None:
        """Take in what the log tells of rooms, once the projector has."""
        self._known.take_in(commits)

    async def create(
        self,
        service: str,
        settings: RoomSettings,
        meta: Meta,
        *,
        room: str | None = None,
        again: bool = False,
    ) -> KnownRoom:
        """Create a room and return it once it is in the log.

        Args:
            service: Whose it is.
            settings: How it begins.
            meta: Who wants it.
            room: Its id; one that nobody has had is made up where none is wished.
            again: Whether this very request may have been carried out before.

        Raises:
            Refusal: The settings are out of bounds, or there is another room of this id (`ROOM_EXISTS`).
            EventStoreError: The log cannot take it.
        """
        made_up = room is None
        room = room or secrets.token_hex(ID_BYTES)
        generation = 1

        def command(state: RoomState) -> CreateRoom:
            nonlocal generation
            generation = state.generation if state.settings is not None else state.generation + 1
            there = state.settings if again and state.service == service else None
            # It may have been changed since it was created; then it stays as it is.
            return CreateRoom(room=room, service=service, settings=there or settings)

        # Nobody has had an id that was made up just now, so there is nothing to read.
        known = Folded(RoomState()) if made_up and not again else None
        answer = await self._decide(room, command, meta, known=known)
        created = KnownRoom(room, service, answer.value, generation, answer.sequence)
        self._known.put(room, created)
        return created

    async def change(
        self, service: str, room: str, change: Callable[[RoomSettings], RoomSettings], meta: Meta
    ) -> KnownRoom:
        """Change a room and return it once that is in the log.

        Args:
            service: Whose it is.
            room: Which one.
            change: Makes the new settings of the present ones; it is asked again if they changed meanwhile.
            meta: Who wants it.

        Raises:
            Refusal: There is no such room, or the settings are out of bounds.
            EventStoreError: The log cannot take it.
        """
        await self.get(service, room)
        generation = 0

        def command(state: RoomState) -> ChangeRoom:
            nonlocal generation
            settings, generation = _owned(state, service, room), state.generation
            return ChangeRoom(change(settings))

        answer = await self._decide(room, command, meta)
        changed = KnownRoom(room, service, answer.value, generation, answer.sequence)
        self._known.put(room, changed)
        return changed

    async def delete(self, service: str, room: str, meta: Meta) -> int:
        """Delete a room and return the sequence since when: nobody is in it and no token opens it.

        Raises:
            Refusal: There is no such room.
            EventStoreError: The log cannot take it.
        """
        await self.get(service, room)

        def command(state: RoomState) -> DeleteRoom:
            _owned(state, service, room)
            return DeleteRoom()

        answer = await self._decide(room, command, meta)
        self._known.put(room, Gone(answer.sequence))
        return answer.sequence

    async def get(self, service: str, room: str) -> KnownRoom:
        """Return a room of a service, also if it was created this very moment.

        Raises:
            Refusal: There is none, or it is another's (`NO_SUCH_ROOM`).
            EventStoreError: It is not known yet, and the log cannot be read.
        """
        found = self._known.get(room)
        if found is None:
            row, sequence = await self._projector.ask(ROOMS, projected.room, room)
            found = Gone(sequence) if row is None else _known(row, sequence)
            if isinstance(found, KnownRoom):
                self._known.put(room, found)
                # What came into the log meanwhile is newer, and it stays.
                found = self._known.get(room) or found
        if isinstance(found, Gone):
            found = await self._in_the_log(room, max(found.sequence, self._projector.position))
            if isinstance(found, KnownRoom):
                self._known.put(room, found)
        if isinstance(found, Gone) or found.service != service:
            raise _no_such_room(room)
        return found._replace(sequence=max(found.sequence, self._projector.position))

    async def list(self, service: str, *, page: int, per_page: int) -> tuple[list[KnownRoom], int, int]:
        """Return a page of a service's rooms, oldest first, how many it has, and the sequence of that."""

        def ask(db: sqlite3.Connection) -> tuple[list[Row], int]:
            found = projected.rooms_of(db, service, limit=per_page, offset=(page - 1) * per_page)
            return found, projected.room_count(db, service)

        (found, count), sequence = await self._projector.ask(ROOMS, ask)
        rooms = (_known(row, sequence) for row in found)
        return [room for room in rooms if isinstance(room, KnownRoom)], count, sequence

    async def _decide(
        self,
        room: str,
        command: Callable[[RoomState], RoomCommand],
        meta: Meta,
        *,
        known: Folded[RoomState] | None = None,
    ) -> Answer:
        boundary = Boundary(Kind.ROOM, room)
        return await decide_once(self._store, boundary, ROOM, command, meta, source=self._source, known=known)

    async def _in_the_log(self, room: str, known: int) -> KnownRoom | Gone:
        """Look a room up that was not there at a sequence."""
        head = await self._store.position()
        if head.sequence <= known:
            return Gone(known)
        folded = await fold(self._store, Boundary(Kind.ROOM, room), ROOM)
        state = folded.state
        if state.settings is None:
            return Gone(folded.basis)
        return KnownRoom(room, state.service, state.settings, state.generation, folded.basis)


def _owned(state: RoomState, service: str, room: str) -> RoomSettings:
    if state.settings is None or state.service != service:
        raise _no_such_room(room)
    return state.settings


def _no_such_room(room: str) -> Refusal:
    return Refusal(Code.NO_SUCH_ROOM, f"there is no room {room}")


def _known(row: Row, sequence: int) -> KnownRoom | Gone:
    if row["deleted"]:
        return Gone(sequence)
    roles = (
        Role(role=role["role"], publish=Media(**role["publish"]), subscribe=Media(**role["subscribe"]))
        for role in row["roles"]
    )
    settings = RoomSettings(
        name=row["name"],
        participant_limit=row["participant_limit"],
        roles=tuple(roles),
        views=tuple(View(label=label) for label in row["views"]),
    )
    return KnownRoom(row["id"], row["service"], settings, row["generation"], sequence)
