"""The portal's own protocol: which JSON-RPC messages a session's requests, answers and notifications are."""

from typing import Annotated, Any, Final, NamedTuple

import msgspec

from roomledger.processes.portal import jsonrpc
from roomledger.processes.portal.errors import APPLICATION, INVALID_PARAMS, METHOD_NOT_FOUND, Fault
from roomledger.processes.portal.notifications import Notification, RoomClosed
from roomledger.processes.portal.session_effects import Login, Logout, Participants, Problem, Request
from roomledger.sdk.rooms import JoinedRoom, ParticipantView

SUBPROTOCOL: Final = "roomledger.v1"

_Text = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]

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


class _Logout(msgspec.Struct, forbid_unknown_fields=True):
    def request(self) -> Request:
        return Logout()


class _Participants(msgspec.Struct, forbid_unknown_fields=True):
    def request(self) -> Request:
        return Participants()


LOGIN: Final = "login"
_decoders: Final[dict[str, "msgspec.json.Decoder[_Login | _Logout | _Participants]"]] = {
    LOGIN: msgspec.json.Decoder(_Login),
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


def answer(id: msgspec.Raw, value: JoinedRoom | tuple[ParticipantView, ...] | None) -> bytes:  # noqa: A002  - JSON-RPC's word
    """Return the frame that answers a request."""
    match value:
        case None:
            return jsonrpc.result(id, {})
        case JoinedRoom():
            return jsonrpc.result(id, value)
        case participants:
            return jsonrpc.result(id, _Present(participants))


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


class _Dropped(msgspec.Struct):
    reason: str


def notification(notification: Notification) -> bytes:
    """Return the frame that tells of what happened in the room."""
    if isinstance(notification, RoomClosed):
        return dropped("room_deleted")
    told = _Presence(
        notification.action, notification.participant, str(notification.address), notification.reason
    )
    return jsonrpc.notification("participant", told)


def dropped(reason: str) -> bytes:
    """Return the frame that tells a client that it is out."""
    return jsonrpc.notification("drop", _Dropped(reason))
