"""An exported log brought into an empty one, every commit at the sequence that it had.

What had expired or was passed over left gaps. So that the sequences stay, each missing one is filled with an
empty commit that expires a second later: what is left is the gap.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import Any, Final, NamedTuple

import msgspec
import nats.errors
from nats.aio.msg import Msg

from roomledger.event_store.errors import LogReplaced
from roomledger.event_store.file_log import FileLog
from roomledger.event_store.jetstream import JetStreamStore
from roomledger.event_store.layout import Layout
from roomledger.runtime.access import Access
from roomledger.runtime.errors import ExportNotWhole, ImportInterrupted, LogNotEmpty
from roomledger.runtime.progress import Progress
from roomledger_events.subjects import Boundary, Kind

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
    """

    commits: int
    events: int
    gaps: int
    last: int


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
    """Bring all commits of a file into an empty log.

    The log tells the time of the import as the time when they were stored; the events keep theirs. Load
    reports and texts expire anew from there.

    Args:
        access: The log.
        file: The exported log.
        on_progress: Told now and then.

    Raises:
        ExportNotWhole: The file begins later than its log, or leaves something out.
        LogNotEmpty: The log is not empty, or somebody else writes to it.
        ImportInterrupted: It broke off; the log holds a part of the file.
        EventStoreError: The log or the file cannot be read.
    """
    must_be_whole(file)
    head = await access.store.position()
    if head.sequence:
        raise LogNotEmpty(access.store.name, head.sequence)
    return await _Import(access, file.header.last).run(file, on_progress)


class _Import:
    def __init__(self, access: Access, last: int) -> None:
        self._broker = access.broker
        self._store: JetStreamStore = access.store
        self._last = last
        self._known = 0
        self._under_way: deque[tuple[int, asyncio.Task[Msg]]] = deque()

    async def run(self, file: FileLog, on_progress: Callable[[Progress], None]) -> Imported:
        commits = events = gaps = 0
        try:
            async for stored in self._with_gaps(file):
                self._send(stored)
                events += stored.events
                commits += stored.boundary is not _GAP
                gaps += stored.boundary is _GAP
                # The first one alone: it tells whether the log is to be had at all.
                if len(self._under_way) >= (IN_FLIGHT if self._known else 1):
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
        return Imported(commits, events, gaps, self._last)

    async def _with_gaps(self, file: FileLog) -> AsyncIterator[_Stored]:
        layout: Layout = self._store.layout
        ttl = {Kind.LOAD: f"{layout.load_ttl_s}s", Kind.TEXT: f"{layout.text_ttl_s}s"}
        next_one = 1
        async with aclosing(file.stored()) as commits:
            async for commit, body in commits:
                for missing in range(next_one, commit.sequence):
                    yield _gap(missing)
                boundary = commit.boundary
                yield _Stored(commit.sequence, boundary, body, ttl.get(boundary.kind), len(commit.events))
                next_one = commit.sequence + 1
        for missing in range(next_one, self._last + 1):
            yield _gap(missing)

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
        answer = _decode((await sending).data)
        if "error" in answer:
            description = answer["error"].get("description", "refused")
            if not self._known:
                raise LogNotEmpty(self._store.name, (await self._store.position()).sequence)
            raise LogReplaced(description)
        if answer["seq"] != sequence:
            raise LogReplaced(f"sequence {sequence} was stored as {answer['seq']}")
        self._known = sequence


def _gap(sequence: int) -> _Stored:
    return _Stored(sequence, _GAP, b"[]", "1s", 0)
