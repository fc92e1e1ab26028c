from collections.abc import AsyncGenerator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from roomledger.event_store.memory import MemoryStore
from roomledger.event_store.store import Filter
from roomledger.runtime.checkpoints import Checkpoint, Checkpoints, superfluous
from roomledger.runtime.errors import NoSuchMoment, TooFarToRead
from roomledger.runtime.rebuilding import Moment, rebuilt
from roomledger_events.envelope import Commit
from roomledger_events.rooms import ParticipantLeft
from roomledger_events.workers import LoadReported
from tests.support.commits import (
    PORTAL,
    PORTAL_LOAD,
    ROOM,
    START,
    TOKENS,
    created,
    issued,
    joined,
    joined_worker,
)
from tests.support.stored import Teller

LAST = 41


class Counted(MemoryStore):
    """A log that counts what is read of it."""

    sequences: list[int]

    def read(self, only: Filter = (), *, start: int = 1, until: int | None = None) -> AsyncGenerator[Commit]:
        return self._counted(super().read(only, start=start, until=until))

    async def _counted(self, commits: AsyncGenerator[Commit]) -> AsyncGenerator[Commit]:
        async for commit in commits:
            self.sequences.append(commit.sequence)
            yield commit


@pytest.fixture
async def log() -> Counted:
    """A log of forty-one commits, one a second, the first of them at second 1."""
    seconds = iter(range(1, 1000))
    store = Counted(clock=lambda: START + timedelta(seconds=next(seconds)))
    store.sequences = []
    teller = Teller(store)
    await teller.tell(PORTAL, joined_worker("w1"))
    await teller.tell(ROOM, created())
    for number in range(12):
        await teller.tell(TOKENS, issued(f"t{number}"))
        await teller.tell(ROOM, joined(f"p{number}", f"t{number}"))
        await teller.tell(ROOM, ParticipantLeft(participant=f"p{number // 2}", reason="logout"))
    await teller.tell(PORTAL_LOAD, LoadReported(worker="w1", load=0.5))
    await teller.tell(TOKENS, issued("t98"))
    await teller.tell(TOKENS, issued("t99"))
    store.sequences.clear()
    return store


def checkpoints(log: MemoryStore, path: Path, *, reach: int = 1000, every: int = 10) -> Checkpoints:
    return Checkpoints(log, path / "checkpoints", reach=reach, every=every, kept=100)


async def state_of(kept: Checkpoints, at: Moment = None) -> dict[str, Any]:
    with await kept.state(at) as state:
        return state.as_json()


async def test_it_is_the_state_that_is_rebuilt_from_the_beginning(log: Counted, tmp_path: Path) -> None:
    for at in (*range(1, LAST + 1), *(START + timedelta(seconds=second) for second in (1, 9.5, 10, 31.5))):
        with await rebuilt(log, at) as state:
            expected = state.as_json()
        assert await state_of(checkpoints(log, tmp_path), at) == expected, at


async def test_only_what_follows_the_last_checkpoint_is_read(log: Counted, tmp_path: Path) -> None:
    await state_of(checkpoints(log, tmp_path))
    assert sorted(each.name for each in (tmp_path / "checkpoints").iterdir()) == ["10", "20", "30", "40"]
    log.sequences.clear()
    await state_of(checkpoints(log, tmp_path), 25)
    assert sorted(set(log.sequences)) == [20, 21, 22, 23, 24, 25]


async def test_a_state_that_was_kept_is_read_from_files_alone(log: Counted, tmp_path: Path) -> None:
    await state_of(checkpoints(log, tmp_path))
    log.sequences.clear()
    assert (await state_of(checkpoints(log, tmp_path), 20))["sequence"] == 20
    assert set(log.sequences) == {20}


async def test_a_moment_that_is_too_far_is_refused(log: Counted, tmp_path: Path) -> None:
    kept = checkpoints(log, tmp_path, reach=15)
    with pytest.raises(TooFarToRead) as refused:
        await kept.state(38)
    assert "sequence 38 is more than 15 commits after 0" in str(refused.value)
    assert "ask for 15 first" in str(refused.value)
    await state_of(kept, 15)
    await state_of(kept, 25)
    await state_of(kept, 35)
    assert (await state_of(kept, 38))["sequence"] == 38


@pytest.mark.parametrize("at", [0, 42, START, START + timedelta(hours=1)])
async def test_a_moment_beside_the_log_is_refused(log: Counted, tmp_path: Path, at: Moment) -> None:
    with pytest.raises(NoSuchMoment):
        await checkpoints(log, tmp_path).state(at)


async def test_what_was_kept_of_another_log_is_removed(log: Counted, tmp_path: Path) -> None:
    await state_of(checkpoints(log, tmp_path))
    log.replace()
    log._known = log.created  # as one who opens it then
    teller = Teller(log)
    for number in range(20):
        await teller.tell(TOKENS, issued(f"other-{number}"))
    state = await state_of(checkpoints(log, tmp_path), 15)
    assert [token["id"] for token in state["tokens"]] == [f"other-{number}" for number in range(15)]


@pytest.mark.parametrize("damaged", ["rooms.sqlite", "checkpoint.json"])
async def test_what_is_damaged_is_made_again(log: Counted, tmp_path: Path, damaged: str) -> None:
    expected = await state_of(checkpoints(log, tmp_path), 15)
    (tmp_path / "checkpoints" / "10" / damaged).write_bytes(b"no longer what it was")
    assert await state_of(checkpoints(log, tmp_path), 15) == expected
    assert await state_of(checkpoints(log, tmp_path), 15) == expected


async def test_what_a_kill_left_unfinished_counts_for_nothing(log: Counted, tmp_path: Path) -> None:
    unfinished = tmp_path / "checkpoints" / "making"
    unfinished.mkdir(parents=True)
    (unfinished / "rooms.sqlite").write_bytes(b"half of it")
    assert (await state_of(checkpoints(log, tmp_path), 15))["sequence"] == 15
    assert sorted(each.name for each in unfinished.parent.iterdir()) == ["10"]


async def test_an_empty_log_has_a_state_with_nothing_in_it(tmp_path: Path) -> None:
    assert (await state_of(checkpoints(MemoryStore(), tmp_path)))["sequence"] == 0


def of(sequences: Sequence[int]) -> list[Checkpoint]:
    return [Checkpoint(sequence, Path(str(sequence))) for sequence in sorted(sequences, reverse=True)]


def test_those_go_that_leave_the_smallest_gaps() -> None:
    assert [each.sequence for each in superfluous(of([10, 20, 21, 30, 40]), 4)] == [21]
    assert superfluous(of([10, 20, 30]), 3) == []


def test_many_are_left_about_even_apart_and_the_last_one_stays() -> None:
    left: list[int] = []
    for sequence in range(10, 1010, 10):
        left.append(sequence)
        gone = {each.sequence for each in superfluous(of(left), 8)}
        left = [each for each in left if each not in gone]
    assert len(left) == 8
    assert left[-1] == 1000
    assert max(after - before for before, after in zip([0, *left], left, strict=False)) <= 300
