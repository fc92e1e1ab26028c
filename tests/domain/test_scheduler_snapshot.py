"""The state of a purpose in plain values."""

import msgspec
from hypothesis import given
from hypothesis import settings as effort
from hypothesis import strategies as st

from roomledger.domain.decider import Context
from roomledger.domain.errors import Refusal
from roomledger.domain.membership import Command, Drain, Join, LoseWorker, ReportLoad, ReportState, Undrain
from roomledger.domain.placement import LayDownTask, PickUpTasks, Schedule
from roomledger.domain.purpose import PurposeSettings
from roomledger.domain.scheduler import SCHEDULER, decide, evolve
from roomledger.domain.scheduler_snapshot import VERSION, SchedulerSnapshot, freeze, thaw
from roomledger.domain.scheduler_state import SchedulerState
from tests.support.deciders import START, event_of
from tests.support.purposes import any_settings, draws, infos, loads, parts, preferences, purpose, ready

workers = st.integers(1, 5).map(lambda number: f"w{number}")
tasks = st.integers(1, 9).map(lambda number: f"t{number}")
commands = st.one_of(
    st.builds(Join, workers, infos),
    st.builds(ReportLoad, workers, loads),
    st.builds(ReportLoad, workers, loads),
    st.builds(ReportState, workers, st.sampled_from([0, 2])),
    st.builds(Drain, workers, st.none() | st.just(5_000)),
    st.builds(Undrain, workers),
    st.builds(LoseWorker, workers, st.just(3_100)),
    st.builds(Schedule, tasks, preferences),
    st.builds(Schedule, tasks, preferences),
    st.builds(PickUpTasks, workers, st.tuples(tasks)),
    st.builds(LayDownTask, workers, tasks),
)
histories = st.lists(st.tuples(commands, draws), min_size=20, max_size=80)


def through_bytes(snapshot: SchedulerSnapshot) -> SchedulerSnapshot:
    return msgspec.json.decode(msgspec.json.encode(snapshot), type=SchedulerSnapshot)


def follow(state: SchedulerState, history: list[tuple[Command, float]]) -> list[object]:
    """Decide all commands and take in what they lead to; return what everybody was told."""
    told: list[object] = []
    for number, (command, draw) in enumerate(history):
        context = Context(START, number, draw)
        try:
            decision = decide(state, command, context)
        except Refusal as refusal:
            told.append(refusal.code)
            continue
        told.append((decision.facts, decision.answer, decision.refusal and decision.refusal.code))
        for fact in decision.facts:
            evolve(state, event_of(fact, number, context))
    return told


@effort(max_examples=25, deadline=None)
@given(settings=any_settings, before=histories, after=histories)
def test_a_snapshot_goes_on_as_the_state_that_it_was_taken_of(
    settings: PurposeSettings, before: list[tuple[Command, float]], after: list[tuple[Command, float]]
) -> None:
    state = SCHEDULER(settings).initial()
    joins = [(Join(f"w{number}", infos_), 0.0) for number, infos_ in enumerate(_plain_infos(), 1)]
    follow(state, [*joins, *((ReportLoad(f"w{number}", 0.0), 0.0) for number in range(1, 6)), *before])
    thawed = thaw(through_bytes(freeze(state)))
    assert thawed is not None
    assert parts(thawed) == parts(state)
    assert SCHEDULER(settings).deadline(thawed) == SCHEDULER(settings).deadline(state)
    assert follow(thawed, after) == follow(state, after)
    assert parts(thawed) == parts(state)


def _plain_infos() -> list:
    return [ready(purpose(), "w", isps=isps).state.workers["w"].info for isps in ((), (), ("a",), ("b",), ())]


def test_later_changes_leave_a_snapshot_alone() -> None:
    begun = ready(purpose(), "w1").when(Schedule("t1"))
    snapshot = freeze(begun.state)
    before = msgspec.json.encode(snapshot)
    begun.when(PickUpTasks("w1", ("t1", "t2"))).when(ReportLoad("w1", 0.5))
    assert msgspec.json.encode(snapshot) == before


def test_a_snapshot_of_another_version_is_not_used() -> None:
    snapshot = freeze(ready(purpose(), "w1").state)
    snapshot.version = VERSION + 1
    assert thaw(snapshot) is None
