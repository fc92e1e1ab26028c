"""The index of candidates against a plain scan of all workers."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import settings as effort
from hypothesis import strategies as st

from roomledger.domain.candidates import Candidates
from roomledger.domain.decider import Context
from roomledger.domain.membership import (
    Command,
    Drain,
    Join,
    LoseWorker,
    Quit,
    ReportLoad,
    ReportState,
    Undrain,
)
from roomledger.domain.placement import Schedule
from roomledger.domain.pools import millionths
from roomledger.domain.purpose import PurposeSettings, StrategyName
from roomledger.domain.scheduler import SCHEDULER
from roomledger_events.tasks import Preference, WorkerReserved
from tests.support.deciders import START, event_of
from tests.support.purposes import PURPOSES, draws, infos, loads, preferences, ready
from tests.support.purposes import purpose as begin
from tests.support.scheduler_model import SchedulerModel

Change = tuple[Command, Callable[[SchedulerModel, datetime], object]]


def joins(name: str) -> st.SearchStrategy[Change]:
    return infos.map(lambda info: (Join(name, info), lambda model, now: model.join(name, info, now)))


def reports(name: str) -> st.SearchStrategy[Change]:
    return loads.map(lambda load: report(name, load))


def report(name: str, load: float) -> Change:
    return ReportLoad(name, load), lambda model, now: model.report_load(name, millionths(load), now)


def states(name: str) -> st.SearchStrategy[Change]:
    return st.sampled_from([0, 2]).map(
        lambda state: (ReportState(name, state), lambda model, _: model.report_state(name, state))
    )


def turns(name: str) -> st.SearchStrategy[Change]:
    changes: list[Change] = [
        (Drain(name), lambda model, _: model.drain(name, None)),
        (Undrain(name), lambda model, _: model.undrain(name)),
        (Quit(name), lambda model, _: model.leave(name, lost=False)),
        (LoseWorker(name, 3_100), lambda model, _: model.leave(name, lost=True)),
    ]
    return st.sampled_from(changes)


workers = st.integers(1, 12).map(lambda number: f"w{number}")
changes = workers.flatmap(
    lambda name: joins(name) | reports(name) | reports(name) | states(name) | turns(name)
)
wishes = st.tuples(preferences, draws)


@pytest.mark.parametrize("strategy", list(StrategyName))
@pytest.mark.parametrize("purpose", PURPOSES)
@effort(max_examples=15, deadline=None)
@given(
    report_delay_ms=st.sampled_from([0, 5_000]),
    begun=st.lists(st.tuples(infos, loads), min_size=2, max_size=12),
    history=st.lists(changes | wishes, min_size=10, max_size=60),
)
def test_the_index_chooses_as_a_scan_of_all_workers_does(
    strategy: str, purpose: str, report_delay_ms: int, begun: list[tuple], history: list[tuple]
) -> None:
    settings = replace(
        PurposeSettings.default(purpose), strategy=strategy, task_load=0.05, report_delay_ms=report_delay_ms
    )
    decider, model = SCHEDULER(settings), SchedulerModel(settings)
    state = decider.initial()
    first: list[tuple] = []
    for number, (info, load) in enumerate(begun, 1):
        name = f"w{number}"
        join = (Join(name, info), lambda model, now, name=name, info=info: model.join(name, info, now))
        first += [join, report(name, load)]
    for number, (what, also) in enumerate([*first, *history]):
        context = Context(START + timedelta(seconds=number), number)
        command = what
        if isinstance(what, Preference):
            command, context = Schedule(f"t{number}", what), msgspec.structs.replace(context, draw=also)
            choice = state.candidates.choose(what, also)
            plain = model.choose(what, also)
            assert [worker.id for worker in choice.ranked] == plain.ranked
            assert (choice.candidates, choice.refused) == (plain.candidates, plain.refused)
            model.schedule(f"t{number}", what, None, also, context.now)
        elif command.worker not in model.workers and not isinstance(command, Join):
            continue
        else:
            also(model, context.now)
        for fact in decider.decide(state, command, context).facts:
            state = decider.evolve(state, event_of(fact, number, context))


def test_what_nobody_serves_any_more_leaves_no_pool_behind() -> None:
    begun = ready(begin("video"), "w1", isps=("a", "b"), regions=("x",))
    begun.when(Quit("w1"))
    index: Candidates = begun.state.candidates
    assert (index.pools, index.needs, index.available) == ({}, {}, 0)


def test_a_worker_that_joins_again_with_another_capacity_is_found_by_that_one() -> None:
    begun = ready(begin("portal"), "w1", isps=("a",))
    ready(begun, "w1", isps=("b",))
    assert begun.state.candidates.choose(Preference(isp="a"), 0.0).ranked == []
    assert [each.id for each in begun.state.candidates.choose(Preference(isp="b"), 0.0).ranked] == ["w1"]


def test_each_worker_that_is_not_available_is_counted_under_one_rule() -> None:
    begun = ready(begin("conference"), "full", load=0.9)
    ready(begun, "drains", "initializes", "idle")
    begun.when(Join("silent", begun.state.workers["idle"].info))
    begun.when(Drain("drains")).when(ReportState("initializes", 1))
    choice = begun.state.candidates.choose(Preference(), 0.0)
    assert choice.refused == {"full_load": 1, "draining": 1, "state": 1, "not_reported": 1}
    assert (choice.available, choice.candidates) == (1, 1)


def test_the_choice_says_whether_chance_was_asked() -> None:
    chance = begin("recording")
    chance = ready(chance, "w1").when(Schedule("t1"), draw=0.25)
    data = chance.decision.facts[0].data
    assert isinstance(data, WorkerReserved)
    assert data.basis.draw == 0.25
