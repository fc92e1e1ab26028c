"""A log in a real nats-server, and events that are appended to it under whatever expectation they need."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from roomledger.event_store.connection import connect
from roomledger.event_store.jetstream import JetStreamStore
from roomledger.event_store.layout import Layout
from roomledger.event_store.reading import Patience
from roomledger.event_store.store import EventStore
from roomledger_events.envelope import Event, Payload
from roomledger_events.identifiers import new_id
from roomledger_events.subjects import GUARDED, Boundary
from tests.support.nats import NatsServer

IMPATIENT = Patience(attempt_s=0.3, limit_s=1.5, heartbeat_s=0.2)


@asynccontextmanager
async def opened_store(server: NatsServer) -> AsyncIterator[JetStreamStore]:
    """Open the log on a server."""
    connection = await connect(server.url, "service", server.credentials["service"])
    try:
        yield await JetStreamStore.open(connection, Layout(max_bytes=256 * 1024**2), patience=IMPATIENT)
    finally:
        await connection.close()


class Teller:
    """Appends what happened, as the only writer of every boundary."""

    def __init__(self, store: EventStore) -> None:
        self._store = store
        self._last: dict[Boundary, int] = {}

    def knows(self, boundary: Boundary, last: int) -> None:
        """Take a boundary over whose last sequence is known."""
        self._last[boundary] = last

    async def tell(
        self,
        boundary: Boundary,
        *data: Payload,
        correlation: str = "c1",
        about: str = "x",
        actor: str = "service:s1",
    ) -> int:
        """Append events as one commit and return its sequence."""
        now = datetime.now(UTC)
        events = [
            Event.of(
                each,
                about=about,
                id=new_id(),
                source="tests/1",
                time=now,
                correlation=correlation,
                actor=actor,
            )
            for each in data
        ]
        expected = self._last.get(boundary, 0) if boundary.kind in GUARDED else None
        sequence = await self._store.append(boundary, events, expected)
        self._last[boundary] = sequence
        return sequence
