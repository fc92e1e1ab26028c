"""What tests of the scheduler have in common: workers of a purpose, and histories drawn by hypothesis."""

from dataclasses import replace
from typing import Any, Final

from hypothesis import strategies as st

from roomledger.domain.membership import Command, Join, ReportLoad, TakeOver
from roomledger.domain.purpose import PurposeSettings, StrategyName
from roomledger.domain.scheduler import SCHEDULER
from roomledger.domain.scheduler_state import SchedulerState
from roomledger_events.tasks import Preference
from roomledger_events.workers import Capacity, VideoCapacity, WorkerInfo
from tests.support.deciders import Scenario, scenario, snapshot

PURPOSES: Final = ("portal", "video", "analytics", "conference")


def purpose(name: str = "portal", **changes: Any) -> Scenario[SchedulerState, Command]:  # noqa: ANN401  - settings
    """Begin a purpose that a manager has taken over."""
    settings = replace(PurposeSettings.default(name), **changes)
    return scenario(SCHEDULER(settings)).when(TakeOver("m1"))


def info(max_load: float = 0.9, **capacity: Any) -> WorkerInfo:  # noqa: ANN401  - what it can serve
    """Return what a worker tells of itself."""
    return WorkerInfo(ip="10.0.0.1", port=8080, max_load=max_load, capacity=Capacity(**capacity))


def ready(
    begun: Scenario[SchedulerState, Command],
    *workers: str,
    load: float = 0.0,
    max_load: float = 0.9,
    **capacity: Any,  # noqa: ANN401  - what they can serve
) -> Scenario[SchedulerState, Command]:
    """Let workers join and report their load."""
    for worker in workers:
        begun.when(Join(worker, info(max_load, **capacity))).when(ReportLoad(worker, load))
    return begun


def parts(state: SchedulerState) -> list[Any]:
    """Return all that makes a state, in plain values, so that two states can be compared."""
    index = state.candidates
    return [
        snapshot(each)
        for each in (
            state.workers,
            state.tasks,
            state.lost,
            state.claimed,
            state.refusals,
            state.joins,
            state.epoch,
            state.manager,
            index.available,
            {rule: count for rule, count in index.unavailable.items() if count},
            index.needs,
            index.pools,
            vars(index.strategy),
        )
    ]


names = st.sampled_from(["a", "b", "c"])
few_names = st.lists(names, max_size=2, unique=True).map(tuple)
codecs = st.builds(VideoCapacity, encode=few_names, decode=few_names)
capacities = st.builds(
    Capacity, isps=few_names, regions=few_names, video=st.none() | codecs, algorithms=few_names
)
infos = st.builds(
    lambda max_load, capacity: WorkerInfo(ip="10.0.0.1", max_load=max_load, capacity=capacity),
    st.sampled_from([0.3, 0.9, 1.0]),
    capacities,
)
preferences = st.builds(
    Preference,
    isp=st.none() | names,
    region=st.none() | names,
    video=st.none() | codecs,
    algorithm=st.none() | names,
)
loads = st.integers(0, 20).map(lambda twentieths: twentieths / 20)
draws = st.integers(0, 999).map(lambda thousandths: thousandths / 1000)
any_settings = st.builds(
    lambda name, strategy, task_load, report_delay_ms: replace(
        PurposeSettings.default(name),
        strategy=strategy,
        task_load=task_load,
        report_delay_ms=report_delay_ms,
    ),
    st.sampled_from(PURPOSES),
    st.sampled_from(list(StrategyName)),
    st.sampled_from([0.0, 0.005, 0.1]),
    st.sampled_from([0, 1, 5_000]),
)
