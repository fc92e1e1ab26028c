"""Reading the log, to its end or for ever, across whatever interrupts it."""

import asyncio
import base64
from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import datetime
from functools import lru_cache
from typing import Any, Final, NamedTuple

import msgspec
import structlog

from roomledger.event_store.connection import Connection
from roomledger.event_store.delivery import Delivery, Interrupted
from roomledger.event_store.errors import LogReplaced, LogUnavailable
from roomledger.event_store.layout import Layout
from roomledger.event_store.lean import WORTHWHILE, LeanConsumer
from roomledger.event_store.line import is_possible
from roomledger.event_store.pull import PullConsumer
from roomledger.event_store.requests import (
    API,
    NO_MESSAGE_FOUND,
    SEQUENCE_NOT_FOUND,
    STREAM_NOT_FOUND,
    ApiError,
    Requests,
)
from roomledger.event_store.store import Bookmark, Filter, Head, check, without_overlaps
from roomledger_events.catalogue import decode, decode_all
from roomledger_events.envelope import Commit
from roomledger_events.subjects import Boundary, NotASubject

log = structlog.get_logger(__name__)

SUBJECTS_KEPT: Final = 64 * 1024
"""How many subjects are remembered with their boundaries."""

STRETCH: Final = 256
"""As many commits are decoded at once; whoever reads may pause in between."""

_FIRST_PAUSE_S: Final = 0.05
_LONGEST_PAUSE_S: Final = 1.0
_encode: Final = msgspec.json.Encoder().encode


class Patience(NamedTuple):
    """How long the store waits, in seconds.

    Attributes:
        attempt_s: For one answer, before the same request is sent again.
        limit_s: For an append, a position, or a read that makes no progress, in all.
        heartbeat_s: Between the server's signs of life while a reader waits.
    """

    attempt_s: float = 1.5
    limit_s: float = 5.0
    heartbeat_s: float = 2.0


class _Place:
    """How far a reader has come."""

    def __init__(self, start: int, until: int | None) -> None:
        self.start = start
        self.until = until
        self.taken: Commit | None = None
        self.lean = True


class _Stretch(NamedTuple):
    """Commits that have come together, and their bodies."""

    commits: list[Commit]
    bodies: list[bytes]


class _Outage:
    """How long a reader has been getting nowhere, and when it is to try again."""

    def __init__(self, connection: Connection, limit_s: float | None) -> None:
        self._connection = connection
        self._limit_s = limit_s
        self._since: float | None = None
        self._pause_s = 0.0

    def is_over(self) -> None:
        self._since, self._pause_s = None, 0.0

    async def wait(self, what: str) -> None:
        """Wait a little, longer each time.

        Raises:
            LogUnavailable: It has lasted for too long, or the connection is closed for good.
        """
        if self._connection.is_closed:
            raise LogUnavailable(f"{what} (the connection is closed)")
        now = asyncio.get_running_loop().time()
        if self._since is None:
            self._since = now
            log.info("interrupted, going on", what=what)
        if self._limit_s is not None and now - self._since >= self._limit_s:
            raise LogUnavailable(what)
        await asyncio.sleep(self._pause_s)
        self._pause_s = min(max(2 * self._pause_s, _FIRST_PAUSE_S), _LONGEST_PAUSE_S)


