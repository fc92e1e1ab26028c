"""What a client and a portal say to each other: JSON-RPC 2.0, from the client's side."""

import base64
import binascii
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import msgspec

from roomledger.sdk.errors import RequestRefused
from roomledger.sdk.rooms import JoinedRoom, ParticipantView
from roomledger_events.envelope import Address

LOGGED_OUT: Final = 1000
TOO_MANY: Final = 1008
NONSENSE: Final = 1002
LOST: Final = 1006
"""The close code that stands for a connection that ended without one (RFC 6455, section 7.1.5)."""
DROPPED: Final = 4001
"""The room has put the participant out, or was deleted."""
TAKEN_OVER: Final = 4002
"""Another connection came with the ticket, and has the session now."""

DROP: Final = "drop"
"""The notification that says why the room puts one out."""
TICKET_LIFE_S: Final = 600.0
"""How long a ticket is good that does not say it."""

# -- What a portal says


class LoggedIn(JoinedRoom, kw_only=True, frozen=True):
    """Who one is, and the room that one is in.

    Attributes:
        ticket: What gets the session back after a lost connection; None where it cannot be got back.
    """

    ticket: str | None = None


class Notification(NamedTuple):
    """What the portal tells without being asked.

    Attributes:
        method: What it is about, such as ``participant``.
        params: What it says, as the wire protocol has it.
    """

    method: str
    params: dict[str, Any]

    @property
    def address(self) -> Address | None:
        """Where it stands in the log; None if it is no event's.

        Raises:
            ValueError: It says something that is no address.
        """
        seq = self.params.get("seq")
        return None if seq is None else Address.parse(str(seq))


class Missed(msgspec.Struct, frozen=True):
    """A notification that came while the client was away."""

    method: str
    params: dict[str, Any] = msgspec.field(default_factory=dict)


class TakenBack(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to a relogin."""

    id: str
    ticket: str | None = None
    seq: str
    missed: tuple[Missed, ...] = ()


class NewTicket(msgspec.Struct, frozen=True):
    """The answer to a request for a new ticket."""

    ticket: str


class Present(msgspec.Struct, frozen=True):
    """The answer to who is in."""

    participants: tuple[ParticipantView, ...]


class Done(msgspec.Struct, frozen=True):
    """An answer that says nothing else."""


class _ErrorData(msgspec.Struct):
    code: str | None = None
    retry_after_ms: int | None = None


class Error(msgspec.Struct):
    """Why a portal refuses a request."""

    code: int
    message: str
    data: _ErrorData = msgspec.field(default_factory=_ErrorData)

    def refusal(self, method: str) -> RequestRefused:
        """Return it as the user gets it."""
        return RequestRefused(
            method, self.data.code or str(self.code), self.message, self.data.retry_after_ms
        )


class Incoming(msgspec.Struct):
    """A message of a portal: an answer, or a notification."""

    id: int | None = None
    method: str | None = None
    params: dict[str, Any] = msgspec.field(default_factory=dict)
    result: msgspec.Raw = msgspec.Raw(b"null")
    error: Error | None = None


_decoder: Final = msgspec.json.Decoder(Incoming)
_encoder: Final = msgspec.json.Encoder()


def read(frame: str | bytes) -> Incoming:
    """Return the message that a frame holds.

    Raises:
        msgspec.DecodeError: It is none of this protocol.
    """
    return _decoder.decode(frame)


# -- What a client says


def call(number: int, method: str, params: Mapping[str, Any]) -> bytes:
    """Return the frame that asks for something."""
    return _encoder.encode({"jsonrpc": "2.0", "id": number, "method": method, "params": params})


# -- Tickets


class _Life(msgspec.Struct):
    begin: int = msgspec.field(name="notBefore")
    end: int = msgspec.field(name="notAfter")


def life_of(ticket: str) -> float:
    """Return for how many seconds a ticket is good from now on, if it is new.

    What it says is taken for a duration, so that it does not matter what time it is here.
    """
    try:
        life = msgspec.json.decode(base64.b64decode(ticket, validate=True), type=_Life)
    except (msgspec.DecodeError, binascii.Error, ValueError):
        return TICKET_LIFE_S
    return max(0.0, (life.end - life.begin) / 1000)
