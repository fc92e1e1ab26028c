"""The cluster's token keys: what tokens are signed with, one for all processes, kept by the broker.

    made ──ANNOUNCED──▶ signing ──the next one is signing, and a token's life later──▶ gone

A key is made known before it signs, and each process looks for keys once a second as long as it is asked for
them: when the first token comes that is signed by a new key, everybody knows it. A key that signs no more is
good until the last token has expired that it may have signed. Of the keys that have signed only the last two
are good: with the next key the one before the last is gone, however much time it had.
"""

import asyncio
import secrets
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Final

import msgspec
import structlog
from nats.aio.client import Client

from roomledger.domain.errors import Refusal
from roomledger.domain.signed_token import Claims, verify
from roomledger.event_store.errors import LogUnavailable
from roomledger.runtime.buckets import Bucket, Entry
from roomledger.runtime.errors import TooSoonToRotate
from roomledger.settings import Settings

KEY_BYTES: Final = 32
RELOAD_S: Final = 1.0
"""How old what is known of the keys may be when it is used."""
ANNOUNCED: Final = timedelta(seconds=5)
"""How long a key is known before it signs: long enough for every process to have looked."""
SKEW: Final = timedelta(seconds=10)
"""How much longer than a token lives a key is good, since clocks differ."""

_ENTRY: Final = "token"
log = structlog.get_logger(__name__)


class TokenKey(msgspec.Struct, frozen=True, omit_defaults=True):
    """A key; its secret is in no representation of it.

    Attributes:
        secret: What signs.
        created: When it was made, UTC.
        signs_from: It signs from then on; None for at once.
        good_until: Its signatures are good until then; None as long as no other was made.
    """

    secret: bytes
    created: datetime
    signs_from: datetime | None = None
    good_until: datetime | None = None

    def __repr__(self) -> str:
        return f"TokenKey(created={self.created}, from={self.signs_from}, until={self.good_until})"


class _Kept(msgspec.Struct, frozen=True):
    keys: tuple[TokenKey, ...]


class TokenKeys:
    """The keys as this process knows them. They never appear in log lines.

    Args:
        broker: The connection.
        settings: Names the bucket, and how long tokens live.
        entry: The name of the keys in the bucket.
        life_ms: How long what they sign is good; as long as tokens live where it is not given.
        clock: Seconds, for how old what is known is.
        now: The time of day, UTC.
    """

    def __init__(
        self,
        broker: Client,
        settings: Settings,
        *,
        entry: str = _ENTRY,
        life_ms: int | None = None,
        clock: Callable[[], float] = monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._bucket = Bucket(broker, f"{settings.log_name}_KEYS", replicas=settings.log_replicas)
        self._entry_name = entry
        self._life = timedelta(milliseconds=life_ms or settings.token_life_ms)
        self._clock = clock
        self._now = now
        self._keys: tuple[TokenKey, ...] = ()
        self._loaded = 0.0
        self._loading: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<{len(self._keys)} token keys>"

    @property
    def keys(self) -> Sequence[TokenKey]:
        """All that are known, the newest first."""
        return self._keys

    @property
    def signing(self) -> bytes:
        """The key for new tokens.

        Raises:
            RuntimeError: The keys have not been loaded.
        """
        if not self._keys:
            raise RuntimeError("the token keys have not been loaded")
        now = self._now()
        for key in self._keys:
            if key.signs_from is None or key.signs_from <= now:
                return key.secret
        return self._keys[-1].secret

    @property
    def valid(self) -> Sequence[bytes]:
        """The keys whose signatures are good, the newest first."""
        now = self._now()
        return tuple(key.secret for key in self._keys if key.good_until is None or key.good_until > now)

    async def load(self) -> None:
        """Fetch the keys; the first of all processes that does so makes the first one.

        Raises:
            LogUnavailable: The broker did not answer.
        """
        self._take((await self._entry()).value)

    async def refresh(self) -> None:
        """Fetch the keys if what is known of them is old; if the broker does not answer, that has to do."""
        if self._clock() - self._loaded < RELOAD_S:
            return
        try:
            await self._load_once()
        except LogUnavailable as error:
            log.warning("the token keys cannot be looked up; going by what was known", why=str(error))

    async def verify(self, claims: Claims, signature: str) -> None:
        """Return if the signature is good; a key that is not known here yet is looked up.

        Raises:
            Refusal: It is not (`INVALID_TOKEN`).
            LogUnavailable: It is not good by the keys known here, and the broker did not answer.
        """
        await self._check(lambda keys: verify(keys, claims, signature))

    async def _check(self, by: Callable[[Sequence[bytes]], None]) -> None:
        known = self._keys
        try:
            by(self.valid)
        except Refusal:
            if self._clock() - self._loaded < RELOAD_S:
                raise
            await self._load_once()
            by(self.valid)
            return
        await self.refresh()
        if self._keys != known:  # the key that it was good by may be gone
            by(self.valid)

    async def rotate(self, *, force: bool = False) -> TokenKey:
        """Make a new key and return it; the one that signs now is good until its last token has expired.

        Args:
            force: Also if the key before is still good; the tokens out that it has signed are void then.

        Raises:
            TooSoonToRotate: The key before is still good, or the last one does not sign yet.
            LogUnavailable: The broker did not answer; the key may have been made.
        """
        while True:
            entry = await self._entry()
            now = self._now()
            keys = [key for key in _keys(entry.value) if key.good_until is None or key.good_until > now]
            if len(keys) > 1 and not force:
                raise TooSoonToRotate(max(key.good_until or now for key in keys[1:]))
            made = TokenKey(secrets.token_bytes(KEY_BYTES), now, signs_from=now + ANNOUNCED)
            until = now + ANNOUNCED + self._life + SKEW
            last = msgspec.structs.replace(keys[0], good_until=until)
            kept = msgspec.json.encode(_Kept((made, last)))
            if await self._bucket.update(self._entry_name, kept, entry.revision):
                self._take(kept)
                return made
            # It was lost, or the answer was: then the key is there.
            self._take((await self._entry()).value)
            if self._keys[0] == made:
                return made

    async def _entry(self) -> Entry:
        name = self._entry_name
        entry = await self._bucket.get(name)
        if entry is None:
            first = _Kept((TokenKey(secrets.token_bytes(KEY_BYTES), self._now()),))
            await self._bucket.create(name, msgspec.json.encode(first))
            # Read again, whoever won: then all have the one that is kept.
            entry = await self._bucket.get(name)
            if entry is None:
                raise RuntimeError("the token key was removed while it was created")
        return entry

    async def _load_once(self) -> None:
        """Fetch the keys; any number that ask at the same time have it done once."""
        if self._loading is None or self._loading.done():
            self._loading = asyncio.create_task(self.load())
            self._loading.add_done_callback(_seen)
        await asyncio.shield(self._loading)

    def _take(self, value: bytes) -> None:
        self._keys = _keys(value)
        self._loaded = self._clock()


def _seen(loading: "asyncio.Task[None]") -> None:
    """Take note of what went wrong, also where nobody waits for it any more."""
    if not loading.cancelled():
        loading.exception()


def _keys(value: bytes) -> tuple[TokenKey, ...]:
    return msgspec.json.decode(value, type=_Kept).keys
