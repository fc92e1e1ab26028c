"""Who is in a room, listed for those who join without copying the list for each of them.

The answer to a join contains everybody who is in at that very point of the log, but it is sent when later
joins have been decided already.  So a roster is a list of changes that only grows: a `Listing` is the
beginning of it, two references and a number, and what comes later does not touch it.  When more than half of
the changes have been made void by later ones a new list is begun; that pays for itself by the changes since
the last time.  Joining and leaving cost the same however many are in; only who wants to see a listing pays
for its length.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Final, NamedTuple

import msgspec

from roomledger_events.rooms import Permission

_SLACK: Final = 64


class Participant(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Somebody who is in a room.

    Attributes:
        id: Which join it is; one user may be in several times.
        user: The name that the application gave.
        role: The role at the join.
        permission: What the participant may do now.
        portal: The portal that the session is at.
        incarnation: Which run of that portal; empty where the session does not end with it.
        epoch: How many times the session has been begun or come back.
        token: The token that was used up by the join.
        away: Whether the connection was lost.
        back_by: When somebody who is away leaves; None where the room does not see to it.
    """

    id: str
    user: str
    role: str
    permission: Permission
    portal: str
    token: str
    away: bool = False
    back_by: datetime | None = None
    incarnation: str = ""
    epoch: int = 1

    def ends_with(self, running: str | None) -> bool:
        """Whether the connection is one to a portal of which only this run, or none, goes on."""
        return not self.away and self.incarnation not in {"", running}


class Listing(NamedTuple):
    """Who was in at one point.

    Attributes:
        changes: Participants that came and ids that went, in order, with later ones perhaps.
        length: How many of the changes count.
        joining: Who comes on top.
        present: How many were in, with who comes on top.
        number: Which of the roster's lists of changes it is.
    """

    changes: list[Participant | str]
    length: int
    joining: Participant | None = None
    present: int = 0
    number: int = 0

    def participants(self) -> list[Participant]:
        """Return them in the order of their joins, each as it was at the join."""
        present: dict[str, Participant] = {}
        for change in self.changes[: self.length]:
            if isinstance(change, str):
                present.pop(change, None)
            else:
                present[change.id] = change
        if self.joining is not None:
            present[self.joining.id] = self.joining
        return list(present.values())


class Roster:
    """Who is in now."""

    __slots__ = ("_changes", "_number", "_present")

    def __init__(self, participants: Iterable[Participant] = ()) -> None:
        self._changes: list[Participant | str] = list(participants)
        self._present = len(self._changes)
        self._number = 0

    def join(self, participant: Participant) -> None:
        """Take in that somebody joined who was not in."""
        self._changes.append(participant)
        self._present += 1

    def leave(self, participant: str) -> None:
        """Take in that somebody left who was in."""
        self._changes.append(participant)
        self._present -= 1
        if len(self._changes) > 2 * self._present + _SLACK:
            self._changes = [*self.listing().participants()]
            self._number += 1

    def listing(self, joining: Participant | None = None) -> Listing:
        """Return who is in now, with somebody who is about to be."""
        present = self._present + (joining is not None)
        return Listing(self._changes, len(self._changes), joining, present, self._number)
