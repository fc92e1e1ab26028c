"""What is kept in mind of a purpose, and for how long."""

from datetime import timedelta

import pytest

from roomledger.domain import scheduler_state
from roomledger.domain.decider import Context
from roomledger.domain.membership import LoseWorker
from roomledger.domain.placement import Extend, LayDownTask, PickUpTasks, Schedule
from roomledger.domain.scheduler import deadline, decide, evolve
from roomledger_events.tasks import TaskPickedUp
from roomledger_events.workers import WorkerLost
from tests.support.deciders import START, event_of
from tests.support.purposes import purpose, ready


def test_what_lost_workers_ran_is_kept_in_mind_up_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduler_state, "MAX_CLAIMS", 10)
    begun = ready(purpose(), "w1", "w2", "w3")
    for worker in ("w1", "w2", "w3"):
        begun.given(*(TaskPickedUp(task=f"{worker}-{number}", worker=worker) for number in range(5)))
        begun.given(WorkerLost(worker=worker, silent_ms=1))
    assert list(begun.state.lost) == ["w2", "w3"]
    assert begun.state.claimed == 10


def test_a_lost_worker_that_ran_nothing_is_not_kept_in_mind() -> None:
    begun = ready(purpose(), "w1").when(Schedule("t1")).when(LoseWorker("w1", 1))
    assert (begun.state.lost, begun.state.claimed) == ({}, 0)


def test_tasks_that_come_and_go_leave_a_bounded_heap_of_deadlines() -> None:
    begun = ready(purpose(task_load=0.0), "w1")
    state = begun.state
    assert deadline(state) is None  # from now on there is a heap
    for number in range(3_000):
        now = START + timedelta(milliseconds=number)
        commands = Schedule("t1"), Extend("t1", 70_000), PickUpTasks("w1", ("t1",)), LayDownTask("w1", "t1")
        for each in commands:
            context = Context(now)
            for fact in decide(state, each, context).facts:
                state = evolve(state, event_of(fact, 1, context))
    assert 0 < len(state.deadlines) < 2_100
