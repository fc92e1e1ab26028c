"""The state of the cluster at a moment, rebuilt from the log alone.

The same projections are folded as the live ones, in memory, up to the moment.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import ExitStack, aclosing
from datetime import UTC, datetime
from itertools import takewhile
from pathlib import Path
from typing import Any, Final, Self

from roomledger.event_store.store import ReadableLog
from roomledger.runtime.arrivals import batches
from roomledger.runtime.errors import NoSuchMoment
from roomledger.runtime.progress import Progress
from roomledger_events.envelope import Commit
from roomledger_projections import cluster, rooms, tokens
from roomledger_projections.cluster import CLUSTER
from roomledger_projections.projection import Row, moment
from roomledger_projections.projection_file import Position, ProjectionFile
from roomledger_projections.rooms import ROOMS
from roomledger_projections.tokens import TOKENS

Moment = int | datetime | None
"""A sequence, a time, or None for where the log stands."""


_NEVER: Final = datetime.min.replace(tzinfo=UTC)
"""Before anything happened no token has expired."""


class Rebuilt:
    """What was known at a moment.

    Attributes:
        sequence: The sequence that the state is of.
        time: When that was: when the log stored its last commit, or the time that was asked for.
        unreadable: How many events were left out because this version cannot read them.
    """

    def __init__(self) -> None:
        self.sequence = 0
        self.time: datetime | None = None
        self.unreadable = 0
        self._cluster = ProjectionFile(CLUSTER)
        self._rooms = ProjectionFile(ROOMS)
        self._tokens = ProjectionFile(TOKENS)
        self._files = (self._cluster, self._rooms, self._tokens)

    def take_in(self, commits: list[Commit], created: str) -> None:
        """Fold commits in, in log order."""
        skipped = {each.address for file in self._files for each in file.take_in(commits, created)}
        self.unreadable += len(skipped)
        self.sequence, self.time = commits[-1].sequence, commits[-1].time

    def as_json(self) -> dict[str, Any]:
        """Return all of it as plain values."""
        found = self._rooms.ask(rooms.rooms_of)
        return {
            "sequence": self.sequence,
            "time": moment(self.time),
            "workers": self._cluster.ask(cluster.workers_of),
            "tasks": self._cluster.ask(cluster.tasks_of),
            "rooms": [room | {"participants": self._present(room)} for room in found],
            "tokens": [] if self.time is None else self._tokens.ask(tokens.tokens_of, self.time),
        }

    def part(self, service: str | None, *, newest_tokens: int) -> dict[str, Any]:
        """Return what a service may see, as plain values: all workers, and what belongs to its own rooms.

        Args:
            service: Its id; None for one that may see everything.
            newest_tokens: So many of the tokens at most; ``token_count`` says how many there are.
        """
        found = self._rooms.ask(rooms.rooms_of, service)
        tasks = self._cluster.ask(cluster.tasks_of)
        if service is not None:
            owned = {room["id"] for room in found}
            codes = [task["id"] for task in tasks if task["purpose"] == "portal"]
            _, portals = self._tokens.ask(tokens.tokens_owned, service, (), codes)
            seen = {"conference": owned, "portal": portals}
            tasks = [task for task in tasks if task["id"] in seen.get(task["purpose"], ())]
        now = self.time or _NEVER
        newest, count = self._tokens.ask(tokens.newest_tokens, now, service, limit=newest_tokens)
        return {
            "sequence": self.sequence,
            "time": moment(self.time),
            "workers": self._cluster.ask(cluster.workers_of),
            "tasks": tasks,
            "rooms": [room | {"participants": self._present(room)} for room in found],
            "tokens": newest,
            "token_count": count,
        }

    def keep(self, directory: Path) -> None:
        """Write the state to files in a directory, which must be there.

        Raises:
            ProjectionError: They cannot be written.
        """
        for file in self._files:
            file.copy_to(directory / f"{file.projection.name}.sqlite")

    def bring_back(self, directory: Path, time: datetime) -> None:
        """Take the state from files that `keep` wrote.

        Args:
            directory: Where they are.
            time: When the log stored the last commit that they have taken in.

        Raises:
            ProjectionError: They cannot be read, are something else, or of another version.
        """
        for file in self._files:
            file.copy_from(directory / f"{file.projection.name}.sqlite")
        self.sequence, self.time = self._rooms.position.sequence, time

    @property
    def position(self) -> Position:
        """How far it has taken the log in."""
        return self._rooms.position

    def close(self) -> None:
        """Let go of the memory."""
        for file in self._files:
            file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _present(self, room: Row) -> list[Row]:
        return self._rooms.ask(rooms.participants_of, room["id"])


async def rebuilt(
    log: ReadableLog, at: Moment = None, *, on_progress: Callable[[Progress], None] = lambda _: None
) -> Rebuilt:
    """Return the state at a moment, to be closed when it is no longer needed.

    Args:
        log: The log.
        at: A sequence: the state with its commit taken in. A time, with its zone: with all taken in that the
            log had stored by then.
        on_progress: Told after each batch.

    Raises:
        NoSuchMoment: It is before the log's first commit or after its last one.
        EventStoreError: The log cannot be read.
    """
    with ExitStack() as undo:
        state = undo.enter_context(Rebuilt())
        await carry_on(state, log, at, on_progress=on_progress)
        undo.pop_all()
    return state


async def carry_on(
    state: Rebuilt,
    log: ReadableLog,
    at: Moment = None,
    *,
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> None:
    """Take a state on to a later moment; see `rebuilt`.

    Raises:
        NoSuchMoment: It is before the log's first commit, after its last one, or before the state.
        EventStoreError: The log cannot be read.
    """
    head = await log.position()
    last = at if isinstance(at, int) else head.sequence
    if at is not None and head.sequence == 0:
        raise NoSuchMoment("the log is empty")
    if last > head.sequence:
        raise NoSuchMoment(f"the log ends at sequence {head.sequence}, before {last}")
    if state.sequence > last or (isinstance(at, datetime) and state.time is not None and state.time > at):
        raise NoSuchMoment(f"{_shown(last if at is None else at)} is before sequence {state.sequence}")
    commits = log.read(start=state.sequence + 1, until=last)
    whole = await _read(commits, state, at, Progress(state.sequence, last, 0), head.created, on_progress)
    if at is not None and state.time is None:
        raise NoSuchMoment(f"the log begins {await _beginning(log, at)}, after {_shown(at)}")
    if isinstance(at, datetime) and whole and state.time is not None and state.time < at:
        raise NoSuchMoment(f"the log ends at {moment(state.time)}, before {moment(at)}")
    if isinstance(at, datetime):
        state.time = at
    else:
        state.sequence = last


async def _read(
    commits: AsyncGenerator[Commit],
    state: Rebuilt,
    at: Moment,
    progress: Progress,
    created: str,
    on_progress: Callable[[Progress], None],
) -> bool:
    """Take commits in up to the moment; whether that was all of them."""
    async with aclosing(batches(commits)) as arrived:
        async for batch in arrived:
            wanted = batch
            if isinstance(at, datetime):
                wanted = list(takewhile(lambda commit: commit.time <= at, batch))
            if wanted:
                await asyncio.to_thread(state.take_in, wanted, created)
                events = progress.events + sum(len(commit.events) for commit in wanted)
                progress = Progress(state.sequence, progress.last, events)
                on_progress(progress)
            if len(wanted) < len(batch):
                return False
    return True


async def _beginning(log: ReadableLog, at: int | datetime) -> str:
    async with aclosing(log.read()) as commits:
        async for commit in commits:
            return f"at sequence {commit.sequence}" if isinstance(at, int) else f"at {moment(commit.time)}"
    return "with nothing that is still there"


def _shown(at: int | datetime) -> str | None:
    return str(at) if isinstance(at, int) else moment(at)
