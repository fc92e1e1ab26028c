"""Snapshots of the schedulers' states, so that a start need not read the whole log.

A snapshot is a cache in a JetStream object store bucket: versioned, tied to the log that it was taken of, and
ignored if it does not fit.  What it does not hold is read from the log.
"""

import asyncio
from collections.abc import Mapping
from typing import Final, NamedTuple

import msgspec
import structlog
from nats.aio.client import Client
from nats.errors import Error as BrokerError
from nats.js.api import ObjectStoreConfig
from nats.js.errors import Error as JetStreamError
from nats.js.object_store import ObjectStore

from roomledger.domain.scheduler_snapshot import SchedulerSnapshot, thaw
from roomledger.event_store.errors import EventStoreError
from roomledger.event_store.store import Bookmark, EventStore, check
from roomledger.processes.cluster_manager.following import Followed
from roomledger.runtime.earlier import Earlier

NAME: Final = "cluster-manager"
EVERY_EVENTS: Final = 50_000
"""How many events there have to be since the last snapshot: so many are read in a second at most."""
EVERY_S: Final = 2.0
"""How often to look whether it has."""
_LIMIT_S: Final = 10.0

log = structlog.get_logger(__name__)


class Taken(NamedTuple):
    """One purpose in a snapshot.

    Attributes:
        state: What the log has led to.
        sequence: The last sequence of the purpose's boundary in it.
        basis: The last sequence of the log in it.
        commands: Which commit each command led to that may be asked for again.
    """

    state: SchedulerSnapshot
    sequence: int
    basis: int
    commands: dict[str, int]


class _Snapshot(msgspec.Struct):
    bookmark: Bookmark
    purposes: dict[str, Taken]


class Snapshots:
    """Where the managers of a cluster keep their snapshot.

    Args:
        broker: The connection.
        store: The log, on that connection.
        bucket: The object store bucket; it is created where it is not there.
        replicas: How many servers keep it.
    """

    def __init__(self, broker: Client, store: EventStore, *, bucket: str, replicas: int = 1) -> None:
        self._jetstream = broker.jetstream(timeout=_LIMIT_S)
        self._store = store
        self._bucket = bucket
        self._replicas = replicas

    async def load(self) -> tuple[dict[str, Followed], int] | None:
        """Return the states of all purposes and up to where they hold; None if nothing fits."""
        snapshot = await self._read()
        if not isinstance(snapshot, _Snapshot):
            log.info("no snapshot is used: the log is read from its beginning", why=snapshot)
            return None
        purposes: dict[str, Followed] = {}
        for purpose, taken in snapshot.purposes.items():
            state = thaw(taken.state)
            if state is None:
                log.info("the snapshot does not fit: the log is read from its beginning", purpose=purpose)
                return None
            purposes[purpose] = Followed(state, taken.sequence, taken.basis, Earlier(taken.commands))
        log.info("a snapshot is used", sequence=snapshot.bookmark.sequence, purposes=len(purposes))
        return purposes, snapshot.bookmark.sequence

    async def kept(self) -> Mapping[str, Taken]:
        """Return the states of the purposes in the snapshot that is kept; none if it does not fit the log."""
        snapshot = await self._read()
        return snapshot.purposes if isinstance(snapshot, _Snapshot) else {}

    async def save(self, bookmark: Bookmark, purposes: Mapping[str, Taken]) -> bool:
        """Keep a snapshot in the place of the last one; return whether that succeeded."""
        try:
            body = await asyncio.to_thread(msgspec.msgpack.encode, _Snapshot(bookmark, dict(purposes)))
            async with asyncio.timeout(_LIMIT_S):
                await (await self._open()).put(NAME, body)
        except (BrokerError, JetStreamError, TimeoutError) as error:
            log.warning("no snapshot could be kept", why=str(error))
            return False
        log.info("kept a snapshot", sequence=bookmark.sequence, bytes=len(body))
        return True

    async def bookmark(self) -> Bookmark:
        """Return where the log stands now.

        Raises:
            LogUnavailable: No answer came in time.
        """
        head = await self._store.position()
        found = None
        if head.sequence:
            async for commit in self._store.read(start=head.sequence, until=head.sequence):
                found = commit
        return Bookmark.at(head, found)

    async def _read(self) -> _Snapshot | str:
        """Return the snapshot that is kept, or why there is none that fits."""
        try:
            async with asyncio.timeout(_LIMIT_S):
                bucket = await self._open()
                found = (await bucket.get(NAME)).data or b""
            snapshot = await asyncio.to_thread(msgspec.msgpack.decode, found, type=_Snapshot)
            await check(self._store, snapshot.bookmark)
        except (BrokerError, JetStreamError, EventStoreError, msgspec.DecodeError, TimeoutError) as error:
            return str(error)
        return snapshot

    async def _open(self) -> ObjectStore:
        config = ObjectStoreConfig(bucket=self._bucket, replicas=self._replicas)
        return await self._jetstream.create_object_store(self._bucket, config=config)
