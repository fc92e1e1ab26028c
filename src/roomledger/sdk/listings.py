"""Who is in a room, for those who ask its controller: what is known of long lists is not fetched again.

A controller tells of a large room as of a beginning of its list of changes: participants that came, and ids
of those that went.  The list only grows, so whoever has asked before fetches only what has come since.
"""

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec

ROOMS_KEPT: Final = 256
"""Of how many large rooms the lists are kept."""


class ParticipantView(msgspec.Struct, kw_only=True, frozen=True, gc=False):
    """A participant, as others in the room see it."""

    id: str
    user: str
    role: str


class ListingView(msgspec.Struct, kw_only=True, frozen=True):
    """Who is in a large room: the participants that the first `length` changes of a list leave in it."""

    list: str
    length: int


Change = ParticipantView | str
Fetch = Callable[[str, int], Awaitable[tuple[Change, ...]]]
"""Returns changes of a list from one on, at least one; given the list's name and the first one's number."""


class _Known:
    __slots__ = ("applied", "changes", "name", "present")

    def __init__(self, name: str) -> None:
        self.name = name
        self.changes: list[Change] = []
        self.present: dict[str, ParticipantView] = {}
        self.applied = 0


class Listings:
    """The lists of large rooms, as far as they were fetched."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, _Known] = OrderedDict()

    async def participants(
        self, room: str, listing: ListingView, fetch: Fetch
    ) -> tuple[ParticipantView, ...]:
        """Return who is in, in the order of joining.

        Raises:
            Refusal: As `fetch`.
        """
        known = self._of(room, listing)
        while len(known.changes) < listing.length:
            start = len(known.changes)
            fetched = await fetch(known.name, start)
            if len(known.changes) == start:  # else somebody else has fetched the same meanwhile
                known.changes.extend(fetched)
        if known.applied > listing.length:
            present: dict[str, ParticipantView] = {}
            _apply(known.changes[: listing.length], present)
            return tuple(present.values())
        _apply(known.changes[known.applied : listing.length], known.present)
        known.applied = listing.length
        return tuple(known.present.values())

    def _of(self, room: str, listing: ListingView) -> _Known:
        known = self._known.get(room)
        if known is None or known.name != listing.list:
            known = self._known[room] = _Known(listing.list)
        self._known.move_to_end(room)
        while len(self._known) > ROOMS_KEPT:
            self._known.popitem(last=False)
        return known


def _apply(changes: list[Change], present: dict[str, ParticipantView]) -> None:
    for change in changes:
        if isinstance(change, str):
            present.pop(change, None)
        else:
            present[change.id] = change
