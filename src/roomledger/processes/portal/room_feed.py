"""What happens in a room, told to all of its participants who are here: one follower of the log for a room.

Everybody gets exactly what came after the own join, or after what the own return was answered with. The
follower starts with the first one; whoever comes later gets what it has missed from the last commits, which
are kept for a while, or else from the log.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncGenerator, Callable
from typing import Final, NamedTuple

import structlog

from roomledger.event_store.errors import LogUnavailable
from roomledger.event_store.store import EventStore
from roomledger.processes.portal.notifications import News, take_in
from roomledger.runtime.ending import end
from roomledger_events.envelope import Address, Commit
from roomledger_events.subjects import Boundary, Kind

Follow = Callable[[str, int], AsyncGenerator[Commit]]
"""Yields the commits of a room and its texts from a sequence on, for ever (`live_rooms`)."""
KEPT: Final = 512
"""How many notifications of a room are kept for those who are about to come."""
_PAUSE_S: Final = 0.2

log = structlog.get_logger(__name__)


class _Told(NamedTuple):
    sequence: int
    news: list[News]


class Listener:
    """One participant who is told.

    Args:
        feed: Tells it.
        participant: Who it is.
        since: It is told of what comes after this.
        tell: Takes what it is told.
    """

    __slots__ = ("_feed", "_late", "_participant", "_tell", "catching_up", "since")

    def __init__(
        self, feed: "RoomFeed", participant: str, since: Address, tell: Callable[[News], None]
    ) -> None:
        self.since = since
        self.catching_up: asyncio.Task[None] | None = None
        self._feed = feed
        self._participant = participant
        self._tell = tell
        self._late: list[_Told] = []

    def stop(self) -> None:
        """Be told no more."""
        if self.catching_up is not None:
            self.catching_up.cancel()
        self._feed.remove(self)

    def hear(self, told: _Told) -> None:
        """Take a commit that the follower has come to."""
        if self.catching_up is None:
            self.take(told)
        else:
            self._late.append(told)

    def take(self, told: _Told) -> None:
        """Tell what a commit means, as far as it came after what is known."""
        if told.sequence < self.since.sequence:
            return
        for each in told.news:
            if each.notification.address <= self.since:
                continue
            try:
                self._tell(each)
            except Exception:
                log.exception("a participant could not be told", participant=self._participant)

    def caught_up(self) -> None:
        """Go on with what the follower came to in the meantime."""
        self.catching_up = None
        late, self._late = self._late, []
        for told in late:
            self.take(told)


class RoomFeed:
    """Follows one room.

    Args:
        store: The log, for what one participant missed.
        follow: Follows a room.
        room: Which room.
        failed: Told if the log cannot be followed any more.
        deserted: Told when nobody listens any more.
    """

    def __init__(
        self,
        store: EventStore,
        follow: Follow,
        room: str,
        failed: Callable[[Exception], None],
        deserted: Callable[["RoomFeed"], None],
    ) -> None:
        self.room = room
        self._store = store
        self._live = follow
        self._only = (Boundary(Kind.ROOM, room), Boundary(Kind.TEXT, room))
        self._failed = failed
        self._deserted = deserted
        # In the order of their coming; a set would tell them in another.
        self._listeners: dict[Listener, None] = {}
        self._recent: deque[_Told] = deque()
        self._kept = 0
        self._complete_from = 0
        self._position = 0
        self._following: asyncio.Task[None] | None = None

    @property
    def is_heard(self) -> bool:
        """Whether anybody listens."""
        return bool(self._listeners)

    def add(self, participant: str, after: Address, tell: Callable[[News], None]) -> Listener:
        """Tell a participant of all that came and comes after an address in the log."""
        listener = Listener(self, participant, after, tell)
        self._listeners[listener] = None
        since = listener.since.sequence
        if self._following is None:
            self._complete_from, self._position = since, since - 1
            self._following = asyncio.create_task(self._follow(since), name=f"feed of {self.room}")
        elif since > self._position:
            pass  # the follower comes there by itself
        elif since >= self._complete_from:
            for told in self._recent:
                listener.take(told)
        else:
            listener.catching_up = asyncio.create_task(
                self._catch_up(listener, self._position), name=f"catching up in {self.room}"
            )
        return listener

    def remove(self, listener: Listener) -> None:
        """Tell a participant no more; the last one in a room takes the follower along."""
        if listener in self._listeners:
            del self._listeners[listener]
            if not self._listeners:
                self._deserted(self)

    async def close(self) -> None:
        """Follow the room no more."""
        await end(self._following)

    async def _follow(self, start: int) -> None:
        try:
            async with contextlib.aclosing(self._live(self.room, start)) as commits:
                async for commit in commits:
                    told = _Told(commit.sequence, take_in(commit))
                    self._position = commit.sequence
                    if not told.news:
                        continue
                    self._keep(told)
                    for listener in list(self._listeners):
                        listener.hear(told)
        except Exception as error:
            log.exception("a room cannot be followed any more", room=self.room)
            self._failed(error)

    def _keep(self, told: _Told) -> None:
        self._recent.append(told)
        self._kept += len(told.news)
        while self._kept > KEPT and len(self._recent) > 1:
            oldest = self._recent.popleft()
            self._kept -= len(oldest.news)
            self._complete_from = oldest.sequence + 1

    async def _catch_up(self, listener: Listener, until: int) -> None:
        """Tell a participant from the log what the follower had passed already when it came."""
        start = listener.since.sequence
        while start <= until:
            try:
                async with contextlib.aclosing(
                    self._store.read(self._only, start=start, until=until)
                ) as commits:
                    async for commit in commits:
                        listener.take(_Told(commit.sequence, take_in(commit)))
                        start = commit.sequence + 1
                break
            except LogUnavailable as error:
                log.warning("a participant cannot be told what it missed yet", room=self.room, why=str(error))
                await asyncio.sleep(_PAUSE_S)
        listener.caught_up()


class RoomFeeds:
    """The rooms that are followed here.

    Args:
        store: The log, for what one participant missed.
        follow: Follows a room.
        failed: Told if the log cannot be followed any more.
    """

    def __init__(self, store: EventStore, follow: Follow, failed: Callable[[Exception], None]) -> None:
        self._store = store
        self._live = follow
        self._failed = failed
        self._feeds: dict[str, RoomFeed] = {}
        self._closing: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._feeds)

    async def close(self) -> None:
        """Follow no room any more."""
        for feed in self._feeds.values():
            self._close(feed)
        self._feeds.clear()
        await asyncio.gather(*self._closing)

    def add(self, room: str, participant: str, after: Address, tell: Callable[[News], None]) -> Listener:
        """Tell a participant of all that came and comes after an address in the log."""
        feed = self._feeds.get(room)
        if feed is None:
            feed = self._feeds[room] = RoomFeed(self._store, self._live, room, self._failed, self._forget)
        return feed.add(participant, after, tell)

    def _forget(self, feed: RoomFeed) -> None:
        if self._feeds.get(feed.room) is feed:
            del self._feeds[feed.room]
            self._close(feed)

    def _close(self, feed: RoomFeed) -> None:
        closing = asyncio.create_task(feed.close(), name=f"end of the feed of {feed.room}")
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)
