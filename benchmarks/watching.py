"""Follows the log live, as a process of its own, and says what it knows at random moments.

    python -m benchmarks.watching GAP SEED

For each moment it writes a line of JSON: the sequence, the digest of the state of the cluster (workers,
tasks, rooms with who is in them, tokens), how many of each there are, and what the active manager answers
when it is asked for the digests of its own states.  When its standard input ends, it goes on to where the log
stands then.
"""

import asyncio
import hashlib
import json
import sys
from collections.abc import Sequence
from contextlib import aclosing
from pathlib import Path
from random import Random
from typing import Any

import msgspec

from roomledger.domain.checking_tasks import Claim
from roomledger.domain.errors import Refusal
from roomledger.domain.purpose import PurposeSettings
from roomledger.event_store.file_log import FileLog
from roomledger.runtime.access import Access, open_access
from roomledger.runtime.ending import end
from roomledger.runtime.rebuilding import Rebuilt, carry_on
from roomledger.runtime.verifying import verified
from roomledger.sdk.cluster import Cluster
from roomledger.settings import load
from roomledger_events.subjects import EXPIRING

KINDS = ("workers", "tasks", "rooms", "tokens")


class Seen(msgspec.Struct):
    """What was known at a moment.

    Attributes:
        sequence: Up to where the log was taken in.
        digest: Of the state.
        counts: How many workers, tasks, rooms and tokens there were, and how many participants.
        managers: What the active manager said of its states then, each at its own sequence.
    """

    sequence: int
    digest: str
    counts: dict[str, int]
    managers: list[Claim]


def digest_of(state: dict[str, Any]) -> str:
    """Return a digest of a state as ``replay --json`` prints it."""
    return hashlib.sha256(json.dumps(state, sort_keys=True).encode()).hexdigest()


def counts_of(state: dict[str, Any]) -> dict[str, int]:
    """Return how much there is in a state."""
    present = sum(len(room["participants"]) for room in state["rooms"])
    return {kind: len(state[kind]) for kind in KINDS} | {"participants": present}


class Watcher:
    """One who follows the log.

    Args:
        access: The log.
        gap: How many sequences lie between two moments, on average.
        chance: Says how many.
    """

    def __init__(self, access: Access, gap: int, chance: Random) -> None:
        self._sequence = 0
        self._goal: int | None = None
        self._there = asyncio.Event()
        self._access = access
        self._gap = gap
        self._chance = chance
        self._cluster = Cluster(access.broker, actor="watching")

    async def follow(self) -> None:
        """Take in whatever happens, for ever."""
        store = self._access.store
        created = (await store.position()).created
        moment = self._next(0)
        with Rebuilt() as state:
            async with aclosing(store.follow()) as commits:
                async for commit in commits:
                    state.take_in([commit], created)
                    self._sequence = commit.sequence
                    self._look()
                    # What expires may be gone when somebody looks at this moment again.
                    if commit.sequence >= moment and commit.boundary.kind not in EXPIRING:
                        moment = self._next(commit.sequence)
                        await self._say(state.as_json())

    async def reached(self, sequence: int) -> None:
        """Return when it has taken the log in up to there."""
        self._goal = sequence
        self._look()
        await self._there.wait()

    def _look(self) -> None:
        if self._goal is not None and self._sequence >= self._goal:
            self._there.set()

    async def _say(self, state: dict[str, Any]) -> None:
        seen = Seen(state["sequence"], digest_of(state), counts_of(state), await self._managers())
        sys.stdout.write(msgspec.json.encode(seen).decode() + "\n")
        sys.stdout.flush()

    async def _managers(self) -> list[Claim]:
        try:
            answer = await self._cluster.digest()
        except Refusal:  # none is active at this moment
            return []
        who = f"the manager {answer.manager}"
        return [Claim(who, name, told.sequence, told.digest) for name, told in answer.purposes.items()]

    def _next(self, after: int) -> int:
        return after + self._chance.randint(1, 2 * self._gap - 1)


def read(watched: Path) -> list[Seen]:
    """Return what a watcher wrote."""
    return [msgspec.json.decode(line, type=Seen) for line in watched.read_bytes().splitlines()]


async def compared(file: Path, watched: Path) -> list[dict[str, Any]]:
    """Return how the states of then that a log leads to compare with what was known live.

    Args:
        file: The exported log.
        watched: What a watcher wrote.
    """
    seen = read(watched)
    log = FileLog.open(file)
    with Rebuilt() as state:
        differing = [each for each in seen if await _digest_at(state, log, each.sequence) != each.digest]
    claims = [claim for each in seen for claim in each.managers]
    report = await verified(log, PurposeSettings.default, claims=claims)
    log.close()
    for each in differing:
        sys.stderr.write(f"the state at {each.sequence} is not what was known live\n")
    return [
        {"what": "states at random moments", "count": len(seen), "seconds": ""},
        {"what": "participants at most at one of them", "count": _most(seen, "participants"), "seconds": ""},
        {"what": "tasks at most at one of them", "count": _most(seen, "tasks"), "seconds": ""},
        {"what": "states that are not what was known", "count": len(differing), "seconds": ""},
        {"what": "states of managers", "count": report.figures["states compared"], "seconds": ""},
        {"what": "findings with these", "count": report.wrong, "seconds": ""},
    ]


async def _digest_at(state: Rebuilt, log: FileLog, sequence: int) -> str:
    await carry_on(state, log, sequence)
    return digest_of(state.as_json())


def _most(seen: Sequence[Seen], kind: str) -> int:
    return max((each.counts[kind] for each in seen), default=0)


async def watch(gap: int, seed: int) -> None:
    """Watch until the standard input ends, and then up to where the log stands."""
    access = await open_access(load(), name="roomledger watching")
    watcher = Watcher(access, gap, Random(seed))  # noqa: S311  - which moments is no secret
    following = asyncio.create_task(watcher.follow())
    reading = asyncio.create_task(asyncio.to_thread(sys.stdin.read))
    await asyncio.wait({following, reading}, return_when=asyncio.FIRST_COMPLETED)
    last = (await access.store.position()).sequence
    reaching = asyncio.create_task(watcher.reached(last))
    await asyncio.wait({following, reaching}, return_when=asyncio.FIRST_COMPLETED)
    if following.done():
        await following
    await end(following, reaching)
    await access.close()


if __name__ == "__main__":
    asyncio.run(watch(int(sys.argv[1]), int(sys.argv[2])))
