"""What those who are in a room are told, as it follows from the room's events.

ParticipantJoined    join     to everybody but the one who joined
ParticipantLeft      leave    to those who stay; to the one who left, if the session did not ask for it: drop
RoomDeleted          drop     to everybody
"""

from collections.abc import Callable, Iterator
from typing import Literal

import msgspec

from roomledger.sdk.rooms import ParticipantView
from roomledger_events.envelope import Address, Commit
from roomledger_events.rooms import ParticipantJoined, ParticipantLeft, RoomDeleted


class Presence(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody joined or left.

    Attributes:
        action: Which of the two.
        participant: Who.
        reason: Why somebody left.
        message: What the one said who dropped the participant; for nobody else's eyes.
        address: Where the event stands in the log.
    """

    action: Literal["join", "leave"]
    participant: ParticipantView
    reason: str | None = None
    message: str | None = None
    address: Address


class RoomClosed(msgspec.Struct, frozen=True, kw_only=True):
    """The room was deleted: everybody is out.

    Attributes:
        address: Where the event stands in the log.
    """

    address: Address


Notification = Presence | RoomClosed
Roster = dict[str, ParticipantView]
"""Who is in a room, by id."""


class News:
    """A notification on its way to many, which is written out once for all who want it the same way."""

    __slots__ = ("_written", "notification")

    def __init__(self, notification: Notification) -> None:
        self.notification = notification
        self._written: dict[Callable[[Notification], bytes], bytes] = {}

    def written(self, write: Callable[[Notification], bytes]) -> bytes:
        """Return it as `write` has it."""
        known = self._written.get(write)
        if known is None:
            known = self._written[write] = write(self.notification)
        return known


def take_in(commit: Commit, roster: Roster) -> list[News]:
    """Return what a room's commit means to those who are in, and bring the roster up to it.

    Args:
        commit: Of the room.
        roster: Who was in before; an event names who left by id only.
    """
    return [News(notification) for notification in _notifications(commit, roster)]


def _notifications(commit: Commit, roster: Roster) -> Iterator[Notification]:
    for place, event in enumerate(commit.events):
        address = Address(commit.sequence, place)
        match event.data:
            case ParticipantJoined(participant=id_, user=user, role=role):
                roster[id_] = who = ParticipantView(id=id_, user=user, role=role)
                yield Presence(action="join", participant=who, address=address)
            case ParticipantLeft(participant=id_, reason=reason, message=message):
                who = roster.pop(id_, ParticipantView(id=id_, user="", role=""))
                yield Presence(
                    action="leave", participant=who, reason=reason, message=message, address=address
                )
            case RoomDeleted():
                roster.clear()
                yield RoomClosed(address=address)
            case _:
                pass
