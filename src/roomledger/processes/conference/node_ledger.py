"""The events of a conference worker's nodes: the worker is their one writer."""

import asyncio
from datetime import UTC, datetime

from roomledger.event_store.errors import Conflict
from roomledger.event_store.store import EventStore
from roomledger.runtime.commands import Meta
from roomledger_events.envelope import Event, Payload
from roomledger_events.identifiers import new_id
from roomledger_events.subjects import Boundary, Kind


class NodeLedger:
    """Appends to ``nodes.<worker>``, one event after another.

    Args:
        store: The log.
        worker: The conference worker.
        source: The process, for the events' envelopes.
    """

    def __init__(self, store: EventStore, worker: str, *, source: str) -> None:
        self._store = store
        self._boundary = Boundary(Kind.NODES, worker)
        self._source = source
        self._expected = 0
        self._lock = asyncio.Lock()

    async def load(self) -> None:
        """Find the end of what is there.

        Raises:
            LogUnavailable: The log could not be read.
        """
        async for commit in self._store.read((self._boundary,), start=self._expected + 1):
            self._expected = commit.sequence

    async def append(self, data: Payload, *, about: str, meta: Meta | None = None) -> None:
        """Append an event.

        Raises:
            EventStoreError: The log did not take it.
        """
        meta = meta or Meta(actor=f"worker:{self._boundary.name}")
        event = Event.of(
            data,
            about=about,
            id=new_id(),
            source=self._source,
            time=datetime.now(UTC),
            correlation=meta.correlation or about,
            causation=meta.causation or meta.command,
            actor=meta.actor,
        )
        async with self._lock:
            try:
                self._expected = await self._store.append(self._boundary, [event], self._expected)
            except Conflict:
                await self.load()
                self._expected = await self._store.append(self._boundary, [event], self._expected)
