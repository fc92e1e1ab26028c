"""The authentication of existing clients: a signature by the service's key in ``Authorization``.

    MAuth realm=...,mauth_signature_method=HMAC_SHA256,mauth_serviceid=...,mauth_cnonce=...,
    mauth_timestamp=...[,mauth_username=...,mauth_role=...],mauth_signature=...

The signature is base64 of the hexadecimal HMAC-SHA-256 of timestamp, nonce and, where both are there,
username and role, joined by commas. The timestamp is in milliseconds since the epoch; a header is good for
`WINDOW_MS` around it, and once: its clients choose the nonce from few numbers, so timestamp and nonce
together count. Those that were used are kept by the broker, so that this holds for all management APIs
together and across their restarts. The signature covers neither method nor path nor body, which is why new
clients should prefer a bearer key over TLS.
"""

import hashlib
import hmac
import re
from typing import Final, NamedTuple, Self

from nats.aio.client import Client

from roomledger.domain.signed_text import signature_of
from roomledger.runtime.buckets import Bucket
from roomledger.settings import Settings
from roomledger_events.identifiers import new_secret_id

WINDOW_MS: Final = 300_000
"""How far a timestamp may be from the present, either way."""
REMEMBERED_BYTES: Final = 256 * 1024 * 1024
"""How much is remembered, about a million headers; then none is accepted until the oldest ran out."""

_METHOD: Final = "HMAC_SHA256"
_parameter: Final = re.compile(r'\s*([a-z_]+)\s*=\s*"?([^",]*)"?\s*').fullmatch
_digits: Final = re.compile(r"[0-9]{1,16}").fullmatch


class NotSigned(ValueError):
    """A header that lets nobody in; its text says why."""


class Signed(NamedTuple):
    """What such a header says.

    Attributes:
        service: The service's id.
        timestamp: When it was signed, milliseconds since the epoch, as it stands there.
        nonce: A number that the client chose.
        signed: The text that the signature covers.
        signature: The signature.
    """

    service: str
    timestamp: str
    nonce: str
    signed: str
    signature: str

    @classmethod
    def read(cls, parameters: str) -> Self:
        """Read what follows ``MAuth``.

        Raises:
            NotSigned: Something is missing, there twice, or of another form.
        """
        found: dict[str, str] = {}
        for parameter in parameters.split(","):
            matched = _parameter(parameter)
            if matched is None or matched[1] in found:
                raise NotSigned("its parameters cannot be read")
            found[matched[1]] = matched[2]
        try:
            method = found["mauth_signature_method"]
            timestamp, nonce = found["mauth_timestamp"], found["mauth_cnonce"]
            service, signature = found["mauth_serviceid"], found["mauth_signature"]
        except KeyError as error:
            raise NotSigned(f"{error.args[0]} is missing") from None
        if method != _METHOD:
            raise NotSigned(f"mauth_signature_method has to be {_METHOD}")
        if _digits(timestamp) is None:
            raise NotSigned("mauth_timestamp is no number of milliseconds")
        signed = f"{timestamp},{nonce}"
        if found.get("mauth_username") and found.get("mauth_role"):
            signed += f",{found['mauth_username']},{found['mauth_role']}"
        return cls(service, timestamp, nonce, signed, signature)

    def check(self, key: str, now_ms: int) -> None:
        """Return if the key signed it and its time is near.

        Raises:
            NotSigned: The signature is wrong, or its time is over or to come.
        """
        if not hmac.compare_digest(signature(key, self.signed).encode(), self.signature.encode()):
            raise NotSigned("mauth_signature is wrong")
        if abs(now_ms - int(self.timestamp)) > WINDOW_MS:
            raise NotSigned(f"mauth_timestamp is more than {WINDOW_MS // 1000} s away")


def signature(key: str, signed: str) -> str:
    """Return the signature of a text."""
    return signature_of(key.encode(), signed.encode())


class Replays:
    """Remembers the headers that were accepted, as long as they could be accepted again.

    Args:
        broker: The connection.
        settings: Names the bucket.
    """

    def __init__(self, broker: Client, settings: Settings) -> None:
        self._used = Bucket(
            broker,
            f"{settings.log_name}_NONCES",
            replicas=settings.log_replicas,
            life_s=2 * WINDOW_MS / 1000,
            most_bytes=REMEMBERED_BYTES,
        )

    async def accept(self, signed: Signed) -> None:
        """Take note of a header that was checked.

        Raises:
            NotSigned: It was accepted before.
            LogUnavailable: The broker did not answer, or remembers as many as it may.
        """
        once = hashlib.sha256(f"{signed.service},{signed.timestamp},{signed.nonce}".encode()).hexdigest()
        mine = new_secret_id().encode()
        if await self._used.create(once, mine):
            return
        # A note whose answer did not come in time may have been made, and then tried again.
        found = await self._used.get(once)
        if found is None or found.value != mine:
            raise NotSigned("it was used already")
