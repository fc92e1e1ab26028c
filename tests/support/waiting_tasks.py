"""Reservations that outlive every manager, and a burst that outruns the workers' reports."""

import asyncio
import contextlib
import random
import signal
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, NamedTuple

from roomledger.domain.decider import Context
from roomledger.domain.placement import Schedule
from roomledger.domain.purpose import PurposeSettings
from roomledger.domain.scheduler import SCHEDULER
from roomledger.runtime.ending import end
from roomledger_events.subjects import Boundary, Kind
from roomledger_events.tasks import Preference, ReservationExpired, WorkerReserved
from roomledger_events.workers import SchedulerTakenOver
from tests.support.cluster import event
from tests.support.takeover import Access, Managed, managed

LEASE_MS: Final = 3_600_000
STRATEGIES: Final = {"turns": "round-robin", "weighed": "weight-robin"}
PICKS: Final = 20


class Outlived(NamedTuple):
    """What became of reservations that all managers were killed over.

    Attributes:
        late: By how much each ran out after its time, in seconds; negative for too early. Where a manager was
            there only later, after that.
        overdue: How many had run out before a manager was there again.
        never: How many did not run out.
        picks: By purpose, who was picked next.
        foretold: By purpose, who would have been without the kill.
    """

    late: list[float]
    overdue: int
    never: int
    picks: dict[str, list[str]]
    foretold: dict[str, list[str]]


async def outlive(access: Access, path: Path, *, count: int, spread_s: float, managers: int = 3) -> Outlived:
    """Kill all managers over waiting reservations, start them again, and return what comes of it.

    Args:
        access: Where a log is.
        path: A directory for the managers' data.
        count: How many reservations.
        spread_s: How much later the last one runs out than the first.
        managers: How many there are.
    """
    settings: dict[str, dict[str, object]] = {
        "default": {"lease_ms": LEASE_MS},
        "waiting": {"task_load": 0.0, "lease_ms": LEASE_MS},
    } | {purpose: {"strategy": name, "lease_ms": LEASE_MS} for purpose, name in STRATEGIES.items()}
    loop = asyncio.get_running_loop()
    began = loop.time()
    async with managed(access, path, settings, count=managers) as cluster:
        # The first one runs out when the managers are back, however slow this machine starts them just now.
        lead_s = 2 * (loop.time() - began) + 3 + count / 1000
        await cluster.join("waiting", (f"w{number}" for number in range(10)))
        for purpose in STRATEGIES:
            for number in range(7):
                await cluster.join(purpose, [f"{purpose}-{number}"], load=0.1 + number / 10)
            for number in range(PICKS):
                await cluster.calls.schedule(purpose, f"before-{number}", reserve_ms=LEASE_MS)
        await _reserve(cluster, count, lead_s, spread_s)
        names = list(cluster.managers.running)
        for name in names:
            cluster.managers.running[name].send(signal.SIGKILL)
        for name in names:
            await cluster.managers.end(name)
        foretold = {purpose: await _foretell(cluster, purpose) for purpose in STRATEGIES}
        await asyncio.gather(*(cluster.managers.start(name) for name in names))
        picks: dict[str, list[str]] = {purpose: [] for purpose in STRATEGIES}
        for purpose, picked in picks.items():
            for number in range(PICKS):
                found = await cluster.calls.schedule(purpose, f"after-{number}", reserve_ms=LEASE_MS)
                picked.append(found.worker)
        late, overdue, never = await _expiries(cluster, count)
    return Outlived(late, overdue, never, picks, foretold)


async def _reserve(cluster: Managed, count: int, lead_s: float, spread_s: float) -> None:
    first = datetime.now(UTC) + timedelta(seconds=lead_s)
    numbers = iter(range(count))

    async def reserve() -> None:
        for number in numbers:
            expires_at = first + timedelta(seconds=spread_s * number / count)
            left = round((expires_at - datetime.now(UTC)).total_seconds() * 1000)
            await cluster.calls.schedule("waiting", f"t{number}", reserve_ms=left)

    async with asyncio.TaskGroup() as group:
        for _ in range(64):
            group.create_task(reserve())


