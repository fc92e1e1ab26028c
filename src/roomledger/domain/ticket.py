"""The text of a ticket: what a client shows, at any portal, to get its session back after a lost connection.

The text is base64 of a JSON object with a signature over all the rest of it, in milliseconds since the epoch
as existing clients have them. There is exactly one text for the same ticket and key.

A ticket is good from `not_before` until `not_after`, however many were issued after it, and as long as the
session lasts: that is for the room to say, which knows who is in. It is checked in this order, since clients
are told the first thing that is wrong: `read`, `check_time`, `verify`, and then the room.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Final

import msgspec

from roomledger.domain.errors import Code, Refusal
from roomledger_events.envelope import Address
from roomledger_events.identifiers import Id

MAX_TEXT: Final = 4096
"""The longest text of a ticket that is looked at, in characters."""
BAD_SIGNATURE: Final = "the ticket's signature is wrong"
"""What `verify` says."""

Moment = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
"""Milliseconds since the epoch."""
Place = Annotated[str, msgspec.Meta(pattern=r"^[0-9]{1,19}\.[0-9]{1,3}\Z")]
Protocol = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9.-]{1,16}\Z")]


class Ticket(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    rename={
        "participant": "participantId",
        "ticket": "ticketId",
        "not_before": "notBefore",
        "not_after": "notAfter",
    },
):
    """What a ticket says of itself.

    Attributes:
        participant: Whose session it is.
        ticket: Its id.
        not_before: When it was issued.
        not_after: It is no good from then on.
        room: The room that the session is in.
        token: The id of the token that began the session.
        code: That token's task.
        epoch: How many times the session had been begun or come back.
        joined: Where the join stands in the log.
        told: The last event that had been told to the client when the ticket was issued.
        count: How many notifications had been by then, as existing clients number them.
        protocol: What the client speaks, such as ``native`` or ``1.2``.
    """

    participant: Id
    ticket: Id
    not_before: Moment
    not_after: Moment
    room: Id
    token: Id
    code: Id
    epoch: Annotated[int, msgspec.Meta(ge=1)]
    joined: Place
    told: Place
    count: Annotated[int, msgspec.Meta(ge=0)]
    protocol: Protocol

    @property
    def told_to(self) -> Address:
        """`told`, to be compared."""
        return Address.parse(self.told)


class _Text(Ticket, frozen=True, kw_only=True, forbid_unknown_fields=True):
    signature: str


_decoder: Final = msgspec.json.Decoder(_Text)
_encode: Final = msgspec.json.Encoder().encode

# -- Issuing


def sign(key: bytes, ticket: Ticket) -> str:
    """Return the ticket's text."""
    return _text(_Text(**_fields(ticket), signature=_signature(key, ticket)))


def milliseconds(moment: datetime) -> int:
    """Return a moment in milliseconds since the epoch."""
    return round(moment.timestamp() * 1000)


# -- Checking


def read(text: str) -> tuple[Ticket, str]:
    """Return what a text says, and its signature, which is still to be verified.

    Raises:
        Refusal: It is no text that `sign` could have made (`INVALID_TICKET`).
    """
    if len(text) > MAX_TEXT:
        raise _invalid(f"a ticket has at most {MAX_TEXT} characters, not {len(text)}")
    try:
        body = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise _invalid("the ticket is not base64") from error
    try:
        signed = _decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _invalid(f"the ticket is not what it should be: {error}") from error
    if _text(signed) != text:
        raise _invalid("the ticket is not written as this cluster writes it")
    return Ticket(**_fields(signed)), signed.signature


def check_time(ticket: Ticket, now: datetime, *, skew_ms: int = 0) -> None:
    """Return if it is the time for a ticket.

    Args:
        ticket: Which one.
        now: The time of day.
        skew_ms: How far ahead the clock may be of the portal that issued it.

    Raises:
        Refusal: It is not (`TICKET_EXPIRED`).
    """
    if not ticket.not_before - skew_ms <= milliseconds(now) < ticket.not_after:
        raise Refusal(Code.TICKET_EXPIRED, "the ticket is expired")


def verify(keys: Sequence[bytes], ticket: Ticket, signature: str) -> None:
    """Return if one of the keys made the signature.

    Raises:
        Refusal: None of them did (`INVALID_TICKET`).
    """
    given = signature.encode()
    # Every key is tried, so that the time tells nothing of which one it was.
    if not any([hmac.compare_digest(_signature(key, ticket).encode(), given) for key in keys]):  # noqa: C419  - as above
        raise _invalid(BAD_SIGNATURE)


def _signature(key: bytes, ticket: Ticket) -> str:
    digest = hmac.new(key, _encode(ticket), hashlib.sha256)
    return base64.b64encode(digest.hexdigest().encode()).decode()


def _text(signed: _Text) -> str:
    return base64.b64encode(_encode(signed)).decode()


def _fields(ticket: Ticket) -> dict[str, Any]:
    return {name: getattr(ticket, name) for name in Ticket.__struct_fields__}


def _invalid(message: str) -> Refusal:
    return Refusal(Code.INVALID_TICKET, message)
