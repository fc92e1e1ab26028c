from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import settings as effort
from hypothesis import strategies as st

from roomledger.domain.membership import Command, Drain, LoseWorker, ReportLoad
from roomledger.domain.placement import ExpireReservation, LayDownTask, PickUpTasks, Schedule
from roomledger.domain.purpose import PurposeSettings, StrategyName
from roomledger.domain.simulation import Changes, Result, Simulation
from roomledger_events.envelope import Commit
from tests.support.decided import PurposeLog, decided, histories
from tests.support.purposes import any_settings

UNCHANGED = Changes()
LAST_USED = PurposeSettings("sip", "last-used", task_load=0.1)


def simulated(
    settings: PurposeSettings, commits: Sequence[Commit], changes: Changes = UNCHANGED, first: int = 1
) -> Result:
    simulation = Simulation(settings, changes)
    parted = False
    for commit in commits:
        if not parted and commit.sequence >= first:
            simulation.part(commit.time)
            parted = True
        simulation.take_in(commit)
    return simulation.result()


def placed(result: Result) -> dict[str, tuple[int, int]]:
    return {each.worker: (each.placed, each.placed_simulated) for each in result.workers}


@effort(max_examples=80, deadline=None)
@given(settings=any_settings, history=histories, first=st.integers(1, 40))
def test_with_nothing_changed_every_winner_is_reproduced(
    settings: PurposeSettings, history: list[tuple[Command, float]], first: int
) -> None:
    result = simulated(settings, decided(settings, history), first=first)
    assert (result.moves, result.moved, result.displaced) == ((), 0, 0)
    assert result.refused == result.refused_simulated
    for each in result.workers:
        assert each.placed == each.placed_simulated
        assert each.loads == each.loads_simulated


@effort(max_examples=60, deadline=None)
@given(
    settings=any_settings,
    history=histories,
    changes=st.builds(
        Changes,
        st.sampled_from([None, *[each.value for each in StrategyName]]),
        st.sampled_from([None, 0.2, 0.7]),
        st.sampled_from([None, 0.0, 0.05]),
        st.frozensets(st.sampled_from(["w1", "w2"])),
    ),
)
def test_whatever_is_changed_each_request_has_an_outcome(
    settings: PurposeSettings, history: list[tuple[Command, float]], changes: Changes
) -> None:
    result = simulated(settings, decided(settings, history), changes)
    assert result.moved <= result.requests
    assert result.refused_simulated <= result.requests
    assert all(each.placed_simulated == 0 for each in result.workers if each.worker in changes.without)


@pytest.fixture
def log() -> PurposeLog:
    """Return a log in which w1 gets four tasks although there are w2 and w3."""
    log = PurposeLog(LAST_USED).workers("w1", "w2", "w3")
    for number in range(4):
        log.do(Schedule(f"t{number}")).do(PickUpTasks("w1", (f"t{number}",)))
    return log


def test_another_strategy_spreads_what_one_worker_got(log: PurposeLog) -> None:
    result = simulated(LAST_USED, log.commits, Changes(strategy="round-robin"))
    assert placed(result) == {"w1": (4, 2), "w2": (0, 1), "w3": (0, 1)}
    assert (result.strategy, result.strategy_simulated) == ("last-used", "round-robin")
    assert [(move.task, move.recorded, move.simulated) for move in result.moves] == [
        ("t1", "w1", "w2"),
        ("t2", "w1", "w3"),
    ]


def test_it_differs_from_where_it_is_told_to_on(log: PurposeLog) -> None:
    third = next(commit.sequence for commit in log.commits if commit.events[0].subject == "t2")
    result = simulated(LAST_USED, log.commits, Changes(strategy="round-robin"), first=third)
    assert result.requests == 2
    assert placed(result)["w2"] == (0, 1)


def test_another_limit_sends_tasks_on_or_away(log: PurposeLog) -> None:
    result = simulated(LAST_USED, log.commits, Changes(max_load=0.2))
    assert placed(result) == {"w1": (4, 1), "w2": (0, 1), "w3": (0, 1)}
    assert (result.refused, result.refused_simulated, result.moved) == (0, 1, 3)


def test_another_task_load_fills_workers_faster(log: PurposeLog) -> None:
    result = simulated(LAST_USED, log.commits, Changes(task_load=0.4))
    assert placed(result) == {"w1": (4, 2), "w2": (0, 2), "w3": (0, 0)}


def test_a_worker_that_is_not_there_gets_nothing_and_what_it_had_goes_elsewhere(log: PurposeLog) -> None:
    third = next(commit.sequence for commit in log.commits if commit.events[0].subject == "t2")
    result = simulated(LAST_USED, log.commits, Changes(without=frozenset({"w1"})), first=third)
    assert result.displaced == 2
    assert placed(result)["w2"] == (0, 4)


def test_a_reported_load_counts_with_the_tasks_that_are_elsewhere(log: PurposeLog) -> None:
    log.do(ReportLoad("w1", 0.5)).do(ReportLoad("w2", 0.1))
    result = simulated(LAST_USED, log.commits, Changes(strategy="round-robin"))
    loads = {each.worker: each.loads_simulated for each in result.workers}
    assert loads["w1"].largest == pytest.approx(0.3)  # two of its four tasks are elsewhere
    assert loads["w2"].largest == pytest.approx(0.2)
    assert {each.worker: each.loads.largest for each in result.workers}["w1"] == pytest.approx(0.5)


def test_what_only_the_simulated_world_had_on_a_lost_worker_is_placed_again(log: PurposeLog) -> None:
    log.do(LoseWorker("w2", 3_000)).do(Schedule("t9"))
    result = simulated(LAST_USED, log.commits, Changes(strategy="round-robin"))
    assert result.displaced == 1


def test_what_only_the_recorded_world_had_on_a_lost_worker_stays_where_it_is() -> None:
    log = PurposeLog(LAST_USED).workers("w1", "w2")
    for number in range(2):
        log.do(Schedule(f"t{number}")).do(PickUpTasks("w1", (f"t{number}",)))
    log.do(LoseWorker("w1", 3_000)).do(Schedule("t1"))
    result = simulated(LAST_USED, log.commits, Changes(strategy="round-robin"))
    assert placed(result)["w2"] == (1, 1)


def test_a_reservation_that_only_the_simulated_world_has_runs_out() -> None:
    log = PurposeLog(replace(LAST_USED, reserve_ms=5_000)).workers("w1", max_load=0.15)
    log.do(Schedule("t1")).do(Schedule("t2")).do(ReportLoad("w1", 0.0), after_s=60).do(Schedule("t3"))
    result = simulated(log.settings, log.commits, Changes(max_load=0.9))
    assert (result.refused, result.refused_simulated) == (1, 0)
    # t2 had run out when the load was reported, and t1 had been held by both worlds
    assert {each.worker: each.loads_simulated.largest for each in result.workers}["w1"] == pytest.approx(0.3)


def test_what_is_laid_down_and_runs_out_does_so_in_both_worlds(log: PurposeLog) -> None:
    log.do(Drain("w3")).do(LayDownTask("w1", "t1")).do(ExpireReservation("t1"), after_s=90)
    result = simulated(LAST_USED, log.commits, Changes(strategy="round-robin"))
    assert result.moved == 2
