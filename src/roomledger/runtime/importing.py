"""An exported log brought into an empty one, every commit at the sequence that it had.

One that broke off goes on where it stopped, having made sure that what is there is the file's beginning.  No
commit is there twice: each is sent with the sequence that has to be the log's last.

What had expired or was passed over left gaps. So that the sequences stay, each missing one is filled with an
empty commit that expires as a text does: what is left is the gap, and no younger than a gap can be.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from typing import Any, Final, NamedTuple

import msgspec
import nats.errors
from nats.aio.msg import Msg

from roomledger.event_store.errors import LogReplaced, NotPermitted
from roomledger.event_store.file_log import FileLog
from roomledger.event_store.jetstream import JetStreamStore
from roomledger.runtime.access import Access
from roomledger.runtime.errors import ExportNotWhole, ImportInterrupted, LogNotEmpty
from roomledger.runtime.progress import Progress
from roomledger_events.envelope import Commit
from roomledger_events.subjects import EXPIRING, Boundary, Kind

IN_FLIGHT: Final = 256
"""So many commits are on their way at once."""
ANSWER_S: Final = 10.0
"""How long an answer is waited for."""

_GAP: Final = Boundary(Kind.LOAD, "imported")
_decode: Final = msgspec.json.Decoder(dict[str, Any]).decode


class _Stored(NamedTuple):
    sequence: int
    boundary: Boundary
    body: bytes
    ttl: str | None
    events: int


class Imported(NamedTuple):
    """What was brought in.

    Attributes:
        commits: How many commits.
        events: How many events.
        gaps: How many sequences are empty, as they were in the log that was exported.
        last: Where the log stands.
        before: Where it stood before, because an earlier import of the file had broken off; else 0.
    """

    commits: int
    events: int
    gaps: int
    last: int
    before: int


def must_be_whole(file: FileLog) -> None:
    """Make sure that a file holds all of a log up to a moment.

    Raises:
        ExportNotWhole: It begins later than its log, or leaves something out.
    """
    header = file.header
    if not header.whole:
        reason = (
            f"the rooms {', '.join(header.rooms)} only" if header.rooms else f"what began at {header.first}"
        )
        raise ExportNotWhole(file.path, reason)


async def import_into(
    access: Access, file: FileLog, *, on_progress: Callable[[Progress], None] = lambda _: None
) -> Imported:
    """Bring all commits of a file into an empty log, or the rest of them into one that holds its beginning.

    The log tells the time of the import as the time when they were stored; the events keep theirs. Load
    reports and texts expire anew from there.

    Args:
        access: The log.
        file: The exported log.
        on_progress: Told now and then.

    Raises:
        ExportNotWhole: The file begins later than its log, or leaves something out.
        LogNotEmpty: Something else is in the log, or somebody else writes to it.
        NotPermitted: The connection's user may not append.
        ImportInterrupted: It broke off; the log holds a part of the file.
        EventStoreError: The log or the file cannot be read.
    """
    must_be_whole(file)
    before = (await access.store.position()).sequence
    if before:
        await _must_begin_like(access.store, before, file, on_progress)
    return await _Import(access, file.header.last, before).run(file, on_progress)


async def _must_begin_like(
    store: JetStreamStore, last: int, file: FileLog, on_progress: Callable[[Progress], None]
) -> None:
    """Make sure that what is in a log is the beginning of a file, but for what has expired since.

    Raises:
        LogNotEmpty: It is not.
    """
    async with (
        aclosing(_placed(store.stored(until=last))) as there,
        aclosing(_placed(file.stored(until=last))) as wanted,
    ):
        found, expected = await anext(there, None), await anext(wanted, None)
        while found or expected:
            if expected and (found is None or expected.sequence < found.sequence):
                if expected.boundary.kind not in EXPIRING:
                    raise LogNotEmpty(store.name, last, expected.sequence)
                expected = await anext(wanted, None)
            elif found is None or found != expected:
                raise LogNotEmpty(store.name, last, found.sequence if found else last)
            else:
                on_progress(Progress(found.sequence, file.header.last, 0))
                found, expected = await anext(there, None), await anext(wanted, None)
    if last > file.header.last:
        raise LogNotEmpty(store.name, last, file.header.last + 1)


async def _placed(commits: AsyncGenerator[tuple[Commit, bytes]]) -> AsyncGenerator[_Stored]:
    """Yield commits but for what fills gaps."""
    async with aclosing(commits):
        async for commit, body in commits:
            if commit.boundary != _GAP:
                yield _Stored(commit.sequence, commit.boundary, body, None, len(commit.events))


class _Import:
    def __init__(self, access: Access, last: int, before: int) -> None:
        self._broker = access.broker
        self._store: JetStreamStore = access.store
        self._last = last
        self._before = self._known = before
        self._under_way: deque[tuple[int, asyncio.Task[Msg]]] = deque()

    async def run(self, file: FileLog, on_progress: Callable[[Progress], None]) -> Imported:
        commits = events = gaps = 0
        self._broker.denied.clear()
        try:
            async for stored in self._with_gaps(file):
                self._send(stored)
                events += stored.events
                commits += stored.boundary is not _GAP
                gaps += stored.boundary is _GAP
                # The first one alone: it tells whether the log is to be had at all.
                if len(self._under_way) >= (IN_FLIGHT if self._known > self._before else 1):
                    await self._confirm()
                    on_progress(Progress(self._known, self._last, events))
            while self._under_way:
                await self._confirm()
        except (nats.errors.Error, LogReplaced, OSError) as error:
            reason = str(error).removeprefix("nats: ") or type(error).__name__
            raise ImportInterrupted(self._store.name, self._known, self._last, reason) from error
        finally:
            for _, sending in self._under_way:
                sending.cancel()
        return Imported(commits, events, gaps, self._last, self._before)

    async def _with_gaps(self, file: FileLog) -> AsyncIterator[_Stored]:
        ttls = self._store.layout.ttls
        ttl = {kind: f"{seconds}s" for kind, seconds in ttls.items()}
        gone = f"{min(ttls.values())}s"
        next_one = self._before + 1
        async with aclosing(file.stored(start=next_one)) as commits:
            async for commit, body in commits:
                for missing in range(next_one, commit.sequence):
                    yield _gap(missing, gone)
                boundary = commit.boundary
                yield _Stored(commit.sequence, boundary, body, ttl.get(boundary.kind), len(commit.events))
                next_one = commit.sequence + 1
        for missing in range(next_one, self._last + 1):
            yield _gap(missing, gone)

    def _send(self, stored: _Stored) -> None:
        headers = {"Nats-Expected-Last-Sequence": str(stored.sequence - 1)}
        if stored.ttl is not None:
            headers["Nats-TTL"] = stored.ttl
        subject = self._store.layout.subjects.of(stored.boundary)
        request = self._broker.request(subject, stored.body, timeout=ANSWER_S, headers=headers)
        self._under_way.append((stored.sequence, asyncio.ensure_future(request)))

    async def _confirm(self) -> None:
        """Take note that the oldest one under way is stored where it belongs."""
        sequence, sending = self._under_way.popleft()
        if self._known == self._before:
            await self._permitted(sending)
        answer = _decode((await sending).data)
        if "error" in answer:
            description = answer["error"].get("description", "refused")
            if self._known == self._before:
                head = (await self._store.position()).sequence
                raise LogNotEmpty(self._store.name, head, self._before + 1)
            raise LogReplaced(description)
        if answer["seq"] != sequence:
            raise LogReplaced(f"sequence {sequence} was stored as {answer['seq']}")
        self._known = sequence

    async def _permitted(self, sending: asyncio.Task[Msg]) -> None:
        """Wait until something is known of the first one, which the server may not take at all."""
        denied = asyncio.create_task(self._broker.denied.wait())
        try:
            await asyncio.wait({sending, denied}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            denied.cancel()
        if not sending.done():
            sending.cancel()
            raise NotPermitted(self._broker.options.get("user"), self._broker.forbidden)


def _gap(sequence: int, ttl: str) -> _Stored:
    return _Stored(sequence, _GAP, b"[]", ttl, 0)
