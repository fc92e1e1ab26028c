"""What those who are in a room are told, as it follows from the room's events and from nothing else.

ParticipantJoined    join         to everybody but the one who joined
ParticipantLeft      leave        to those who stay; to the one who left, if that was not asked for: drop
TextSent             text         to whom it goes; to all with the sender, if it goes to all
PermissionChanged    permission   to the one whose it is
RoomChanged          room         to everybody
RoomDeleted          drop         to everybody
ParticipantAway, ParticipantBack  to no client: a session learns by them where it is

So what a client is told, in which order and as the how-manyth, is the same at every portal.
"""

from collections.abc import Callable, Iterator
from typing import Any, Final, Literal, TypeVar

import msgspec

from roomledger.sdk.rooms import ParticipantView
from roomledger_events.envelope import Address, Commit
from roomledger_events.rooms import (
    ParticipantAway,
    ParticipantBack,
    ParticipantJoined,
    ParticipantLeft,
    Permission,
    PermissionChanged,
    RoomChanged,
    RoomDeleted,
    RoomSettings,
    TextSent,
)

EVERYBODY: Final = "all"
Written = TypeVar("Written")


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


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody said something.

    Attributes:
        sender: Whose id it is.
        to: A participant's id, or ``all``.
        message: What.
        address: Where the event stands in the log.
    """

    sender: str
    to: str
    message: str
    address: Address


class Permitted(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody may do was changed.

    Attributes:
        participant: Whose id it is.
        permission: What is allowed now.
        address: Where the event stands in the log.
    """

    participant: str
    permission: Permission
    address: Address


class RoomSet(msgspec.Struct, frozen=True, kw_only=True):
    """The settings of the room were replaced.

    Attributes:
        settings: As they are now.
        address: Where the event stands in the log.
    """

    settings: RoomSettings
    address: Address


class RoomClosed(msgspec.Struct, frozen=True, kw_only=True):
    """The room was deleted: everybody is out.

    Attributes:
        address: Where the event stands in the log.
    """

    address: Address


class Moved(msgspec.Struct, frozen=True, kw_only=True):
    """A session lost its connection, or has another one.

    Attributes:
        participant: Whose it is.
        away: Whether it has none now.
        portal: Where the connection is, or was.
        incarnation: Which run of the portal; empty for one that was lost.
        epoch: How many times the session has been begun or come back; 0 for one that was lost.
        told: Up to where the client is known to have been told over a lost one; None if that is not known.
        address: Where the event stands in the log.
    """

    participant: str
    away: bool
    portal: str
    incarnation: str = ""
    epoch: int = 0
    told: Address | None = None
    address: Address


Notification = Presence | Said | Permitted | RoomSet | RoomClosed | Moved
COUNTED: Final = (Presence, Said)
"""What counts for clients that number what they are told: what there is of it in all versions."""


class News:
    """A notification on its way to many, which is written out once for all who want it the same way."""

    __slots__ = ("_written", "notification")

    def __init__(self, notification: Notification) -> None:
        self.notification = notification
        self._written: dict[Callable[[Notification], Any], Any] = {}

    def written(self, write: Callable[[Notification], Written]) -> Written:
        """Return it as `write` has it."""
        if write not in self._written:
            self._written[write] = write(self.notification)
        written: Written = self._written[write]
        return written


def is_for(notification: Notification, participant: str) -> bool:
    """Whether a client is told of it; what ends its session is told by that end."""
    match notification:
        case Presence(participant=who):
            return who.id != participant
        case Said(to=to):
            return to in {EVERYBODY, participant}
        case Permitted(participant=whose):
            return whose == participant
        case RoomSet():
            return True
    return False


def take_in(commit: Commit) -> list[News]:
    """Return what a commit of a room, or of its texts, means to those who are in."""
    return [News(notification) for notification in _notifications(commit)]


def _notifications(commit: Commit) -> Iterator[Notification]:
    for place, event in enumerate(commit.events):
        address = Address(commit.sequence, place)
        match event.data:
            case ParticipantJoined(participant=id_, user=user, role=role):
                who = ParticipantView(id=id_, user=user, role=role)
                yield Presence(action="join", participant=who, address=address)
            case ParticipantLeft(participant=id_, reason=reason, message=message, user=user, role=role):
                who = ParticipantView(id=id_, user=user, role=role)
                yield Presence(
                    action="leave", participant=who, reason=reason, message=message, address=address
                )
            case TextSent(sender=sender, to=to, message=message):
                yield Said(sender=sender, to=to, message=message, address=address)
            case PermissionChanged(participant=id_, permission=permission):
                yield Permitted(participant=id_, permission=permission, address=address)
            case RoomChanged(settings=settings):
                yield RoomSet(settings=settings, address=address)
            case RoomDeleted():
                yield RoomClosed(address=address)
            case ParticipantAway(participant=id_, portal=portal, told=told):
                known = Address.parse(told) if told else None
                yield Moved(participant=id_, away=True, portal=portal, told=known, address=address)
            case ParticipantBack(participant=id_, portal=portal, incarnation=run, epoch=epoch):
                yield Moved(
                    participant=id_, away=False, portal=portal, incarnation=run, epoch=epoch, address=address
                )
            case _:
                pass
