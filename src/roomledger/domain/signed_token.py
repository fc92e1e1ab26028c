"""The text of a token: what a client holds, and what nobody can change without the cluster's key.

The text is base64 of a JSON object, so that clients can read where to connect to, with a signature over all
the rest of it. There is exactly one text for the same claims and key: a text that says the same in another
way (blanks, escapes, another order, spare bits of base64) is refused as well.

The signature is the one that existing clients' servers made, over more fields: base64 of the hexadecimal
HMAC-SHA-256 of the fields joined by commas, an absent ``webTransportUrl`` being the text ``undefined``. No
field may contain a comma, so that none can reach into its neighbour.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Final

import msgspec

from roomledger.domain.errors import Code
from roomledger.domain.signed_text import MAX_TEXT, SignedText, signature_of
from roomledger_events.identifiers import Id

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


_TOKEN: Final = SignedText("token", Code.INVALID_TOKEN, _Text)
BAD_SIGNATURE: Final = _TOKEN.bad_signature
"""What `verify` says."""


def sign(key: bytes, claims: Claims) -> str:
    """Return the token's text.

    Raises:
        ValueError: A claim has a character that may not be in it, or is too long.
    """
    signed = _Text(**_fields(claims), signature=signature_of(key, _content(claims)))
    try:
        msgspec.convert(msgspec.to_builtins(signed), _Text)
    except msgspec.ValidationError as error:
        raise ValueError(str(error)) from error
    text = _TOKEN.write(signed)
    if len(text) > MAX_TEXT:
        raise ValueError(f"a token of {len(text)} characters: at most {MAX_TEXT}")
    return text


def read(text: str) -> tuple[Claims, str]:
    """Return what a text claims, and its signature, which is still to be verified.

    Raises:
        Refusal: It is no text that `sign` could have made (`INVALID_TOKEN`).
    """
    signed = _TOKEN.read(text)
    return Claims(**_fields(signed)), signed.signature


def verify(keys: Sequence[bytes], claims: Claims, signature: str) -> None:
    """Return if one of the keys made the signature.

    Raises:
        Refusal: None of them did (`INVALID_TOKEN`).
    """
    _TOKEN.verify(keys, _content(claims), signature)


def _content(claims: Claims) -> bytes:
    fields = (
        claims.token,
        claims.host,
        claims.web_transport_url or "undefined",
        claims.room,
        claims.code,
        claims.url,
        "true" if claims.secure else "false",
    )
    return ",".join(fields).encode()


def _fields(claims: Claims) -> dict[str, Any]:
    return {name: getattr(claims, name) for name in Claims.__struct_fields__}
