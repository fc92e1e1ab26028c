"""Tickets: what they say, and that nobody but the cluster can have said it."""

import base64
import json
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from roomledger.domain.errors import Code, Refusal
from roomledger.domain.ticket import BAD_SIGNATURE, Ticket, check_time, milliseconds, read, sign, verify
from roomledger_events.envelope import Address

KEY, OTHER_KEY = b"k" * 32, b"o" * 32
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
TICKET = Ticket(
    participant="p1",
    ticket="k1",
    not_before=milliseconds(NOW),
    not_after=milliseconds(NOW + timedelta(minutes=10)),
    room="r1",
    token="t1",
    code="c1",
    epoch=2,
    joined="7.0",
    told="1042.3",
    count=12,
    protocol="1.2",
)
IDS = st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True)
TICKETS = st.builds(
    Ticket,
    participant=IDS,
    ticket=IDS,
    not_before=st.integers(0, 2**53),
    not_after=st.integers(0, 2**53),
    room=IDS,
    token=IDS,
    code=IDS,
    epoch=st.integers(1, 1000),
    joined=st.just("1.0"),
    told=st.integers(0, 10**18).map(lambda each: f"{each}.255"),
    count=st.integers(0, 10**9),
    protocol=st.sampled_from(["native", "1.0", "legacy"]),
)


def refusal(text: str) -> Code:
    with pytest.raises(Refusal) as refused:
        read(text)
    return refused.value.code


def test_existing_clients_find_in_a_ticket_what_they_know() -> None:
    body = json.loads(base64.b64decode(sign(KEY, TICKET)))
    assert {"participantId", "ticketId", "notBefore", "notAfter", "signature"} <= set(body)
    assert body["participantId"] == "p1"
    assert body["notAfter"] - body["notBefore"] == 600_000


@given(TICKETS)
def test_what_was_signed_is_read_and_verified(ticket: Ticket) -> None:
    found, signature = read(sign(KEY, ticket))
    assert found == ticket
    verify((OTHER_KEY, KEY), found, signature)


@pytest.mark.parametrize("field", Ticket.__struct_fields__)
def test_the_signature_covers_every_field(field: str) -> None:
    value = getattr(TICKET, field)
    other = value + 1 if isinstance(value, int) else value.replace("1", "2").replace("7", "8")
    assert other != value
    changed = msgspec.structs.replace(TICKET, **{field: other})
    with pytest.raises(Refusal, match=BAD_SIGNATURE) as refused:
        verify((KEY,), changed, read(sign(KEY, TICKET))[1])
    assert refused.value.code is Code.INVALID_TICKET


def test_a_ticket_that_another_key_signed_is_invalid() -> None:
    with pytest.raises(Refusal, match=BAD_SIGNATURE):
        verify((KEY,), *read(sign(OTHER_KEY, TICKET)))


@pytest.mark.parametrize("text", ["", "x", "ä" * 10, "A" * 10_000, "bnVsbA==", "W10=", "e30="])
def test_what_is_no_ticket_cannot_be_read(text: str) -> None:
    assert refusal(text) is Code.INVALID_TICKET


def test_every_changed_byte_makes_a_ticket_invalid() -> None:
    text = sign(KEY, TICKET)
    for place in range(len(text)):
        changed = text[:place] + ("A" if text[place] != "A" else "B") + text[place + 1 :]
        with pytest.raises(Refusal) as refused:
            verify((KEY,), *read(changed))
        assert refused.value.code is Code.INVALID_TICKET


def test_the_same_said_in_another_way_is_no_ticket() -> None:
    body = json.loads(base64.b64decode(sign(KEY, TICKET)))
    spaced = base64.b64encode(json.dumps(body, indent=1).encode()).decode()
    assert refusal(spaced) is Code.INVALID_TICKET


@pytest.mark.parametrize(("after_s", "good"), [(-1, False), (0, True), (599, True), (600, False)])
def test_a_ticket_is_good_for_its_time(after_s: int, *, good: bool) -> None:
    now = NOW + timedelta(seconds=after_s)
    if good:
        check_time(TICKET, now)
        return
    with pytest.raises(Refusal) as refused:
        check_time(TICKET, now)
    assert refused.value.code is Code.TICKET_EXPIRED


def test_a_clock_that_is_a_little_behind_the_issuers_is_allowed_for() -> None:
    check_time(TICKET, NOW - timedelta(seconds=1), skew_ms=2_000)


def test_how_far_a_client_had_been_told_can_be_compared() -> None:
    assert TICKET.told_to == Address(1042, 3)
