"""The projector: follows the log into the projections, and answers questions about what they know.

It takes in whatever has arrived, at once and in one transaction a projection, and does so in a thread, so
that its process goes on meanwhile.  It begins by reading to where the log stands; only then does it answer,
so that nobody is told that something does not exist because it was not read yet.
"""

import asyncio
import sqlite3
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, ExitStack, aclosing, suppress
from pathlib import Path
from typing import Any, Concatenate, Final, Generic, NamedTuple, ParamSpec, TypeVar

import structlog

from roomledger.domain.errors import Code, Refusal
from roomledger.event_store.errors import LogReplaced, LogUnavailable
from roomledger.event_store.store import Bookmark, Head, ReadableLog, check
from roomledger.runtime.arrivals import BATCH_EVENTS, LOADING_EVENTS, batches
from roomledger.runtime.ending import end
from roomledger_events.envelope import Address, Commit
from roomledger_projections import PROJECTIONS
from roomledger_projections.connection import PATIENCE_S
from roomledger_projections.directory import live_path, opened, swapped_in
from roomledger_projections.errors import ProjectionLocked, ProjectionUnwritable
from roomledger_projections.projection import Projection
from roomledger_projections.projection_file import ProjectionFile, Skipped
from roomledger_projections.reader import Reader

Asked = ParamSpec("Asked")
Value = TypeVar("Value")
log = structlog.get_logger(__name__)

FOLDER: Final = "projections"
"""Where they are in the data directory."""
CAUGHT_UP_S: Final = 5.0
"""How long `Projector.caught_up` waits."""
_RETRY_S: Final = 0.5


class Known(NamedTuple, Generic[Value]):
    """What a query found.

    Attributes:
        value: The answer.
        sequence: The sequence of the log that it reflects.
    """

    value: Value
    sequence: int


