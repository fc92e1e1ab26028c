"""Whatever is rebuilt from the log is what somebody knew who followed it live and was stopped then."""

import asyncio
import random
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any, Final

from roomledger.domain.decider import Decider
from roomledger.domain.scheduler import SCHEDULER
from roomledger.domain.scheduler_snapshot import SchedulerSnapshot, freeze
from roomledger.domain.scheduler_state import SchedulerState
from roomledger.event_store.jetstream import JetStreamStore
from roomledger.event_store.store import Filter, Head
from roomledger.processes.cluster_manager.following import Following
from roomledger.runtime.purposes import settings_of
from roomledger.runtime.rebuilding import Rebuilt, rebuilt
from roomledger.settings import Settings
from roomledger_events.envelope import Commit
from tests.processes.management_api.conftest import whole  # noqa: F401  - the fixture
from tests.processes.management_api.whole import Whole

MOMENTS: Final = 50
COMMITS: Final = 160
"""So many commits the log has at least."""
ROOMS: Final = 4


class UpTo:
    """A log as somebody saw it who was stopped at a sequence."""

    def __init__(self, store: JetStreamStore, last: int) -> None:
        self._store = store
        self._last = last

    def read(self, only: Filter = (), *, start: int = 1, until: int | None = None) -> AsyncGenerator[Commit]:
        last = self._last if until is None else min(until, self._last)
        return self._store.read(only, start=start, until=last)

    def stretches(
        self, only: Filter = (), *, start: int = 1, until: int | None = None
    ) -> AsyncGenerator[list[Commit]]:
        last = self._last if until is None else min(until, self._last)
        return self._store.stretches(only, start=start, until=last)

    async def position(self) -> Head:
        return (await self._store.position())._replace(sequence=self._last)


def decider(purpose: str) -> Decider[SchedulerState, Any]:
    return SCHEDULER(settings_of(Settings(), purpose))


class Watched:
    """A log that says of one who follows it when a moment has passed, before what came after it is told."""

    def __init__(self, store: JetStreamStore, moments: set[int], passed: Callable[[int], None]) -> None:
        self._store = store
        self._moments = sorted(moments)
        self._passed = passed

    async def follow(self, only: Filter = (), *, start: int = 1) -> AsyncGenerator[Commit]:
        waiting = list(self._moments)
        async with aclosing(self._store.follow(only, start=start)) as commits:
            async for commit in commits:
                while waiting and commit.sequence > waiting[0]:
                    self._passed(waiting.pop(0))
                if not waiting:
                    return
                yield commit


def known(following: Following) -> dict[str, tuple[SchedulerSnapshot, int]]:
    return {name: (freeze(each.state), each.sequence) for name, each in following.purposes.items()}


async def look(store: JetStreamStore, moments: set[int], seen: dict[int, dict[str, Any]]) -> None:
    """Follow a log live, and note what is known at each of these moments."""
    created = (await store.position()).created
    with Rebuilt() as state:
        async with aclosing(store.follow()) as commits:
            async for commit in commits:
                state.take_in([commit], created)
                if commit.sequence in moments:
                    seen[commit.sequence] = state.as_json()
                if len(seen) == len(moments):
                    return


async def run(whole: Whole, chance: random.Random) -> None:  # noqa: F811  - the fixture, handed on
    """Let people come and go until the log is long enough."""
    store = whole.cluster.access.store
    rooms = [await whole.room(f"room-{number}") for number in range(ROOMS)]
    present: list[tuple[str, str]] = []
    number = 0
    while (await store.position()).sequence < COMMITS:
        number += 1
        what = chance.random()
        if what < 0.6 or not present:
            room, name = chance.choice(rooms), f"user-{number}"
            await whole.join(room, name)
            present.append((room, name))
        elif what < 0.8:
            room, name = present.pop(chance.randrange(len(present)))
            answer = await whole.client.delete(f"/v1/rooms/{room}/participants/{name}")
            assert answer.status_code == 204, answer.text
        elif what < 0.9:
            token = await whole.token(chance.choice(rooms), f"user-{number}")
            await whole.client.delete(f"/v1/tokens/{token}")
        else:
            await whole.cluster.worker("portal", f"portal-{number}", port=8080)


async def test_a_state_at_a_random_moment_is_what_was_known_live_then(whole: Whole) -> None:  # noqa: F811  - the fixture
    chance = random.Random(20261123)  # noqa: S311  - which moments is no secret
    moments = set(chance.sample(range(1, COMMITS), MOMENTS))
    store = whole.cluster.access.store
    seen: dict[int, dict[str, Any]] = {}
    looking = asyncio.create_task(look(store, moments, seen))
    managers: dict[int, dict[str, tuple[SchedulerSnapshot, int]]] = {}

    def note(moment: int) -> None:
        managers[moment] = known(standby)

    # As a cluster manager follows that is not the active one.
    standby = Following(Watched(store, moments, note), decider)  # type: ignore[arg-type]  # it only follows
    following = standby.start()
    await run(whole, chance)
    # Who follows what managers read finds that the last moment has passed.
    await whole.cluster.worker("portal", "portal-last", port=8080)
    async with asyncio.timeout(60):
        await asyncio.gather(looking, following)
    for moment in sorted(moments):
        with await rebuilt(store, moment) as state:
            assert state.as_json() == seen[moment], moment
        manager = Following(UpTo(store, moment), decider)  # type: ignore[arg-type]  # it only reads
        await manager.catch_up()
        assert known(manager) == managers[moment], moment
    assert max(len(room["participants"]) for room in seen[max(moments)]["rooms"]) > 1