async def _foretell(cluster: Managed, purpose: str) -> list[str]:
    """Ask the rules alone, on what stands in the log."""
    decider = SCHEDULER(PurposeSettings(purpose, STRATEGIES[purpose], lease_ms=LEASE_MS))
    state = decider.initial()
    sequence = 0
    for commit in await cluster.commits(Boundary(Kind.SCHEDULER, purpose), Boundary(Kind.LOAD, purpose)):
        sequence = commit.sequence
        for each in commit.events:
            state = decider.evolve(state, each)
    picked = []
    for number in range(PICKS):
        task = f"after-{number}"
        context = Context(datetime.now(UTC), sequence, 0.5, "", "test")
        decision = decider.decide(state, Schedule(task, Preference(), LEASE_MS), context)
        picked.append(decision.answer.worker)
        for fact in decision.facts:
            state = decider.evolve(state, event(fact.data, fact.about))
    return picked


async def _expiries(cluster: Managed, count: int) -> tuple[list[float], int, int]:
    due: dict[str, datetime] = {}
    late: list[float] = []
    overdue = 0
    taken_over_at = last = datetime.now(UTC)

    async def read() -> None:
        nonlocal last, overdue, taken_over_at
        follow = cluster.store.follow((Boundary(Kind.SCHEDULER, "waiting"),))
        async with contextlib.aclosing(follow) as commits:
            async for commit in commits:
                for each in commit.events:
                    match each.data:
                        case SchedulerTakenOver():
                            taken_over_at = each.time
                        case WorkerReserved():
                            due[each.data.task] = each.data.expires_at
                            last = max(last, each.data.expires_at)
                        case ReservationExpired():
                            expires_at = due.pop(each.data.task)
                            overdue += expires_at < taken_over_at
                            late.append((each.time - max(expires_at, taken_over_at)).total_seconds())
                        case _:
                            pass
                if len(late) == count:
                    return

    reading = asyncio.create_task(read())
    while not reading.done() and datetime.now(UTC) < last + timedelta(seconds=5):
        await asyncio.wait({reading}, timeout=0.2)
    if reading.done():
        reading.result()
    await end(reading)
    return late, overdue, len(due)


async def burst(
    cluster: Managed, *, purpose: str, workers: int, tasks: int, seconds: float, jitter: random.Random | None
) -> Sequence[int]:
    """Ask for tasks within some seconds, while each second every worker reports what it had long before.

    Args:
        cluster: Where.
        purpose: Whose strategy is meant.
        workers: How many, all equal.
        tasks: How many.
        seconds: The time that they come in.
        jitter: When in a second each worker reports; without it they take turns.

    Returns:
        How many tasks each worker got.
    """
    names = [f"{purpose}-{number}" for number in range(workers)]
    await cluster.join(purpose, names)
    loop = asyncio.get_running_loop()
    began = loop.time()
    given: Counter[str] = Counter(dict.fromkeys(names, 0))

    async def report(name: str, phase: float) -> None:
        for second in range(round(seconds)):
            await asyncio.sleep(max(0.0, began + second + phase - loop.time()))
            await cluster.calls.report_load(name, 0.1)

    async def ask(number: int) -> None:
        await asyncio.sleep(max(0.0, began + seconds * number / tasks - loop.time()))
        given[(await cluster.calls.schedule(purpose, f"t{number}", reserve_ms=LEASE_MS)).worker] += 1

    async with asyncio.TaskGroup() as group:
        for number, name in enumerate(names):
            phase = number / workers if jitter is None else jitter.random()
            group.create_task(report(name, phase))
        for number in range(tasks):
            group.create_task(ask(number))
    return list(given.values())
