"""Who is in a room, for those who ask: few as they are, many as the beginning of a list of changes.

A reply that holds thousands of participants costs as much as thousands of replies, and ends at the broker's
limit.  So a long list is handed out as its name and its length: a room's list of changes only grows, and
whoever has its beginning fetches what has come since, page by page.  A full page never changes, so it is
written once for all who fetch it.  A name has the controller's epoch in it: another controller may cut its
lists elsewhere.
"""

from collections import OrderedDict
from typing import Final, NamedTuple

import msgspec

from roomledger.domain.errors import Code, Refusal
from roomledger.domain.roster import Listing, Participant
from roomledger.sdk.listings import ListingView, ParticipantView

SHORT: Final = 32
"""Up to so many participants stand in the reply itself."""
PAGE: Final = 512
"""How many changes a page has: also with the longest names it is far below what a message may hold."""
KEPT: Final = 4
"""How many lists of a room can be fetched from; a new one is begun when the old one is mostly void."""

_encode: Final = msgspec.json.Encoder().encode


class Shown(NamedTuple):
    """Who is in, as a reply has it: one of the two is empty."""

    participants: tuple[ParticipantView, ...]
    listing: ListingView | None


class _List:
    __slots__ = ("changes", "length", "pages")

    def __init__(self, changes: list[Participant | str]) -> None:
        self.changes = changes
        self.length = 0
        self.pages: dict[int, msgspec.Raw] = {}


class Lists:
    """The lists of one room that were handed out by one controller."""

    def __init__(self) -> None:
        self._lists: OrderedDict[str, _List] = OrderedDict()

    def show(self, listing: Listing, epoch: int) -> Shown:
        """Return a listing as a reply has it.

        Args:
            listing: Of what is in the log.
            epoch: The controller's.
        """
        if listing.present <= SHORT:
            return Shown(tuple(map(view, listing.participants())), None)
        name = f"{epoch}.{listing.number}"
        known = self._lists.get(name)
        if known is None:
            known = self._lists[name] = _List(listing.changes)
            while len(self._lists) > KEPT:
                self._lists.popitem(last=False)
        elif len(listing.changes) >= known.length:
            known.changes = listing.changes  # the same, perhaps read from the log anew
        # Who joins is the next change of the list: the join was decided on its end, and is in the log by now.
        length = listing.length + (listing.joining is not None)
        known.length = max(known.length, length)
        return Shown((), ListingView(list=name, length=length))

    def page(self, name: str, start: int) -> msgspec.Raw:
        """Return changes of a list, as JSON, from one on; as many as are known and fit.

        Raises:
            Refusal: The list is not kept here (any more), or it is not as long.
        """
        known = self._lists.get(name)
        if known is None:
            raise Refusal(Code.WRONG_CONTROLLER, f"there is no list {name!r} of this room here now")
        if not 0 <= start < known.length:
            raise Refusal(Code.INVALID_ARGUMENT, f"the list has {known.length} changes, none at {start}")
        end = min(start - start % PAGE + PAGE, known.length)
        if end - start < PAGE:
            return _written(known.changes, start, end)
        page = known.pages.get(start)
        if page is None:
            page = known.pages[start] = _written(known.changes, start, end)
        return page


def view(participant: Participant) -> ParticipantView:
    """Return a participant as others in the room see it."""
    return ParticipantView(id=participant.id, user=participant.user, role=participant.role)


def _written(changes: list[Participant | str], start: int, end: int) -> msgspec.Raw:
    told = [change if isinstance(change, str) else view(change) for change in changes[start:end]]
    return msgspec.Raw(_encode(told))
