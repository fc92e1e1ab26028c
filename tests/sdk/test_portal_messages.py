"""What a client and a portal say to each other, from the client's side."""

import base64
import json

import msgspec
import pytest

from roomledger.sdk.portal_messages import TICKET_LIFE_S, Notification, call, life_of, read
from roomledger_events.envelope import Address


def ticket(**fields: object) -> str:
    return base64.b64encode(json.dumps(fields).encode()).decode()


def test_a_call_is_json_rpc() -> None:
    assert json.loads(call(7, "text", {"to": "all"})) == {
        "jsonrpc": "2.0",
        "id": 7,
        "method": "text",
        "params": {"to": "all"},
    }


def test_an_error_has_the_code_of_the_application_or_else_of_json_rpc() -> None:
    refused = '{"id": 1, "error": {"code": %d, "message": "no", "data": %s}}'
    error = read(refused % (-32000, '{"code": "room_full", "retry_after_ms": 5}')).error
    assert error is not None
    refusal = error.refusal("login")
    assert (refusal.code, refusal.retry_after_ms) == ("room_full", 5)
    error = read(refused % (-32601, "{}")).error
    assert error is not None
    assert error.refusal("dance").code == "-32601"


@pytest.mark.parametrize("frame", ["", "[]", "null", '"x"', '{"id": "x"}', '{"params": []}', b"\xff\xfe"])
def test_what_is_no_message_is_refused(frame: str | bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        read(frame)


def test_a_notification_knows_where_it_stands_in_the_log() -> None:
    assert Notification("text", {"seq": "12.3"}).address == Address(12, 3)
    assert Notification("drop", {"reason": "x"}).address is None
    with pytest.raises(ValueError, match="no address"):
        _ = Notification("text", {"seq": "later"}).address


def test_a_ticket_is_good_for_as_long_as_it_says_whatever_time_it_is_here() -> None:
    assert life_of(ticket(notBefore=5_000, notAfter=65_000, other="x")) == 60


@pytest.mark.parametrize("text", ["", "nonsense!", "ab", ticket(), ticket(notBefore="x", notAfter=1)])
def test_a_ticket_that_does_not_say_it_is_good_for_as_long_as_tickets_are(text: str) -> None:
    assert life_of(text) == TICKET_LIFE_S
