"""The cluster's token keys: what tokens are signed with, one for all processes, kept by the broker.

The newest key signs. Those before it stay valid for tokens that are out; how long is up to who replaces it.
"""

import asyncio
import secrets
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from time import monotonic
from typing import Final

import msgspec
from nats.aio.client import Client

from roomledger.domain.errors import Refusal
from roomledger.domain.signed_token import Claims, verify
from roomledger.runtime.buckets import Bucket
from roomledger.settings import Settings

KEY_BYTES: Final = 32
RELOAD_S: Final = 1.0
"""A signature that fails makes the keys be looked up anew, but not more often than this."""

_ENTRY: Final = "token"


class _Key(msgspec.Struct, frozen=True):
    secret: bytes
    created: datetime


class _Kept(msgspec.Struct, frozen=True):
    keys: tuple[_Key, ...]


class TokenKeys:
    """The keys as this process knows them. They never appear in log lines."""

    def __init__(self, broker: Client, settings: Settings, *, clock: Callable[[], float] = monotonic) -> None:
        self._bucket = Bucket(broker, f"{settings.log_name}_KEYS", replicas=settings.log_replicas)
        self._clock = clock
        self._keys: tuple[bytes, ...] = ()
        self._loaded = 0.0
        self._loading = asyncio.Lock()

    def __repr__(self) -> str:
        return f"<{len(self._keys)} token keys>"

    @property
    def signing(self) -> bytes:
        """The key for new tokens.

        Raises:
            RuntimeError: The keys have not been loaded.
        """
        if not self._keys:
            raise RuntimeError("the token keys have not been loaded")
        return self._keys[0]

    @property
    def valid(self) -> Sequence[bytes]:
        """The keys whose signatures are good, the newest first."""
        return self._keys

    async def load(self) -> None:
        """Fetch the keys; the first of all processes that does so makes the first one.

        Raises:
            LogUnavailable: The broker did not answer.
        """
        entry = await self._bucket.get(_ENTRY)
        if entry is None:
            first = _Kept((_Key(secrets.token_bytes(KEY_BYTES), datetime.now(UTC)),))
            await self._bucket.create(_ENTRY, msgspec.json.encode(first))
            # Read again, whoever won: then all have the one that is kept.
            entry = await self._bucket.get(_ENTRY)
            if entry is None:
                raise RuntimeError("the token key was removed while it was created")
        self._keys = tuple(key.secret for key in msgspec.json.decode(entry.value, type=_Kept).keys)
        self._loaded = self._clock()

    async def verify(self, claims: Claims, signature: str) -> None:
        """Return if the signature is good; a key that is not known here yet is looked up.

        Raises:
            Refusal: It is not (`INVALID_TOKEN`).
            LogUnavailable: It is not good by the keys known here, and the broker did not answer.
        """
        known = self._keys
        try:
            verify(known, claims, signature)
        except Refusal:
            async with self._loading:
                if known == self._keys and self._clock() - self._loaded < RELOAD_S:
                    raise
                if known == self._keys:
                    await self.load()
            verify(self._keys, claims, signature)
