"""What existing clients are answered and told, as their versions have it: the payloads, as JSON values.

A permission that changed, and a room whose settings changed, are told to none of them: their protocol has no
words for it.
"""

from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from roomledger.domain import signed_token
from roomledger.domain import ticket as tickets
from roomledger.domain.errors import Code
from roomledger.processes.portal.notifications import EVERYBODY, Notification, Presence, Said
from roomledger.processes.portal.recollection import Told
from roomledger.processes.portal.session_effects import Problem
from roomledger.processes.portal.socketio_requests import Version
from roomledger.sdk.rooms import JoinedRoom, ParticipantView
from roomledger_events.rooms import Media

IN_SERVICE: Final = "Connection is in service"
ILLEGAL: Final = "Illegal request"
NOT_ALLOWED: Final = "Reconnection is not allowed"
DROP: Final = "drop"
ERROR: Final = "error"
"""The status of an acknowledgement that says that a request was not done, in all versions."""
_ME: Final = "me"

# -- Requests that are refused

_TEXTS: Final[dict[str, str]] = {
    "already_logged_in": IN_SERVICE,
    "not_logged_in": ILLEGAL,
    Code.TOKEN_EXPIRED: "Expired",
    Code.ROOM_FULL: "Room is full",
    Code.INVALID_ROLE: "Invalid role",
    Code.TICKET_EXPIRED: "Ticket is expired",
    Code.SESSION_ENDED: "Client does NOT exist",
}
_SIGNATURES: Final[dict[tuple[str, str], str]] = {
    (Code.INVALID_TOKEN, signed_token.BAD_SIGNATURE): "Invalid token signature",
    (Code.INVALID_TICKET, tickets.BAD_SIGNATURE): "Invalid reconnection ticket signature",
}


def refusal(problem: Problem) -> str:
    """Return what a client is told of a problem: the words that it knows, or else what people are told."""
    known = _SIGNATURES.get((problem.code, problem.message))
    return known or _TEXTS.get(problem.code, problem.message)


# -- Answers to a login


def login_result(joined: JoinedRoom, ticket: str | None, version: Version) -> dict[str, Any]:
    """Return the payload of a login's acknowledgement.

    Args:
        joined: The room's answer.
        ticket: What the client can come back with, if it can.
        version: What it speaks.
    """
    room = joined.room
    streams = list(room.streams)
    right = {} if ticket is None else {"reconnectionTicket": ticket}
    if version is Version.LEGACY:
        users = [_user(who) for who in room.participants]
        return {"clientId": joined.id, "id": room.id, "streams": streams, "users": users, **right}
    permission = joined.permission
    return {
        "user": joined.user,
        "role": joined.role,
        "permission": {"publish": _media(permission.publish), "subscribe": _media(permission.subscribe)},
        "room": {
            "id": room.id,
            "views": list(room.views),
            "participants": [_participant(who) for who in room.participants],
            "streams": streams,
        },
        "id": joined.id,
        **right,
    }


def _media(media: Media) -> dict[str, bool]:
    return {"video": media.video, "audio": media.audio}


def _participant(who: ParticipantView) -> dict[str, str]:
    return {"id": who.id, "user": who.user, "role": who.role}


def _user(who: ParticipantView) -> dict[str, str]:
    return {"id": who.id, "name": who.user, "role": who.role}


# -- What clients are told


class Event(NamedTuple):
    """An event as it goes over the wire: its name and its one argument."""

    name: str
    data: dict[str, Any]


def event(notification: Notification) -> Event | None:
    """Return a notification as 1.x has it, and None for one that it has no words for."""
    match notification:
        case Presence(action="join", participant=who):
            return Event("participant", {"action": "join", "data": _participant(who)})
        case Presence(participant=who):
            return Event("participant", {"action": "leave", "data": who.id})
        case Said(sender=sender, to=to, message=message):
            return Event("text", {"from": sender, "to": _receiver(to), "message": message})
    return None


def legacy_event(notification: Notification) -> Event | None:
    """Return a notification as legacy clients have it, and None for one that they have no words for."""
    match notification:
        case Presence(action="join", participant=who):
            return Event("user_join", {"user": _user(who)})
        case Presence(participant=who):
            return Event("user_leave", {"user": {"id": who.id}})
        case Said(sender=sender, to=to, message=message):
            return Event("custom_message", {"from": sender, "to": _receiver(to), "data": message})
    return None


def _receiver(to: str) -> str:
    return EVERYBODY if to == EVERYBODY else _ME


def resumption(ticket: str, missed: Iterable[Told]) -> dict[str, Any]:
    """Return the payload of a relogin's acknowledgement in 1.2: the ticket, and what was missed."""
    messages = []
    for told in missed:
        said = event(told.news.notification)
        if said is not None:
            messages.append({"event": said.name, "data": said.data, "seq": told.number})
    return {"ticket": ticket, "messages": messages}
