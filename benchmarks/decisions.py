"""What a scheduling decision costs in the pure core, and what a reservation weighs.

    python -m benchmarks.decisions [--json] [--decisions N] [--workers N ...]

A decision is `decide` and `evolve` of one `Schedule`, without the log.  The bars: among 100,000 workers it
costs at most twice what it costs among 100, whatever the strategy; a reservation weighs less than 950 bytes.
"""

import argparse
import gc
import json
import sys
import time
import tracemalloc
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from statistics import median, quantiles
from typing import Any, Final

from roomledger.domain.decider import Context, Decider
from roomledger.domain.membership import Command
from roomledger.domain.placement import Schedule
from roomledger.domain.purpose import PurposeSettings, StrategyName
from roomledger.domain.scheduler import SCHEDULER
from roomledger.domain.scheduler_state import SchedulerState
from roomledger_events.envelope import Event, Payload
from roomledger_events.identifiers import new_id
from roomledger_events.tasks import Preference
from roomledger_events.workers import Capacity, LoadReported, WorkerInfo, WorkerJoined

START: Final = datetime(2025, 1, 1, tzinfo=UTC)
WORKERS: Final = (10, 100, 1_000, 10_000, 100_000)
ISPS: Final = ("north", "south", "east")
REGIONS: Final = tuple(f"region-{number}" for number in range(8))
MAX_RATIO: Final = 2.0
MAX_BYTES: Final = 950

Purpose = Decider[SchedulerState, Command]


def event(data: Payload, about: str) -> Event:
    """Put data into an envelope, as the writer does."""
    return Event.of(
        data,
        about=about,
        id="0190b6c0-0000-7000-8000-000000000000",
        source="benchmark/1",
        time=START,
        correlation=about,
        actor="benchmark",
    )


def populated(decider: Purpose, workers: int) -> SchedulerState:
    """Return a state with workers that serve various isps and regions, with various loads."""
    state = decider.initial()
    for number in range(workers):
        isps = ISPS[number % 4 : number % 4 + 1]
        capacity = Capacity(isps=isps, regions=(REGIONS[number // 4 % 8],))
        info = WorkerInfo(ip="10.0.0.1", port=8080, max_load=0.95, capacity=capacity)
        name = f"worker-{number}"
        state = decider.evolve(state, event(WorkerJoined(worker=name, purpose="portal", info=info), name))
        load = (number * 7919 % 500) / 1000
        state = decider.evolve(state, event(LoadReported(worker=name, load=load), name))
    return state


def settings(strategy: str) -> PurposeSettings:
    """Return settings under which ten workers do not fill up."""
    return replace(PurposeSettings.default("portal"), strategy=strategy, task_load=0.000_01)


def measure(strategy: str, sizes: Sequence[int], decisions: int) -> list[dict[str, Any]]:
    """Return the µs per decision by number of workers; sizes take turns, to meet the same noise."""
    decider = SCHEDULER(settings(strategy))
    states = {size: populated(decider, size) for size in sizes}
    spent: dict[int, list[float]] = {size: [] for size in sizes}
    gc.collect()
    gc.freeze()
    rounds = 20
    for number in range(rounds):
        for size in sizes:
            spent[size] += run(decider, states[size], number * decisions, decisions // rounds)
    gc.unfreeze()
    return [
        {
            "strategy": strategy,
            "workers": size,
            "p50_us": round(median(times), 2),
            "p99_us": round(quantiles(times, n=100)[98], 2),
        }
        for size, times in spent.items()
    ]


def run(decider: Purpose, state: SchedulerState, first: int, decisions: int) -> list[float]:
    """Decide about new tasks one after the other; return the µs of each."""
    times = []
    for number in range(first, first + decisions):
        task = f"task-{number}"
        wish = Preference(isp=ISPS[number % 3], region=REGIONS[number % 8])
        command = Schedule(task, wish)
        context = Context(START + timedelta(milliseconds=number), 1, number * 0.618_033_988 % 1, task)
        began = time.perf_counter_ns()
        decision = decider.decide(state, command, context)
        decided = time.perf_counter_ns()
        happened = event(decision.facts[0].data, task)
        resumed = time.perf_counter_ns()
        state = decider.evolve(state, happened)
        ended = time.perf_counter_ns()
        times.append((decided - began + ended - resumed) / 1000)
    return times


def reservation_bytes(reservations: int) -> float:
    """Return what a reservation weighs in the state, with its own strings."""
    decider = SCHEDULER(settings(StrategyName.LEAST_USED))
    state = populated(decider, 100)
    gc.collect()
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    for number in range(reservations):
        task = new_id()
        context = Context(START + timedelta(milliseconds=number), 1, 0.0, task)
        decision = decider.decide(state, Schedule(task), context)
        happened = event(decision.facts[0].data, task)
        state = decider.evolve(state, happened)
    del decision, happened, context
    gc.collect()
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(state.tasks) == reservations
    return (after - before) / reservations


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; the exit code says whether the bars were held."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--decisions", type=int, default=10_000, help="for each strategy and size")
    parser.add_argument("--workers", type=int, nargs="+", default=list(WORKERS), help="sizes to measure")
    parser.add_argument("--strategies", nargs="+", default=list(StrategyName), help="strategies to measure")
    given = parser.parse_args(arguments)

    rows: list[dict[str, Any]] = []
    ratios: dict[str, float] = {}
    for strategy in given.strategies:
        found = measure(strategy, given.workers, given.decisions)
        rows += found
        by_size = {row["workers"]: row["p50_us"] for row in found}
        if 100 in by_size and 100_000 in by_size:
            ratios[strategy] = round(by_size[100_000] / by_size[100], 2)
    weight = round(reservation_bytes(100_000))
    held = weight < MAX_BYTES and all(ratio <= MAX_RATIO for ratio in ratios.values())
    result = {
        "decisions": rows,
        "ratio_100000_to_100": ratios,
        "bytes_per_reservation": weight,
        "bars_held": held,
    }
    if given.json:
        print(json.dumps(result))
    else:
        show(result)
    return 0 if held else 1


def show(result: dict[str, Any]) -> None:
    """Print for people."""
    print(f"{'strategy':<14}{'workers':>9}{'p50 µs':>9}{'p99 µs':>9}")
    for row in result["decisions"]:
        print(f"{row['strategy']:<14}{row['workers']:>9,}{row['p50_us']:>9}{row['p99_us']:>9}")
    for strategy, ratio in result["ratio_100000_to_100"].items():
        print(f"{strategy}: among 100,000 workers {ratio} times what it costs among 100 (bar {MAX_RATIO})")
    weight = result["bytes_per_reservation"]
    print(
        f"100,000 waiting reservations weigh {weight / 10:.1f} MB (bar {MAX_BYTES / 10:.0f} MB): "
        f"{weight} bytes each"
    )


if __name__ == "__main__":
    sys.exit(main())
