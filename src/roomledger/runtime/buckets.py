"""Small values that all processes share: entries of JetStream key-value buckets.

An entry is created or updated under an expectation, so that of several who try at once one succeeds. A broker
that does not answer is asked again for a while, then `LogUnavailable` says so; whether a write under way was
stored is then told by reading again.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple, TypeVar

import nats.errors
import nats.js.errors
from nats.aio.client import Client
from nats.js.api import KeyValueConfig, StorageType
from nats.js.kv import KeyValue

from roomledger.event_store.errors import LogUnavailable

TIME_LIMIT_S: Final = 5.0
_ATTEMPT_S: Final = 2.0
_PAUSE_S: Final = 0.05
_UNAVAILABLE: Final = (
    nats.errors.TimeoutError,
    nats.errors.NoRespondersError,
    nats.errors.ConnectionClosedError,
    nats.errors.ConnectionReconnectingError,
    nats.errors.OutboundBufferLimitError,
    nats.js.errors.NoStreamResponseError,
    nats.js.errors.ServiceUnavailableError,
)

T = TypeVar("T")


class Entry(NamedTuple):
    """A value with its revision.

    Attributes:
        value: What stands there.
        revision: What `Bucket.update` expects.
    """

    value: bytes
    revision: int


class Bucket:
    """A bucket, created where it is missing at its first use.

    Args:
        broker: The connection.
        name: Of the bucket.
        replicas: How many servers keep it.
        time_limit: Seconds until a call gives up.
        life_s: How long an entry stays after it was written, in seconds; None for ever.
        most_bytes: How large it may grow; then entries are refused, as if the broker did not answer. None for
            as large as there is space.
    """

    def __init__(
        self,
        broker: Client,
        name: str,
        *,
        replicas: int = 1,
        time_limit: float = TIME_LIMIT_S,
        life_s: float | None = None,
        most_bytes: int | None = None,
    ) -> None:
        self._jetstream = broker.jetstream(timeout=_ATTEMPT_S)
        self._name = name
        self._replicas = replicas
        self._time_limit = time_limit
        self._life_s = life_s
        self._most_bytes = most_bytes
        self._opened: KeyValue | None = None

    async def get(self, key: str) -> Entry | None:
        """Return an entry, or None where there is none.

        Raises:
            LogUnavailable: The broker did not answer.
        """

        async def get(bucket: KeyValue) -> Entry | None:
            try:
                found = await bucket.get(key)
            except nats.js.errors.KeyNotFoundError:
                return None
            return Entry(found.value or b"", found.revision or 0)

        return await self._ask(get, f"reading {key} of {self._name}")

    async def create(self, key: str, value: bytes) -> bool:
        """Write an entry unless there is one; return whether it was written.

        Raises:
            LogUnavailable: The broker did not answer; the entry may have been written.
        """

        async def create(bucket: KeyValue) -> bool:
            try:
                await bucket.create(key, value)
            except nats.js.errors.KeyWrongLastSequenceError:
                return False
            return True

        return await self._ask(create, f"writing {key} of {self._name}")

    async def put(self, key: str, value: bytes) -> None:
        """Write an entry, whether there is one or not.

        Raises:
            LogUnavailable: The broker did not answer; it may have been written.
        """

        async def put(bucket: KeyValue) -> None:
            await bucket.put(key, value)

        await self._ask(put, f"writing {key} of {self._name}")

    async def update(self, key: str, value: bytes, revision: int) -> bool:
        """Replace an entry unless it changed since that revision; return whether it was replaced.

        Raises:
            LogUnavailable: The broker did not answer; the entry may have been replaced.
        """

        async def update(bucket: KeyValue) -> bool:
            try:
                await bucket.update(key, value, last=revision)
            except nats.js.errors.KeyWrongLastSequenceError:
                return False
            return True

        return await self._ask(update, f"writing {key} of {self._name}")

    async def delete(self, key: str) -> None:
        """Remove an entry; harmless where there is none.

        Raises:
            LogUnavailable: The broker did not answer; the entry may have been removed.
        """

        async def delete(bucket: KeyValue) -> None:
            await bucket.delete(key)

        await self._ask(delete, f"removing {key} of {self._name}")

    async def keys(self) -> list[str]:
        """Return the keys of all entries, in no particular order.

        Raises:
            LogUnavailable: The broker did not answer.
        """

        async def keys(bucket: KeyValue) -> list[str]:
            try:
                return await bucket.keys()
            except nats.js.errors.NoKeysError:
                return []

        return await self._ask(keys, f"listing {self._name}")

    async def _ask(self, question: Callable[[KeyValue], Awaitable[T]], what: str) -> T:
        loop = asyncio.get_running_loop()
        end = loop.time() + self._time_limit
        while True:
            try:
                return await question(await self._open())
            except _UNAVAILABLE as error:
                if loop.time() >= end:
                    raise LogUnavailable(what) from error
                await asyncio.sleep(_PAUSE_S)

    async def _open(self) -> KeyValue:
        if self._opened is None:
            self._opened = await self._jetstream.create_key_value(
                KeyValueConfig(
                    bucket=self._name,
                    storage=StorageType.FILE,
                    replicas=self._replicas,
                    ttl=self._life_s,
                    max_bytes=self._most_bytes,
                )
            )
        return self._opened
