"""The text of a ticket: what a client shows, at any portal, to get its session back after a lost connection.

The text is base64 of a JSON object with a signature over all the rest of it, in milliseconds since the epoch
as existing clients have them. There is exactly one text for the same ticket and key.

A ticket is good from `not_before` until `not_after`, however many were issued after it, and as long as the
session lasts: that is for the room to say, which knows who is in. It is checked in this order, since clients
are told the first thing that is wrong: `read`, `check_time`, `verify`, and then the room.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Final

import msgspec

from roomledger.domain.errors import Code, Refusal
from roomledger.domain.signed_text import SignedText, signature_of
from roomledger_events.envelope import Address
from roomledger_events.identifiers import Id

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


_TICKET: Final = SignedText("ticket", Code.INVALID_TICKET, _Text)
BAD_SIGNATURE: Final = _TICKET.bad_signature
"""What `verify` says."""
_encode: Final = msgspec.json.Encoder().encode

# -- Issuing


def sign(key: bytes, ticket: Ticket) -> str:
    """Return the ticket's text."""
    return _TICKET.write(_Text(**_fields(ticket), signature=signature_of(key, _encode(ticket))))


def milliseconds(moment: datetime) -> int:
    """Return a moment in milliseconds since the epoch."""
    return round(moment.timestamp() * 1000)


# -- Checking


def read(text: str) -> tuple[Ticket, str]:
    """Return what a text says, and its signature, which is still to be verified.

    Raises:
        Refusal: It is no text that `sign` could have made (`INVALID_TICKET`).
    """
    signed = _TICKET.read(text)
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
    _TICKET.verify(keys, _encode(ticket), signature)


def _fields(ticket: Ticket) -> dict[str, Any]:
    return {name: getattr(ticket, name) for name in Ticket.__struct_fields__}