class Projector:
    """Keeps projections in a directory up with the log.

    Args:
        log: The log to follow.
        directory: Where the projections' files are.
        projections: Which ones.
        patience_s: How long a lock that somebody else holds is waited for before that is logged.
        holds: Whether events that cannot be read are put aside in the files; they are counted in any case.
        gather_s: How long commits are gathered for one transaction, while nobody waits for any of them.
        told: Told of commits that have been taken in, before whoever waits for them.
    """

    def __init__(
        self,
        log: ReadableLog,
        directory: Path,
        projections: Sequence[Projection] = PROJECTIONS,
        *,
        patience_s: float = PATIENCE_S,
        holds: bool = True,
        gather_s: float = 0,
        told: Callable[[Sequence[Commit]], None] = lambda _: None,
    ) -> None:
        self._log = log
        self._directory = directory
        self._projections = projections
        self._patience_s = patience_s
        self._holds = holds
        self._gather_s = gather_s
        self._told = told
        self._files: dict[str, ProjectionFile] = {}
        self._readers: dict[str, tuple[Reader, asyncio.Lock]] = {}
        self._created = ""
        self._position = -1
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []
        self._somebody_waits = asyncio.Event()
        self._running: asyncio.Task[None] | None = None

    # -- Life

    async def start(self) -> None:
        """Open the files, make sure that they belong to this log, and begin to follow it.

        A log that does not answer is waited for.

        Raises:
            LogReplaced: A projection was built from another log; neither is touched.
            NotAProjection: There is something else in a projection's place.
            ProjectionLocked: Somebody else keeps a file locked.
            ProjectionUnwritable: A file cannot be opened or written.
        """
        try:
            await asyncio.to_thread(self._open)
            head = await self._patiently(self._known_log)
        except BaseException:
            self._close()
            raise
        self._created = head.created
        self._running = asyncio.create_task(self._run(head), name="projector")

    async def stop(self) -> None:
        """Finish the batch under way and close the files."""
        await end(self._running)
        async with AsyncExitStack() as questions:
            for _, lock in self._readers.values():
                await questions.enter_async_context(lock)
            self._close()

    async def failed(self) -> BaseException:
        """Return what ended it that it cannot mend, such as a log that was replaced or a damaged file."""
        if self._running is None:
            raise RuntimeError("a projector is watched after its start")
        await asyncio.wait({self._running})
        return (None if self._running.cancelled() else self._running.exception()) or asyncio.CancelledError()

    # -- Questions

    @property
    def position(self) -> int:
        """The sequence up to which all projections know the log; -1 as long as they are still being read."""
        return self._position

    async def caught_up(self, sequence: int = 0, *, timeout_s: float = CAUGHT_UP_S) -> None:
        """Return when all projections know the log up to a sequence, at least to where it stood at start.

        Raises:
            Refusal: They do not in time, or the projector has ended (`NOT_READY`).
        """
        if self._position >= sequence:
            return
        self._must_run()
        waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((sequence, waiting))
        self._somebody_waits.set()
        try:
            async with asyncio.timeout(timeout_s):
                await waiting
        except TimeoutError:
            raise self._not_ready(f"sequence {sequence} is not known yet") from None
        finally:
            self._waiting = [each for each in self._waiting if each[1] is not waiting]

    async def ask(
        self,
        projection: Projection,
        query: Callable[Concatenate[sqlite3.Connection, Asked], Value],
        *args: Asked.args,
        **more: Asked.kwargs,
    ) -> Known[Value]:
        """Return what a query of a projection finds.

        Raises:
            Refusal: The log has not been read to where it stood at start, or the projector was stopped
                (`NOT_READY`).
            ProjectionError: The file cannot be read.
        """
        position = self._position
        if position < 0 or projection.name not in self._readers:
            raise self._not_ready("the log is still being read")
        reader, lock = self._readers[projection.name]
        async with lock:
            value, sequence = await _in_thread(lambda: reader.ask(query, *args, **more))
        return Known(value, max(position, sequence))

    # -- Following

    async def _run(self, head: Head) -> None:
        try:
            await self._patiently(self._read_to, head.sequence)
            await self._patiently(self._swap_in)
            self._reached(head.sequence)
            log.info("the projections know the log", sequence=head.sequence)
            await self._take_in_all(self._log.follow(start=head.sequence + 1))
        finally:
            self._refuse_who_waits()

    async def _read_to(self, end: int) -> None:
        start = min(file.position.sequence for file in self._files.values()) + 1
        if start <= end:
            await self._take_in_all(self._log.read(start=start, until=end), LOADING_EVENTS)

    async def _take_in_all(self, commits: AsyncGenerator[Commit], at_once: int = BATCH_EVENTS) -> None:
        async with aclosing(batches(commits, events=at_once)) as arrived:
            async for batch in arrived:
                await self._take_in(batch)

    async def _take_in(self, batch: Sequence[Commit]) -> None:
        skipped: dict[Address, Skipped] = {}
        await self._patiently(_in_thread, self._fold, batch, skipped)
        for each in skipped.values():
            log.warning(
                "an event is skipped, this version cannot read it",
                address=str(each.address),
                boundary=str(each.boundary),
                reason=each.reason,
            )
        if self._position >= 0:
            self._told(batch)
            self._reached(batch[-1].sequence)
            await self._gather()

    async def _gather(self) -> None:
        """Let commits arrive, so that many go into one transaction."""
        if self._gather_s and not self._waiting:
            self._somebody_waits.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._gather_s):
                    await self._somebody_waits.wait()

    def _fold(self, batch: Sequence[Commit], skipped: dict[Address, Skipped]) -> None:
        for file in self._files.values():
            skipped.update((each.address, each) for each in file.take_in(batch, self._created))

    async def _swap_in(self) -> None:
        for name, file in self._files.items():
            live = await _in_thread(swapped_in, self._directory, file, patience=self._patience_s)
            live.holds = self._holds
            self._files[name] = live
        for projection in self._projections:
            path = live_path(self._directory, projection)
            self._readers[projection.name] = Reader(path, patience=self._patience_s), asyncio.Lock()

    async def _known_log(self) -> Head:
        head = await self._log.position()
        for file in self._files.values():
            position = file.position
            if position.created:
                bookmark = Bookmark(position.created, position.sequence, position.event, position.expires)
                try:
                    await check(self._log, bookmark)
                except LogReplaced as error:
                    raise LogReplaced(
                        f"{error.reason}; {file.path} was built from the known one. Bring that log back, or "
                        "move the file away: it is rebuilt from the log that is there"
                    ) from error
        return head

    async def _patiently(
        self, work: Callable[Asked, Coroutine[Any, Any, Value]], *args: Asked.args, **more: Asked.kwargs
    ) -> Value:
        """Do what may be done again until what is in its way has gone, and say so once."""
        told = False
        while True:
            try:
                value = await work(*args, **more)
            except (LogUnavailable, ProjectionLocked, ProjectionUnwritable) as error:
                if not told:
                    log.warning("the projections have to wait", reason=str(error))
                told = True
                await asyncio.sleep(_RETRY_S)
            else:
                if told:
                    log.info("the projections go on")
                return value

    # -- Bookkeeping

    def _open(self) -> None:
        with ExitStack() as so_far:
            for projection in self._projections:
                file = opened(self._directory, projection, patience=self._patience_s)
                so_far.callback(file.close)
                file.holds = self._holds
                self._files[projection.name] = file
            so_far.pop_all()

    def _close(self) -> None:
        for reader, _ in self._readers.values():
            reader.close()
        for file in self._files.values():
            file.close()
        self._readers, self._files = {}, {}

    def _reached(self, sequence: int) -> None:
        self._position = max(self._position, sequence)
        still: list[tuple[int, asyncio.Future[None]]] = []
        for wanted, waiting in self._waiting:
            if wanted > self._position:
                still.append((wanted, waiting))
            elif not waiting.done():
                waiting.set_result(None)
        self._waiting = still

    def _refuse_who_waits(self) -> None:
        for _, waiting in self._waiting:
            if not waiting.done():
                waiting.set_exception(self._not_ready("the projector has ended"))
        self._waiting = []

    def _must_run(self) -> None:
        if self._running is None or self._running.done():
            raise self._not_ready("the projector does not run")

    @staticmethod
    def _not_ready(why: str) -> Refusal:
        return Refusal(Code.NOT_READY, f"the projections are not ready: {why}")


async def _in_thread(work: Callable[Asked, Value], *args: Asked.args, **more: Asked.kwargs) -> Value:
    """Do blocking work in a thread; who is cancelled meanwhile still waits for its end."""
    working = asyncio.ensure_future(asyncio.to_thread(work, *args, **more))
    try:
        return await asyncio.shield(working)
    except asyncio.CancelledError:
        while not working.done():
            with suppress(asyncio.CancelledError):  # it may come more than once
                await asyncio.wait({working})
        raise
