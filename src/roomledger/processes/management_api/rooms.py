"""Rooms, as the services that own them create and see them."""

import secrets
import sqlite3
from typing import Final, NamedTuple

from roomledger.domain.errors import Code, Refusal
from roomledger.domain.room import ROOM
from roomledger.domain.room_commands import CreateRoom
from roomledger.domain.room_state import RoomState
from roomledger.event_store.store import EventStore
from roomledger.runtime.commands import Meta
from roomledger.runtime.deciding import Folded, decide_once, fold
from roomledger.runtime.projector import Projector
from roomledger_events.rooms import Media, Role, RoomSettings, View
from roomledger_events.subjects import Boundary, Kind
from roomledger_projections import rooms as projected
from roomledger_projections.projection import Row
from roomledger_projections.rooms import ROOMS

ID_BYTES: Final = 12


class KnownRoom(NamedTuple):
    """A room that is there.

    Attributes:
        id: Its id.
        service: Whose it is.
        settings: What is set of it.
        generation: How many rooms of this id there have been.
        sequence: The sequence of the log that this reflects.
    """

    id: str
    service: str
    settings: RoomSettings
    generation: int
    sequence: int


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

    async def create(self, service: str, settings: RoomSettings, meta: Meta) -> KnownRoom:
        """Create a room and return it once it is in the log.

        Raises:
            Refusal: The settings are out of bounds.
            EventStoreError: The log cannot take it.
        """
        room = secrets.token_hex(ID_BYTES)
        answer = await decide_once(
            self._store,
            Boundary(Kind.ROOM, room),
            ROOM,
            CreateRoom(room=room, service=service, settings=settings),
            meta,
            source=self._source,
            # Nobody has had this id, so there is nothing to read.
            known=Folded(RoomState()),
        )
        return KnownRoom(room, service, answer.value, 1, answer.sequence)

    async def get(self, service: str, room: str) -> KnownRoom:
        """Return a room of a service, also if it was created this very moment.

        Raises:
            Refusal: There is none, or it is another's (`NO_SUCH_ROOM`).
            EventStoreError: It is not known yet, and the log cannot be read.
        """
        row, sequence = await self._projector.ask(ROOMS, projected.room, room)
        found = await self._in_the_log(room, sequence) if row is None else _known(row, sequence)
        if found is None or found.service != service:
            raise Refusal(Code.NO_SUCH_ROOM, f"there is no room {room}")
        return found

    async def list(self, service: str, *, page: int, per_page: int) -> tuple[list[KnownRoom], int, int]:
        """Return a page of a service's rooms, oldest first, how many it has, and the sequence of that."""

        def ask(db: sqlite3.Connection) -> tuple[list[Row], int]:
            found = projected.rooms_of(db, service, limit=per_page, offset=(page - 1) * per_page)
            return found, projected.room_count(db, service)

        (found, count), sequence = await self._projector.ask(ROOMS, ask)
        return [room for row in found if (room := _known(row, sequence))], count, sequence

    async def _in_the_log(self, room: str, known: int) -> KnownRoom | None:
        """Look a room up that the projection had not heard of by a sequence."""
        head = await self._store.position()
        if head.sequence <= known:
            return None
        folded = await fold(self._store, Boundary(Kind.ROOM, room), ROOM)
        state = folded.state
        if state.settings is None:
            return None
        return KnownRoom(room, state.service, state.settings, state.generation, folded.basis)


def _known(row: Row, sequence: int) -> KnownRoom | None:
    if row["deleted"]:
        return None
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
