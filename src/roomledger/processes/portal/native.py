"""The portal's own protocol: which JSON-RPC messages a session's requests, answers and notifications are."""

from typing import Annotated, Any, Final, NamedTuple

import msgspec

from roomledger.processes.portal import jsonrpc
from roomledger.processes.portal.errors import APPLICATION, INVALID_PARAMS, METHOD_NOT_FOUND, Fault
from roomledger.processes.portal.notifications import (
    EVERYBODY,
    Notification,
    Permitted,
    Presence,
    RoomSet,
    Said,
)
from roomledger.processes.portal.session_effects import (
    Login,
    Logout,
    Participants,
    Problem,
    Refreshed,
    RefreshTicket,
    Relogin,
    Request,
    Resumption,
    SendText,
    Sent,
    Value,
)
from roomledger.sdk.rooms import JoinedRoom, ParticipantView
from roomledger_events.envelope import Address
from roomledger_events.identifiers import Id
from roomledger_events.rooms import Permission

SUBPROTOCOL: Final = "roomledger.v1"

_Text = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
_Place = Annotated[str, msgspec.Meta(pattern=r"^[0-9]{1,19}(\.[0-9]{1,3})?\Z")]
_Message = Annotated[str, msgspec.Meta(max_length=65_536)]

# -- Requests


class _Client(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    type: _Text
    version: _Text


class _Login(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    token: str
    client: _Client | None = None
    reconnect: bool = False

    def request(self) -> Request:
        return Login(self.token, self.reconnect)


class _Relogin(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    ticket: str
    after: _Place | None = None

    def request(self) -> Request:
        return Relogin(self.ticket, None if self.after is None else Address.parse(self.after))


class _RefreshTicket(msgspec.Struct, forbid_unknown_fields=True):
    def request(self) -> Request:
        return RefreshTicket()


class _SendText(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    to: Id
    message: _Message

    def request(self) -> Request:
        return SendText(self.to, self.message)


class _Logout(msgspec.Struct, forbid_unknown_fields=True):
    def request(self) -> Request:
        return Logout()


class _Participants(msgspec.Struct, forbid_unknown_fields=True):
    def request(self) -> Request:
        return Participants()


LOGINS: Final = frozenset({"login", "relogin"})
"""The methods that a connection begins with."""
_Params = _Login | _Relogin | _RefreshTicket | _SendText | _Logout | _Participants
_decoders: Final[dict[str, "msgspec.json.Decoder[_Params]"]] = {
    "login": msgspec.json.Decoder(_Login),
    "relogin": msgspec.json.Decoder(_Relogin),
    "refresh_ticket": msgspec.json.Decoder(_RefreshTicket),
    "text": msgspec.json.Decoder(_SendText),
    "logout": msgspec.json.Decoder(_Logout),
    "participants": msgspec.json.Decoder(_Participants),
}


class Asked(NamedTuple):
    """A request, and the id to answer it with; None if no answer is wanted."""

    id: msgspec.Raw | None
    request: Request


def read(text: str) -> Asked:
    """Return the request that a frame holds.

    Raises:
        Fault: It holds none.
    """
    call = jsonrpc.read(text)
    decoder = _decoders.get(call.method)
    if decoder is None:
        raise Fault(METHOD_NOT_FOUND, f"there is no method {call.method!r}", call.id, call.method)
    try:
        params = decoder.decode(call.params)
    except (ValueError, RecursionError) as error:
        raise Fault(INVALID_PARAMS, f"{call.method}: {error}", call.id, call.method) from error
    return Asked(call.id, params.request())


# -- Answers


class _Present(msgspec.Struct):
    participants: tuple[ParticipantView, ...]


class _LoggedIn(JoinedRoom, kw_only=True, frozen=True, omit_defaults=True):
    ticket: str | None = None


class _Resumed(msgspec.Struct):
    id: str
    ticket: str | None
    seq: str
    missed: tuple[msgspec.Raw, ...]


class _Ticket(msgspec.Struct):
    ticket: str | None


class _Stored(msgspec.Struct):
    seq: str


def answer(id: msgspec.Raw, value: Value, ticket: str | None = None) -> bytes:  # noqa: A002  - JSON-RPC's word
    """Return the frame that answers a request.

    Args:
        id: The request's.
        value: The answer.
        ticket: The ticket that goes with it.
    """
    return jsonrpc.result(id, _shown(value, ticket))


def _shown(value: Value, ticket: str | None) -> Any:  # noqa: ANN401  - whatever msgspec encodes
    match value:
        case None:
            return {}
        case JoinedRoom():
            fields = {name: getattr(value, name) for name in JoinedRoom.__struct_fields__}
            return _LoggedIn(**fields, ticket=ticket)
        case Resumption():
            missed = tuple(msgspec.Raw(told.news.written(notification)) for told in value.missed)
            return _Resumed(value.participant, ticket, str(value.seq), missed)
        case Refreshed():
            return _Ticket(ticket)
        case Sent(seq):
            return _Stored(seq)
        case participants:
            return _Present(participants)


def problem(id: msgspec.Raw, problem: Problem) -> bytes:  # noqa: A002  - as above
    """Return the frame that refuses a request."""
    data: dict[str, Any] = {"code": problem.code}
    if problem.retry_after_ms is not None:
        data["retry_after_ms"] = problem.retry_after_ms
    return jsonrpc.failure(id, APPLICATION, problem.message, data)


def fault(fault: Fault) -> bytes | None:
    """Return the frame that answers what was no request; None if no answer is wanted."""
    if fault.id is None:
        return None
    return jsonrpc.failure(fault.id, fault.code, fault.message)


# -- Notifications


class _Presence(msgspec.Struct, omit_defaults=True):
    action: str
    participant: ParticipantView
    seq: str
    reason: str | None = None


class _Said(msgspec.Struct, kw_only=True):
    sender: str = msgspec.field(name="from")
    to: str
    message: str
    seq: str


class _Permitted(msgspec.Struct):
    participant: str
    permission: Permission
    seq: str


class _Settings(msgspec.Struct):
    name: str
    participant_limit: int
    views: tuple[str, ...]


class _Changed(msgspec.Struct):
    change: _Settings
    seq: str


class _Dropped(msgspec.Struct):
    reason: str


def notification(notification: Notification) -> bytes:
    """Return the frame that tells of what happened in the room, to all who are told of it.

    Raises:
        ValueError: No client is told of it like this.
    """
    match notification:
        case Presence(action=action, participant=who, reason=reason):
            return jsonrpc.notification("participant", _Presence(action, who, _seq(notification), reason))
        case Said(sender=sender, to=to, message=message):
            # One that goes to one participant is told to nobody else.
            to = to if to == EVERYBODY else "me"
            told = _Said(sender=sender, to=to, message=message, seq=_seq(notification))
            return jsonrpc.notification("text", told)
        case Permitted(participant=whose, permission=permission):
            return jsonrpc.notification("permission", _Permitted(whose, permission, _seq(notification)))
        case RoomSet(settings=settings):
            views = tuple([view.label for view in settings.views])
            change = _Settings(settings.name, settings.participant_limit, views)
            return jsonrpc.notification("room", _Changed(change, _seq(notification)))
    raise ValueError(f"no client is told of {type(notification).__name__}")


def _seq(notification: Notification) -> str:
    return str(notification.address)


def dropped(reason: str) -> bytes:
    """Return the frame that tells a client that it is out."""
    return jsonrpc.notification("drop", _Dropped(reason))