class JetStreamLog:
    """A stream for those who only read it.

    Attributes:
        layout: How the log is kept.
        created: When the log was created, as it was when the store was opened; it has to stay this one.
    """

    def __init__(
        self, requests: Requests, layout: Layout, patience: Patience, created: str, *, tidy: bool
    ) -> None:
        self.layout = layout
        self.created = created
        self._requests = requests
        self._connection = requests.connection
        self._patience = patience
        self._tidy = tidy
        self._boundary = lru_cache(SUBJECTS_KEPT)(self._parse)

    @property
    def name(self) -> str:
        """The log's name."""
        return self.layout.name

    def read(self, only: Filter = (), *, start: int = 1, until: int | None = None) -> AsyncGenerator[Commit]:
        """Yield the commits that are there; see `EventStore.read`."""
        if start == until and not only:
            return self._single(start)
        return self._commits(only, start, until, live=False)

    async def stretches(
        self, only: Filter = (), *, start: int = 1, until: int | None = None
    ) -> AsyncGenerator[list[Commit]]:
        """Yield the commits that are there, many at a time; see `EventStore.stretches`."""
        async with aclosing(self._stretches(only, start, until, live=False)) as stretches:
            async for stretch in stretches:
                yield stretch.commits

    async def stored(
        self, only: Filter = (), *, start: int = 1, until: int | None = None
    ) -> AsyncGenerator[tuple[Commit, bytes]]:
        """Yield the commits that are there with their bodies; see `StoredLog.stored`."""
        async with aclosing(self._stretches(only, start, until, live=False)) as stretches:
            async for stretch in stretches:
                for commit_and_body in zip(*stretch, strict=True):
                    yield commit_and_body

    def follow(self, only: Filter = (), *, start: int = 1) -> AsyncGenerator[Commit]:
        """Yield the commits from a sequence on and those to come; see `EventStore.follow`."""
        return self._commits(only, start, None, live=True)

    async def position(self) -> Head:
        """Return where the log stands now; see `EventStore.position`."""
        what = f"asking where {self.layout.name} stands"
        try:
            info = await self._requests.ask(
                what, f"{API}.STREAM.INFO.{self.layout.name}", within_s=self._patience.limit_s
            )
        except ApiError as error:
            if error.number == STREAM_NOT_FOUND:
                raise LogReplaced(f"there is no {self.layout.name} on this server") from error
            raise LogUnavailable(f"{what} ({error})") from error
        return Head(info["created"], info["state"]["last_seq"])

    async def _single(self, sequence: int) -> AsyncGenerator[Commit]:
        commit = await self._get({"seq": sequence})
        if commit is not None:
            yield commit

    async def _commits(
        self, only: Filter, start: int, until: int | None, *, live: bool
    ) -> AsyncGenerator[Commit]:
        async with aclosing(self._stretches(only, start, until, live=live)) as stretches:
            async for stretch in stretches:
                for commit in stretch.commits:
                    yield commit

    async def _stretches(
        self, only: Filter, start: int, until: int | None, *, live: bool
    ) -> AsyncGenerator["_Stretch"]:
        patterns = [self.layout.subjects.pattern(boundary) for boundary in without_overlaps(only)]
        place = _Place(max(start, 1), until)
        outage = _Outage(self._connection, None if live else self._patience.limit_s)
        while True:
            try:
                async with aclosing(self._deliveries(patterns, place, live=live)) as deliveries:
                    async for delivery in deliveries:
                        for part in delivery.parts(STRETCH):
                            place.start = part.sequences[-1] + 1
                            stretch = self._read(part)
                            if stretch.commits:
                                place.taken = stretch.commits[-1]
                                yield stretch
                        outage.is_over()
            except (Interrupted, ApiError, LogUnavailable) as error:
                await outage.wait(f"reading {self.layout.name} from {place.start} on ({error})")
            else:
                return

    async def _deliveries(
        self, patterns: list[str], place: "_Place", *, live: bool
    ) -> AsyncGenerator[Delivery]:
        """Yield what one consumer delivers, up to the end of what is to be read.

        Raises:
            Interrupted: Another consumer has to go on.
            ApiError: JetStream refused to make one.
            LogUnavailable: No answer came in time.
            LogReplaced: It is not the log any more that was known.
        """
        # What was taken must still be there: whoever comes back after a while may meet another log.
        head = await check(self, Bookmark.at(Head(self.created, 0), place.taken))
        if live:
            if head.sequence < place.start - 1:
                raise LogReplaced(f"it ends at sequence {head.sequence}, before the known {place.start - 1}")
        else:
            place.until = head.sequence if place.until is None else min(place.until, head.sequence)
            if place.until < place.start:
                return
        within_s = self._patience.limit_s
        consumer: PullConsumer | LeanConsumer = self._pull(live=live)
        try:
            await consumer.open(patterns, place.start, within_s=within_s)
            if consumer.pending == 0 and not live:
                return
            if consumer.pending >= WORTHWHILE and not live and place.lean and is_possible(self._connection):
                await consumer.close()
                consumer = self._lean()
                place.lean = False  # only once: if it does not get through, the other one does
                await consumer.open(patterns, place.start, within_s=within_s)
            while (delivery := await consumer.take()) is not None:
                if place.until is not None and delivery.sequences[-1] >= place.until:
                    if wanted := delivery.until(place.until):
                        yield wanted
                    return
                yield delivery
                if delivery.pending == 0 and not live:
                    return
        finally:
            await consumer.close()

    def _pull(self, *, live: bool) -> PullConsumer:
        heartbeat_s = self._patience.heartbeat_s
        return PullConsumer(
            self._requests, self.layout.name, live=live, heartbeat_s=heartbeat_s, tidy=self._tidy
        )

    def _lean(self) -> LeanConsumer:
        heartbeat_s = self._patience.heartbeat_s
        return LeanConsumer(self._requests, self.layout.name, heartbeat_s=heartbeat_s, tidy=self._tidy)

    def _read(self, delivery: Delivery) -> "_Stretch":
        boundaries = list(map(self._boundary, delivery.subjects))
        known = [boundary for boundary in boundaries if boundary is not None]
        if len(known) < len(boundaries):
            delivery = delivery.only([place for place, each in enumerate(boundaries) if each is not None])
        # Exact: a double tells the microseconds of the next two centuries apart.
        stored = [nanoseconds // 1000 / 1e6 for nanoseconds in delivery.nanoseconds]
        times = msgspec.convert(stored, list[datetime], strict=False)
        return _Stretch(decode_all(delivery.sequences, known, times, delivery.bodies), delivery.bodies)

    async def _get(self, query: dict[str, Any]) -> Commit | None:
        """Return one commit, asked of the stream's leader; None where there is none.

        Raises:
            LogUnavailable: No answer came in time.
        """
        what = f"reading {self.layout.name}"
        try:
            answer = await self._requests.ask(
                what,
                f"{API}.STREAM.MSG.GET.{self.layout.name}",
                _encode(query),
                within_s=self._patience.limit_s,
            )
        except ApiError as error:
            if error.number in {NO_MESSAGE_FOUND, SEQUENCE_NOT_FOUND}:
                return None
            raise LogUnavailable(f"{what} ({error})") from error
        message = answer["message"]
        boundary = self._boundary(message["subject"])
        if boundary is None:
            return None
        time = datetime.fromisoformat(message["time"])
        return decode(message["seq"], boundary, time, base64.b64decode(message.get("data", "")))

    def _parse(self, subject: str) -> Boundary | None:
        """Return a subject's boundary; None, and a warning once, for one that is no subject of this log."""
        try:
            return self.layout.subjects.parse(subject)
        except NotASubject as error:
            log.warning("a message is passed over", log=self.layout.name, reason=str(error))
            return None
