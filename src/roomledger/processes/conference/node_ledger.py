"""The events of a conference worker's nodes: the worker is their one writer.

They tell what has happened already, so nobody waits for them: they are appended in order in the background,
as many as there are in one commit, and a log that is out of reach gets them later.
"""

import asyncio
from collections import deque
from datetime import UTC, datetime
from typing import Final

import structlog

from roomledger.event_store.errors import Conflict, EventStoreError, LogFull, LogUnavailable
from roomledger.event_store.store import EventStore
from roomledger.runtime.commands import Meta
from roomledger.runtime.ending import end
from roomledger_events.envelope import MAX_EVENTS, Event, Payload
from roomledger_events.identifiers import new_id
from roomledger_events.nodes import NodeDied, NodeStarted, NodeStopped
from roomledger_events.subjects import Boundary, Kind

WAITING: Final = 10_000
"""How many events may wait for a log that is out of reach; beyond that the oldest are given up."""
_PAUSE_S: Final = 0.5

log = structlog.get_logger(__name__)


class NodeLedger:
    """Appends to ``nodes.<worker>``.

    Args:
        store: The log.
        worker: The conference worker.
    """

    def __init__(self, store: EventStore, worker: str) -> None:
        self._store = store
        self._boundary = Boundary(Kind.NODES, worker)
        self._source = f"conference/{worker}"
        self._actor = f"worker:{worker}"
        self._expected = 0
        self._waiting: deque[Event] = deque(maxlen=WAITING)
        self._wake = asyncio.Event()
        self._written = asyncio.Event()
        self._written.set()
        self._writing: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to append; nodes that an earlier process of this worker left behind have died with it.

        Raises:
            LogUnavailable: The log could not be read.
        """
        left: dict[str, None] = {}
        async for commit in self._store.read((self._boundary,)):
            self._expected = commit.sequence
            for event in commit.events:
                match event.data:
                    case NodeStarted(node=node):
                        left[node] = None
                    case NodeStopped(node=node) | NodeDied(node=node):
                        left.pop(node, None)
                    case _:
                        pass
        for node in left:
            self.note(NodeDied(node=node, reason="its worker ended"), about=node)
        self._writing = asyncio.create_task(self._write(), name=str(self._boundary))

    async def stop(self, seconds: float) -> None:
        """Append what waits, as far as that is possible in this time."""
        try:
            async with asyncio.timeout(seconds):
                await self._written.wait()
        except TimeoutError:
            log.warning("the log was not told all of the nodes", events=len(self._waiting))
        await end(self._writing)

    def note(self, data: Payload, *, about: str, meta: Meta | None = None) -> Event:
        """Have an event appended, and return it."""
        meta = meta or Meta(actor=self._actor)
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
        self._waiting.append(event)
        self._written.clear()
        self._wake.set()
        return event

    async def _write(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                events = [self._waiting.popleft() for _ in range(min(MAX_EVENTS, len(self._waiting)))]
                try:
                    await self._append(events)
                except (LogUnavailable, LogFull) as error:
                    log.warning("the log is not told of the nodes now", why=str(error))
                    self._waiting.extendleft(reversed(events))
                    await asyncio.sleep(_PAUSE_S)
                except EventStoreError:
                    log.exception("the log does not take the events of nodes", events=len(events))
            self._written.set()

    async def _append(self, events: list[Event]) -> None:
        try:
            self._expected = await self._store.append(self._boundary, events, self._expected)
        except Conflict:
            # Another process goes by the same worker id; what it says stands beside ours.
            async for commit in self._store.read((self._boundary,), start=self._expected + 1):
                self._expected = commit.sequence
            self._waiting.extendleft(reversed(events))
