"""Rooms whose conference worker has gone are taken over by those that are there, without waiting to be asked.

Each worker follows where rooms are run, and has the scheduler find a worker for each room that was left: that
is the same one whoever asks.  The one that is found runs the room if anybody is in it, and gives it back
otherwise.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import Final

import structlog

from roomledger.domain.errors import Code, Refusal
from roomledger.event_store.errors import LogUnavailable
from roomledger.event_store.store import EventStore
from roomledger.processes.conference.placements import Placements
from roomledger.runtime.calls import RequestMeta
from roomledger.runtime.commands import Meta
from roomledger.runtime.ending import end
from roomledger.sdk.cluster import Cluster
from roomledger_events.envelope import Event
from roomledger_events.identifiers import new_id
from roomledger_events.subjects import Boundary, Kind

AT_ONCE: Final = 16
"""How many rooms are being taken over at the same time."""
_PAUSE_S: Final = 1.0

log = structlog.get_logger(__name__)


class Adoption:
    """Takes over what was left.

    Args:
        store: The log.
        cluster: Finds a worker for a room.
        worker: This worker's id.
        purpose: What it does.
        run: Runs a room here if anybody is in it; returns whether it does, raises `Refusal` where it cannot.
    """

    def __init__(
        self,
        store: EventStore,
        cluster: Cluster,
        *,
        worker: str,
        purpose: str,
        run: Callable[[str, Meta], Awaitable[bool]],
    ) -> None:
        self._store = store
        self._cluster = cluster
        self._worker = worker
        self._purpose = purpose
        self._only = (Boundary(Kind.SCHEDULER, purpose),)
        self._run = run
        self._placements = Placements()
        self._adopting: dict[str, asyncio.Task[None]] = {}
        self._doors = asyncio.Semaphore(AT_ONCE)
        self._following: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to follow."""
        self._following = asyncio.create_task(self._follow(), name="rooms that are left")

    async def stop(self) -> None:
        """Take no more over."""
        await end(self._following, *self._adopting.values())

    async def failed(self) -> BaseException:
        """Return what ended it that cannot be mended here: the log is not the one that was followed."""
        if self._following is None:
            raise RuntimeError("adoption is watched after its start")
        await asyncio.wait({self._following})
        return self._following.exception() or asyncio.CancelledError()

    async def _follow(self) -> None:
        position = 0
        while True:
            try:
                head = await self._store.position()
                async for commit in self._store.read(self._only, start=position + 1, until=head.sequence):
                    self._placements.take_in(commit.events)
                    position = commit.sequence
                break
            except LogUnavailable as error:
                log.warning("it is not known yet which rooms are left", why=str(error))
                await asyncio.sleep(_PAUSE_S)
        self._adopt_all()
        async with aclosing(self._store.follow(self._only, start=head.sequence + 1)) as commits:
            async for commit in commits:
                if self._placements.take_in(commit.events):
                    self._adopt_all()

    def _adopt_all(self) -> None:
        for room, left in self._placements.left.items():
            if room not in self._adopting:
                adopting = asyncio.create_task(self._adopt(room, left), name=f"adopting {room}")
                self._adopting[room] = adopting
                adopting.add_done_callback(lambda _, room=room: self._adopting.pop(room, None))  # type: ignore[misc]  # mypy does not see that the default gives it its type

    async def _adopt(self, room: str, left: Event) -> None:
        """See to it that somebody runs a room, if anybody is in it."""
        while self._placements.left.get(room) is left:
            try:
                async with self._doors:
                    if await self._try(room, left):
                        return
            except Refusal as refusal:
                log.info("a room that was left is not taken over yet", room=room, why=str(refusal))
            except Exception:
                log.exception("a room that was left could not be taken over; trying again", room=room)
            await asyncio.sleep(_PAUSE_S)

    async def _try(self, room: str, left: Event) -> bool:
        """Return whether there is nothing more to do."""
        ask = RequestMeta(command=new_id(), correlation=left.correlationid, causation=left.id)
        scheduled = await self._cluster.schedule(self._purpose, room, meta=ask)
        if scheduled.worker != self._worker:
            return False  # it is another's to run; that shows in the log
        meta = Meta(f"worker:{self._worker}", correlation=left.correlationid, causation=left.id)
        try:
            if await self._run(room, meta):
                log.info("took a room over that was left", room=room, event=left.type)
                return True
        except Refusal as refusal:
            if refusal.code is not Code.NO_SUCH_ROOM:
                raise
        await self._cluster.unschedule(self._worker, room)
        return True
