"""What happens in a room, as it happens: as the log republishes it, and from the log where that is not whole.

A commit that was stored is republished on ``feed.<kind>.<room>`` with its sequence and that of the commit
before it on its subject. One subscription hears a room's events and its texts, in the order of the log; it
costs the server no consumer. It may lose messages. So the log is read up to its end when a room begins to be
followed, when the connection was lost, and when a message names one before it that was not heard.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from datetime import UTC, datetime
from typing import Final

import structlog
from nats.aio.msg import Msg

from roomledger.event_store.connection import Connection
from roomledger.event_store.errors import LogReplaced, LogUnavailable
from roomledger.event_store.store import EventStore
from roomledger_events.catalogue import decode
from roomledger_events.envelope import Commit
from roomledger_events.subjects import ANY, Boundary, Kind, Subjects

KINDS: Final = (Kind.ROOM, Kind.TEXT)
_SEQUENCE: Final = "Nats-Sequence"
_BEFORE: Final = "Nats-Last-Sequence"
FEW: Final = 3
"""So many commits are fetched one by one, which is less work for the server than a consumer for them."""
_PAUSE_S: Final = 0.2

log = structlog.get_logger(__name__)


class LiveRooms:
    """Follows rooms.

    Args:
        broker: The connection that the feed is heard on.
        store: The log, on the same connection.
        subjects: The cluster's subjects.
    """

    def __init__(self, broker: Connection, store: EventStore, subjects: Subjects) -> None:
        self._broker = broker
        self._store = store
        self._subjects = subjects

    async def follow(self, room: str, start: int) -> AsyncGenerator[Commit]:
        """Yield a room's commits and those of its texts from a sequence on, each once, in order, for ever.

        Of one that is heard the time is that of the hearing.

        Raises:
            LogReplaced: It is not the log any more that was followed.
            LogUnavailable: The connection was closed for good.
        """
        heard = _Heard()
        prefix = self._subjects.pattern(Boundary(Kind.ROOM, room), live=True)
        pattern = prefix.replace(f".{Kind.ROOM}.", f".{ANY}.")
        subscription = await self._broker.subscribe(pattern, cb=heard.hear)
        self._broker.on_lost.add(heard.lose)
        place, created = start - 1, ""
        try:
            while True:
                await self._broker.up.wait()
                if self._broker.is_closed:
                    raise LogUnavailable(f"following room {room} (the connection is closed)")
                heard.whole = True
                try:
                    head = await self._store.position()
                    if head.sequence < place or created not in {"", head.created}:
                        raise LogReplaced(f"it ends at sequence {head.sequence}, the known one at {place}")
                    created = head.created
                    async for commit in self._missing(room, place, head.sequence):
                        yield commit
                except LogUnavailable as error:
                    log.info("a room cannot be read at the moment", room=room, why=str(error))
                    await asyncio.sleep(_PAUSE_S)
                    continue
                place = max(place, head.sequence)
                known = dict.fromkeys(KINDS, place)
                async for commit in self._heard(heard, known):
                    place = commit.sequence
                    yield commit
        finally:
            self._broker.on_lost.discard(heard.lose)
            if not self._broker.is_closed:
                await subscription.unsubscribe()

    async def _missing(self, room: str, place: int, until: int) -> AsyncGenerator[Commit]:
        only = [Boundary(kind, room) for kind in KINDS]
        if until - place > FEW:
            async for commit in self._store.read(only, start=place + 1, until=until):
                yield commit
            return
        for sequence in range(place + 1, until + 1):
            async for commit in self._store.read(start=sequence, until=sequence):
                if commit.boundary in only:
                    yield commit

    async def _heard(self, heard: "_Heard", known: dict[Kind, int]) -> AsyncGenerator[Commit]:
        """Yield what is heard, until something is missing."""
        while heard.whole:
            message = await heard.take()
            if message is None:
                continue
            boundary = self._subjects.parse(message.subject)
            headers = message.headers or {}
            sequence = int(headers.get(_SEQUENCE, "0"))
            if boundary.kind not in known or sequence <= known[boundary.kind]:
                continue
            if int(headers.get(_BEFORE, "0")) > known[boundary.kind]:
                log.info("something of a room was not heard", boundary=str(boundary), before=sequence)
                return
            known[boundary.kind] = sequence
            yield decode(sequence, boundary, datetime.now(UTC), message.data)


class _Heard:
    """What was heard of a room and is not taken yet.

    Attributes:
        whole: Whether nothing can be missing.
    """

    def __init__(self) -> None:
        self.whole = True
        self._messages: deque[Msg] = deque()
        self._something = asyncio.Event()

    async def hear(self, message: Msg) -> None:
        self._messages.append(message)
        self._something.set()

    def lose(self) -> None:
        self.whole = False
        self._something.set()

    async def take(self) -> Msg | None:
        """Return the next message, waiting for it; None if something may be missing by now."""
        while self.whole and not self._messages:
            self._something.clear()
            await self._something.wait()
        return self._messages.popleft() if self._messages and self.whole else None
