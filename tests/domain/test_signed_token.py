import base64
import hashlib
import hmac
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roomledger.domain.errors import Code, Refusal
from roomledger.domain.signed_token import MAX_TEXT, Claims, read, sign, verify

KEY = b"k" * 32
CLAIMS = Claims(
    token="0199a0b0-0000-7000-8000-000000000001",
    host="portal.example.com:8080",
    secure=False,
    room="room-1",
    code="c0de" * 8,
    url="ws://portal.example.com:8080/",
)
TEXT = sign(KEY, CLAIMS)


def accept(text: str, *keys: bytes) -> Claims:
    claims, signature = read(text)
    verify(keys or (KEY,), claims, signature)
    return claims


def refused(text: str, *keys: bytes) -> Refusal:
    with pytest.raises(Refusal) as caught:
        accept(text, *keys)
    assert caught.value.code is Code.INVALID_TOKEN
    return caught.value


def test_what_was_signed_is_read_again() -> None:
    assert accept(TEXT) == CLAIMS


def test_a_web_transport_url_is_read_again() -> None:
    claims = Claims(**{**_fields(), "web_transport_url": "https://quic.example.com:7700"})
    assert accept(sign(KEY, claims)) == claims


def test_clients_find_host_and_secure_in_the_json() -> None:
    told = json.loads(base64.b64decode(TEXT))
    assert told == {
        "tokenId": CLAIMS.token,
        "host": "portal.example.com:8080",
        "secure": False,
        "room": "room-1",
        "code": CLAIMS.code,
        "url": "ws://portal.example.com:8080/",
        "signature": told["signature"],
    }


def test_the_signature_is_base64_of_the_hexadecimal_hmac_of_the_claims() -> None:
    signed = f"{CLAIMS.token},{CLAIMS.host},undefined,room-1,{CLAIMS.code},{CLAIMS.url},false"
    digest = hmac.new(KEY, signed.encode(), hashlib.sha256).hexdigest()
    assert json.loads(base64.b64decode(TEXT))["signature"] == base64.b64encode(digest.encode()).decode()


@given(place=st.integers(0, len(TEXT) - 1), byte=st.characters(max_codepoint=255))
def test_any_changed_byte_is_refused(place: int, byte: str) -> None:
    changed = TEXT[:place] + byte + TEXT[place + 1 :]
    if changed != TEXT:
        refused(changed)


def test_every_changed_byte_of_the_base64_alphabet_is_refused() -> None:
    for place, original in enumerate(TEXT):
        for byte in "AQgwZz09+/=":
            if byte != original:
                refused(TEXT[:place] + byte + TEXT[place + 1 :])


@given(st.integers(0, len(TEXT) - 1))
def test_a_token_that_was_cut_is_refused(length: int) -> None:
    refused(TEXT[:length])


@pytest.mark.parametrize("name", ["token", "host", "secure", "room", "code", "url", "web_transport_url"])
def test_every_claim_is_signed(name: str) -> None:
    other = {"secure": True, "url": "ws://evil/", "web_transport_url": "https://evil"}.get(name, "other")
    _, signature = read(TEXT)
    with pytest.raises(Refusal, match="signature"):
        verify([KEY], Claims(**{**_fields(), name: other}), signature)


def test_a_foreign_key_is_refused() -> None:
    assert "signature" in str(refused(TEXT, b"another key"))


def test_one_of_several_keys_is_enough() -> None:
    assert accept(TEXT, b"newer", KEY) == CLAIMS


def test_no_key_verifies_nothing() -> None:
    claims, signature = read(TEXT)
    with pytest.raises(Refusal, match="signature"):
        verify([], claims, signature)


@given(st.text() | st.binary().map(lambda body: base64.b64encode(body).decode()))
def test_anything_else_is_refused(text: str) -> None:
    refused(text)


@pytest.mark.parametrize(
    "body", [b"", b"null", b"[]", b"{}", b'"x"', b"[" * 1000, b'{"tokenId": 1}', b"\xff\xfe"]
)
def test_json_of_another_shape_is_refused(body: bytes) -> None:
    refused(base64.b64encode(body).decode())


def test_json_that_is_nested_too_deeply_is_refused() -> None:
    refused(base64.b64encode(b'{"a":' + b"[" * 3000).decode())


def test_the_same_claims_written_otherwise_are_refused() -> None:
    told = json.loads(base64.b64decode(TEXT))
    assert "writes it" in str(refused(base64.b64encode(json.dumps(told).encode()).decode()))


def test_a_further_field_is_refused() -> None:
    told = json.loads(base64.b64decode(TEXT)) | {"role": "presenter"}
    refused(base64.b64encode(json.dumps(told).encode()).decode())


def test_a_text_that_is_too_long_is_refused_unread() -> None:
    assert str(MAX_TEXT) in str(refused("A" * (MAX_TEXT + 1)))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("host", "a,b"),
        ("host", ""),
        ("host", "a b"),
        ("room", "a.b"),
        ("url", "ws://a,b/"),
        ("url", "undefined"),
        ("web_transport_url", "undefined"),
        ("url", "ws://" + "x" * 5000),
    ],
)
def test_claims_that_could_be_mistaken_are_not_signed(name: str, value: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        sign(KEY, Claims(**{**_fields(), name: value}))


def _fields() -> dict[str, Any]:
    return {name: getattr(CLAIMS, name) for name in Claims.__struct_fields__}
