"""Rooms that were asked for lately, as the log has them: so that a token costs no look-up in a file.

What is known of a room is replaced by whatever the log tells of it, and by nothing that is older. That a room
is gone is known in the same way.
"""

from collections import OrderedDict
from collections.abc import Iterable
from typing import Final, NamedTuple

from roomledger_events.envelope import Commit
from roomledger_events.rooms import RoomChanged, RoomCreated, RoomDeleted, RoomSettings
from roomledger_events.subjects import Kind

REMEMBERED: Final = 10_000
"""How many rooms are known at once."""


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


class Gone(NamedTuple):
    """There is no such room, or no longer; `sequence` is the sequence of the log that this reflects."""

    sequence: int


class _Changed(NamedTuple):
    """A room changed into something that is not known here; nothing older than this counts any more."""

    sequence: int


class KnownRooms:
    """Rooms by id, the least used ones forgotten."""

    def __init__(self, remembered: int = REMEMBERED) -> None:
        self._remembered = remembered
        self._by_id: OrderedDict[str, KnownRoom | Gone | _Changed] = OrderedDict()

    def get(self, room: str) -> KnownRoom | Gone | None:
        """Return what is known of a room; None for nothing."""
        known = self._by_id.get(room)
        if known is None or isinstance(known, _Changed):
            return None
        self._by_id.move_to_end(room)
        return known

    def put(self, room: str, told: KnownRoom | Gone) -> None:
        """Take note of what a room is, unless something newer is known."""
        self._put(room, told)

    def take_in(self, commits: Iterable[Commit]) -> None:
        """Take in what the log tells of rooms."""
        for commit in commits:
            if commit.boundary.kind is not Kind.ROOM:
                continue
            for event in commit.events:
                data = event.data
                if isinstance(data, RoomCreated):
                    told = KnownRoom(data.room, data.service, data.settings, data.generation, commit.sequence)
                    self._put(data.room, told)
                elif isinstance(data, RoomChanged):
                    self._change(data, commit.sequence)
                elif isinstance(data, RoomDeleted):
                    self._put(data.room, Gone(commit.sequence))

    def _change(self, changed: RoomChanged, sequence: int) -> None:
        known = self._by_id.get(changed.room)
        if isinstance(known, KnownRoom):
            self._put(changed.room, known._replace(settings=changed.settings, sequence=sequence))
        else:
            self._put(changed.room, _Changed(sequence))

    def _put(self, room: str, told: KnownRoom | Gone | _Changed) -> None:
        known = self._by_id.get(room)
        if known is not None and known.sequence > told.sequence:
            return
        self._by_id[room] = told
        self._by_id.move_to_end(room)
        if len(self._by_id) > self._remembered:
            self._by_id.popitem(last=False)
