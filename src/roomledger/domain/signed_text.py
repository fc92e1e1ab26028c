"""What tokens and tickets are written as: base64 of a JSON object that holds its own signature.

There is exactly one text for the same object: one that says the same in another way (blanks, escapes, another
order, spare bits of base64) is refused. A signature is base64 of a hexadecimal HMAC-SHA-256, as existing
clients' servers made it.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence
from typing import Final, Generic, TypeVar

import msgspec

from roomledger.domain.errors import Code, Refusal

MAX_TEXT: Final = 4096
"""The longest text that is looked at, in characters."""

Signed = TypeVar("Signed", bound=msgspec.Struct)

_encode: Final = msgspec.json.Encoder().encode


class SignedText(Generic[Signed]):
    """One kind of such texts.

    Args:
        name: What it is, for people, such as ``token``.
        code: What a text is refused with that is none.
        of: The object that it holds, with its signature.

    Attributes:
        bad_signature: What `verify` says.
    """

    def __init__(self, name: str, code: Code, of: type[Signed]) -> None:
        self.bad_signature = f"the {name}'s signature is wrong"
        self._name = name
        self._code = code
        self._decoder = msgspec.json.Decoder(of)

    def write(self, signed: Signed) -> str:
        """Return the text of an object."""
        return base64.b64encode(_encode(signed)).decode()

    def read(self, text: str) -> Signed:
        """Return the object of a text; its signature is still to be verified.

        Raises:
            Refusal: It is no text that `write` could have made.
        """
        if len(text) > MAX_TEXT:
            raise self._refusal(f"a {self._name} has at most {MAX_TEXT} characters, not {len(text)}")
        try:
            body = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError) as error:
            raise self._refusal(f"the {self._name} is not base64") from error
        try:
            signed = self._decoder.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise self._refusal(f"the {self._name} is not what it should be: {error}") from error
        if self.write(signed) != text:
            raise self._refusal(f"the {self._name} is not written as this cluster writes it")
        return signed

    def verify(self, keys: Sequence[bytes], content: bytes, signature: str) -> None:
        """Return if one of the keys made the signature of a content.

        Raises:
            Refusal: None of them did.
        """
        given = signature.encode()
        # Every key is tried, so that the time tells nothing of which one it was.
        if not any([hmac.compare_digest(signature_of(key, content).encode(), given) for key in keys]):  # noqa: C419  - as above
            raise self._refusal(self.bad_signature)

    def _refusal(self, message: str) -> Refusal:
        return Refusal(self._code, message)


def signature_of(key: bytes, content: bytes) -> str:
    """Return the signature of a content."""
    digest = hmac.new(key, content, hashlib.sha256)
    return base64.b64encode(digest.hexdigest().encode()).decode()
