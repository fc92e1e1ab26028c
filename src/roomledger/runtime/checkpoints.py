"""States of the cluster kept on disk, so that the state at a moment need not be rebuilt from the beginning.

They are made on the way by whoever asks, and may be deleted at any time.
"""

import asyncio
import shutil
from contextlib import ExitStack
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
import structlog

from roomledger.event_store.errors import LogReplaced
from roomledger.event_store.store import Bookmark, ReadableLog, check
from roomledger.runtime.errors import NoSuchMoment, TooFarToRead
from roomledger.runtime.moments import span
from roomledger.runtime.rebuilding import Moment, Rebuilt, carry_on
from roomledger_projections.errors import ProjectionError

log = structlog.get_logger(__name__)

EVERY: Final = 50_000
"""So many commits lie between two checkpoints at least."""
KEPT: Final = 16
"""So many are kept at most; those go that leave the smallest gaps."""
_ABOUT: Final = "checkpoint.json"


class About(msgspec.Struct):
    """What stands beside the files of a checkpoint: when the log stored its last commit."""

    time: datetime


class Checkpoint(NamedTuple):
    """A state on disk.

    Attributes:
        sequence: The sequence that it is of.
        directory: Where it is.
    """

    sequence: int
    directory: Path


class Checkpoints:
    """States at moments of one log, helped by what is kept in a directory; for one question at a time.

    Args:
        store: The log.
        directory: Where they are kept; made when needed.
        reach: So many commits are read at most for an answer.
        every: So many commits lie between two checkpoints.
        kept: So many are kept.
    """

    def __init__(
        self, store: ReadableLog, directory: Path, *, reach: int, every: int = EVERY, kept: int = KEPT
    ) -> None:
        self._store = store
        self._directory = directory
        self._reach = reach
        self._every = every
        self._kept = kept

    async def state(self, at: Moment = None) -> Rebuilt:
        """Return the state at a moment, to be closed when it is no longer needed; see `rebuilt`.

        Raises:
            NoSuchMoment: The log does not reach that moment.
            TooFarToRead: It is too far from the last checkpoint before it.
            EventStoreError: The log cannot be read.
            OSError: A checkpoint cannot be written.
            ProjectionError: Likewise.
        """
        goal = await self._goal(at)
        with ExitStack() as undo:
            state = undo.enter_context(await self._nearest(goal))
            if goal - state.sequence > self._reach:
                raise TooFarToRead(goal, state.sequence, self._reach)
            while (next_one := (state.sequence // self._every + 1) * self._every) < goal:
                await carry_on(state, self._store, next_one)
                await asyncio.to_thread(self._keep, state)
            await carry_on(state, self._store, at)
            undo.pop_all()
        return state

    async def _goal(self, at: Moment) -> int:
        """Return the sequence that a moment is of; that it is beside the log is for `carry_on` to say."""
        if isinstance(at, int):
            return at if at <= (await self._store.position()).sequence else 0
        try:
            return (await span(self._store, None, at)).last
        except NoSuchMoment:
            return 0

    async def _nearest(self, goal: int) -> Rebuilt:
        """Return the state of the last good checkpoint before a sequence, or of the beginning."""
        for checkpoint in await asyncio.to_thread(self._found):
            if checkpoint.sequence <= goal:
                state = await asyncio.to_thread(_brought_back, checkpoint)
                if state is not None and await self._is_of_this_log(state):
                    return state
                if state is not None:
                    state.close()
                log.warning("a checkpoint does not fit and is removed", directory=str(checkpoint.directory))
                await asyncio.to_thread(shutil.rmtree, checkpoint.directory)
        return Rebuilt()

    async def _is_of_this_log(self, state: Rebuilt) -> bool:
        position = state.position
        bookmark = Bookmark(position.created, position.sequence, position.event, position.expires)
        try:
            await check(self._store, bookmark)
        except LogReplaced:
            return False
        return True

    def _found(self) -> list[Checkpoint]:
        """Return the checkpoints, the last one first."""
        if not self._directory.is_dir():
            return []
        names = [each for each in self._directory.iterdir() if each.name.isdecimal()]
        return sorted((Checkpoint(int(each.name), each) for each in names), reverse=True)

    def _keep(self, state: Rebuilt) -> None:
        directory = self._directory / str(state.sequence)
        if state.time is None or directory.exists():
            return
        making = self._directory / "making"
        shutil.rmtree(making, ignore_errors=True)
        making.mkdir(parents=True)
        state.keep(making)
        (making / _ABOUT).write_bytes(msgspec.json.encode(About(state.time)))
        making.rename(directory)  # whoever is killed before leaves nothing that could be taken for one
        for checkpoint in superfluous(self._found(), self._kept):
            shutil.rmtree(checkpoint.directory)


def superfluous(checkpoints: list[Checkpoint], kept: int) -> list[Checkpoint]:
    """Return the checkpoints that go, so that so many are left, which are as even apart as may be.

    Args:
        checkpoints: All that there are, the last one first.
        kept: How many are to be left.
    """
    left, gone = sorted(checkpoints), []
    while len(left) > kept:
        ends = [0, *(each.sequence for each in left)]
        gaps = {left[number]: after - before for number, (before, after) in enumerate(_around(ends))}
        least = min(gaps, key=lambda each: (gaps[each], each.sequence))
        left.remove(least)
        gone.append(least)
    return gone


def _around(ends: list[int]) -> list[tuple[int, int]]:
    """Return of each but the first and the last what is before and behind it."""
    return [(before, behind) for (before, _), (_, behind) in pairwise(pairwise(ends))]


def _brought_back(checkpoint: Checkpoint) -> Rebuilt | None:
    state = Rebuilt()
    try:
        about = msgspec.json.decode((checkpoint.directory / _ABOUT).read_bytes(), type=About)
        state.bring_back(checkpoint.directory, about.time)
    except (OSError, msgspec.DecodeError, ProjectionError):
        state.close()
        return None
    state.sequence = max(state.sequence, checkpoint.sequence)
    return state
