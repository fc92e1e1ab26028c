"""The text of a token: what a client holds, and what nobody can change without the cluster's key.

The text is base64 of a JSON object, so that clients can read where to connect to, with a signature over all
the rest of it. There is exactly one text for the same claims and key: a text that says the same in another
way (blanks, escapes, another order, spare bits of base64) is refused as well.

The signature is the one that existing clients' servers made, over more fields: base64 of the hexadecimal
HMAC-SHA-256 of the fields joined by commas, an absent ``webTransportUrl`` being the text ``undefined``. No
field may contain a comma, so that none can reach into its neighbour.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence
from typing import Annotated, Any, Final

import msgspec

from roomledger.domain.errors import Code, Refusal
from roomledger_events.identifiers import Id

MAX_TEXT: Final = 4096
"""The longest text of a token that is looked at, in characters."""
BAD_SIGNATURE: Final = "the token's signature is wrong"
"""What `verify` says."""

_HOST: Final = r"\A[!-+\--~]{1,255}\Z"
_URL: Final = r"\A[a-z][a-z0-9+.-]{0,15}://[!-+\--~]{1,1000}\Z"

Host = Annotated[str, msgspec.Meta(pattern=_HOST)]
Url = Annotated[str, msgspec.Meta(pattern=_URL)]


class Claims(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    omit_defaults=True,
    rename={"token": "tokenId", "web_transport_url": "webTransportUrl"},
):
    """What a token says of itself.

    Attributes:
        token: Its id.
        host: Host and port of the portal, as ``host:port``.
        secure: Whether the portal is reached by TLS.
        room: The room that it opens.
        code: The portal's task.
        url: Where the portal's native WebSocket is.
        web_transport_url: Where the room's WebTransport is, if there is one.
    """

    token: Id
    host: Host
    secure: bool
    room: Id
    code: Id
    url: Url
    web_transport_url: Url | None = None


class _Text(Claims, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    signature: str


_decoder: Final = msgspec.json.Decoder(_Text)


def sign(key: bytes, claims: Claims) -> str:
    """Return the token's text.

    Raises:
        ValueError: A claim has a character that may not be in it, or is too long.
    """
    signed = _Text(**_fields(claims), signature=_signature(key, claims))
    try:
        msgspec.convert(msgspec.to_builtins(signed), _Text)
    except msgspec.ValidationError as error:
        raise ValueError(str(error)) from error
    text = _text(signed)
    if len(text) > MAX_TEXT:
        raise ValueError(f"a token of {len(text)} characters: at most {MAX_TEXT}")
    return text


def read(text: str) -> tuple[Claims, str]:
    """Return what a text claims, and its signature, which is still to be verified.

    Raises:
        Refusal: It is no text that `sign` could have made (`INVALID_TOKEN`).
    """
    if len(text) > MAX_TEXT:
        raise _invalid(f"a token has at most {MAX_TEXT} characters, not {len(text)}")
    try:
        body = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise _invalid("the token is not base64") from error
    try:
        signed = _decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _invalid(f"the token is not what it should be: {error}") from error
    if _text(signed) != text:
        raise _invalid("the token is not written as this cluster writes it")
    return Claims(**_fields(signed)), signed.signature


def verify(keys: Sequence[bytes], claims: Claims, signature: str) -> None:
    """Return if one of the keys made the signature.

    Raises:
        Refusal: None of them did (`INVALID_TOKEN`).
    """
    given = signature.encode()
    # Every key is tried, so that the time tells nothing of which one it was.
    if not any([hmac.compare_digest(_signature(key, claims).encode(), given) for key in keys]):  # noqa: C419  - as above
        raise _invalid(BAD_SIGNATURE)


def _signature(key: bytes, claims: Claims) -> str:
    fields = (
        claims.token,
        claims.host,
        claims.web_transport_url or "undefined",
        claims.room,
        claims.code,
        claims.url,
        "true" if claims.secure else "false",
    )
    digest = hmac.new(key, ",".join(fields).encode(), hashlib.sha256)
    return base64.b64encode(digest.hexdigest().encode()).decode()


def _text(signed: _Text) -> str:
    return base64.b64encode(msgspec.json.encode(signed)).decode()


def _fields(claims: Claims) -> dict[str, Any]:
    return {name: getattr(claims, name) for name in Claims.__struct_fields__}


def _invalid(message: str) -> Refusal:
    return Refusal(Code.INVALID_TOKEN, message)
