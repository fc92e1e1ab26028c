"""Workers come, report, drain and go."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from roomledger.domain.decider import Fact
from roomledger.domain.errors import Code
from roomledger.domain.membership import (
    Command,
    Done,
    Drain,
    InService,
    Join,
    Left,
    LoseWorker,
    Quit,
    ReachDrainDeadline,
    ReportLoad,
    ReportState,
    Undrain,
    worker_view,
    workers_in_joining_order,
)
from roomledger.domain.placement import PickUpTasks, Schedule
from roomledger_events.workers import (
    Capacity,
    LoadReported,
    VideoCapacity,
    WorkerDrainDeadlineReached,
    WorkerDraining,
    WorkerInfo,
    WorkerJoined,
    WorkerLost,
    WorkerQuit,
    WorkerStateReported,
    WorkerUndrained,
)
from tests.support.deciders import START
from tests.support.purposes import info, purpose, ready


def after(milliseconds: int) -> datetime:
    return START + timedelta(milliseconds=milliseconds)


# Joining


def test_a_worker_joins() -> None:
    begun = purpose().when(Join("w1", info()))
    begun.then(Fact("w1", WorkerJoined(worker="w1", purpose="portal", info=info())))
    begun.then_answer(InService())


def test_a_worker_that_tells_nothing_new_joins_once() -> None:
    purpose().when(Join("w1", info())).when(Join("w1", info())).then_nothing().then_answer(InService())


def test_a_worker_that_tells_something_new_joins_again_and_keeps_what_it_has() -> None:
    begun = ready(purpose(), "w1", load=0.4).when(PickUpTasks("w1", ("t1",))).when(Join("w1", info(0.5)))
    begun.then(WorkerJoined(worker="w1", purpose="portal", info=info(0.5)))
    view = worker_view(begun.state, "w1")
    assert (view.tasks, view.load, view.available, view.info.max_load) == (["t1"], 0.4, True, 0.5)


def test_a_worker_that_joined_gets_nothing_before_it_has_reported_its_load() -> None:
    begun = purpose().when(Join("w1", info()))
    assert not worker_view(begun.state, "w1").available
    begun.when(Schedule("t1"))
    assert begun.decision.refusal is not None
    assert begun.decision.refusal.code is Code.ALL_IN_FULL_LOAD


def test_workers_stand_in_joining_order() -> None:
    begun = ready(purpose(), "b", "a", "c").when(Join("b", info(0.5))).when(Quit("a"))
    ready(begun, "a")
    assert workers_in_joining_order(begun.state) == ["b", "c", "a"]


@pytest.mark.parametrize("worker", ["", "a.b", "a b", "a*", "ü", "x" * 65, "x" * 1_000_000, "a\n"])
def test_a_worker_whose_id_is_none_is_refused(worker: str) -> None:
    begun = purpose().when(Join(worker, info()))
    begun.then_refused(Code.INVALID_ARGUMENT)
    assert len(str(begun.decision.refusal)) < 200


@pytest.mark.parametrize("max_load", [0.0, -0.5, 1.01, float("nan"), float("inf"), 1e-9])
def test_a_max_load_out_of_its_range_is_refused(max_load: float) -> None:
    purpose().when(Join("w1", info(max_load))).then_refused(Code.INVALID_ARGUMENT)


@pytest.mark.parametrize(
    "capacity",
    [
        Capacity(isps=("",)),
        Capacity(regions=("x" * 65,)),
        Capacity(algorithms=tuple(f"a{number}" for number in range(257))),
        Capacity(video=VideoCapacity(encode=("",))),
        Capacity(video=VideoCapacity(decode=("",))),
        Capacity(isps=tuple(f"i{n}" for n in range(100)), regions=tuple(f"r{n}" for n in range(100))),
    ],
)
def test_a_capacity_that_cannot_be_indexed_is_refused(capacity: Capacity) -> None:
    begun = purpose("video" if capacity.video else "portal")
    begun.when(Join("w1", replace_capacity(capacity))).then_refused(Code.INVALID_ARGUMENT)


def replace_capacity(capacity: Capacity) -> WorkerInfo:
    return info(
        isps=capacity.isps,
        regions=capacity.regions,
        video=capacity.video,
        algorithms=capacity.algorithms,
    )


# Going


def test_a_worker_quits_and_its_tasks_are_free() -> None:
    begun = ready(purpose(), "w1").when(Schedule("t1")).when(PickUpTasks("w1", ("t2",))).when(Quit("w1"))
    begun.then(Fact("w1", WorkerQuit(worker="w1")))
    assert (begun.state.workers, begun.state.tasks, begun.deadline) == ({}, {}, None)


def test_a_worker_that_is_lost_frees_its_tasks() -> None:
    begun = ready(purpose(), "w1").when(Schedule("t1")).when(LoseWorker("w1", 3_100))
    begun.then(Fact("w1", WorkerLost(worker="w1", silent_ms=3_100)))
    assert (begun.state.workers, begun.state.tasks, begun.deadline) == ({}, {}, None)


@pytest.mark.parametrize("command", [Quit("nobody"), LoseWorker("nobody", 1), ReachDrainDeadline("nobody")])
def test_the_going_of_a_worker_that_is_not_known_is_harmless(command: Command) -> None:
    purpose().when(command).then_nothing().then_answer(Done())


def test_a_worker_that_was_lost_reports_its_load_anew() -> None:
    begun = ready(purpose(), "w1", load=0.4).when(LoseWorker("w1", 3_100)).when(Join("w1", info()))
    assert worker_view(begun.state, "w1").load is None


@pytest.mark.parametrize(
    "command",
    [ReportState("nobody", 2), ReportLoad("nobody", 0.5), Drain("nobody"), Undrain("nobody")],
)
def test_a_worker_that_is_not_known_is_told_so(command: Command) -> None:
    purpose().when(command).then_refused(Code.NO_SUCH_WORKER)


# Reports


def test_another_state_is_recorded() -> None:
    begun = ready(purpose(), "w1").when(ReportState("w1", 1))
    begun.then(Fact("w1", WorkerStateReported(worker="w1", state=1)))
    assert not worker_view(begun.state, "w1").available


def test_the_same_state_is_not_recorded_again() -> None:
    ready(purpose(), "w1").when(ReportState("w1", 2)).when(ReportState("w1", 2)).then_nothing()


@pytest.mark.parametrize("state", [-1, 3])
def test_a_state_that_does_not_exist_is_refused(state: int) -> None:
    ready(purpose(), "w1").when(ReportState("w1", state)).then_refused(Code.INVALID_ARGUMENT)


def test_the_first_load_is_recorded() -> None:
    begun = purpose().when(Join("w1", info())).when(ReportLoad("w1", 0.01))
    begun.then(Fact("w1", LoadReported(worker="w1", load=0.01)))


def test_a_load_is_recorded_from_the_threshold_on() -> None:
    begun = ready(purpose(), "w1", load=0.4)
    begun.when(ReportLoad("w1", 0.44)).then_nothing()
    begun.when(ReportLoad("w1", 0.45)).then(LoadReported(worker="w1", load=0.45))


def test_a_load_is_compared_with_what_the_reservations_make_of_the_last_one() -> None:
    begun = ready(purpose(task_load=0.02), "w1", load=0.4)
    for task in ("t1", "t2", "t3"):
        begun.when(Schedule(task))
    begun.when(ReportLoad("w1", 0.45)).then_nothing()
    begun.when(ReportLoad("w1", 0.4)).then(LoadReported(worker="w1", load=0.4))
    assert worker_view(begun.state, "w1").effective_load == 0.4


def test_a_report_does_not_contain_what_is_younger_than_reports_may_be_late() -> None:
    begun = ready(purpose("video", task_load=0.1, report_delay_ms=2_000), "w1")
    begun.when(Schedule("t1"), now=after(0)).when(Schedule("t2"), now=after(1_500))
    begun.when(ReportLoad("w1", 0.3), now=after(2_000)).then(LoadReported(worker="w1", load=0.3))
    assert worker_view(begun.state, "w1").effective_load == pytest.approx(0.4)
    begun.when(ReportLoad("w1", 0.3), now=after(3_499)).then_nothing()
    begun.when(ReportLoad("w1", 0.3), now=after(3_500)).then(LoadReported(worker="w1", load=0.3))
    assert worker_view(begun.state, "w1").effective_load == 0.3


def test_a_report_that_says_what_is_known_beside_the_young_reservations_is_not_recorded() -> None:
    begun = ready(purpose("video", task_load=0.1, report_delay_ms=2_000), "w1", load=0.2)
    begun.when(Schedule("t1")).when(Schedule("t2"))
    begun.when(ReportLoad("w1", 0.2)).then_nothing()
    assert worker_view(begun.state, "w1").effective_load == 0.4


@pytest.mark.parametrize(("before", "then"), [(0.89, 0.9), (0.9, 0.89)])
def test_a_load_that_crosses_the_limit_is_recorded(before: float, then: float) -> None:
    ready(purpose(), "w1", load=before).when(ReportLoad("w1", then)).then(
        LoadReported(worker="w1", load=then)
    )


def test_a_worker_that_reservations_have_filled_is_free_again_with_its_report() -> None:
    begun = ready(purpose(task_load=0.02), "w1", load=0.87).when(Schedule("t1")).when(Schedule("t2"))
    assert not worker_view(begun.state, "w1").available
    begun.when(ReportLoad("w1", 0.88)).then(LoadReported(worker="w1", load=0.88))
    assert worker_view(begun.state, "w1").available


@pytest.mark.parametrize("load", [float("nan"), float("inf"), -0.01, 1.01])
def test_a_load_that_is_none_is_refused(load: float) -> None:
    ready(purpose(), "w1").when(ReportLoad("w1", load)).then_refused(Code.INVALID_ARGUMENT)


def test_a_threshold_of_nothing_records_every_change_and_no_repetition() -> None:
    begun = ready(purpose(load_threshold=0.0), "w1", load=0.4)
    begun.when(ReportLoad("w1", 0.4)).then_nothing()
    begun.when(ReportLoad("w1", 0.401)).then(LoadReported(worker="w1", load=0.401))


# Draining


def test_a_worker_that_drains_keeps_its_tasks_and_gets_no_new_one() -> None:
    begun = ready(purpose(), "w1").when(PickUpTasks("w1", ("t1",))).when(Schedule("t2")).when(Drain("w1"))
    begun.then(Fact("w1", WorkerDraining(worker="w1"))).then_answer(Left(2))
    view = worker_view(begun.state, "w1")
    assert (view.tasks, view.reservations, view.draining, view.available) == (["t1"], ["t2"], True, False)


def test_a_drain_with_a_deadline_says_when_it_is() -> None:
    begun = ready(purpose(), "w1").when(Drain("w1", 5_000))
    begun.then(WorkerDraining(worker="w1", deadline=after(5_000)))
    assert begun.deadline == worker_view(begun.state, "w1").drain_deadline == after(5_000)


def test_at_the_deadline_it_is_recorded_what_is_left() -> None:
    begun = ready(purpose(), "w1").when(PickUpTasks("w1", ("t1",))).when(Drain("w1", 5_000))
    assert begun.due(after(4_999)) == []
    assert begun.due(after(5_000)) == [ReachDrainDeadline("w1")]
    begun.when(ReachDrainDeadline("w1"), now=after(5_000))
    begun.then(Fact("w1", WorkerDrainDeadlineReached(worker="w1", tasks_left=1)))
    assert begun.deadline is None


def test_a_deadline_that_has_not_come_is_not_recorded() -> None:
    ready(purpose(), "w1").when(Drain("w1", 5_000)).when(
        ReachDrainDeadline("w1"), now=after(10)
    ).then_nothing()


def test_another_deadline_takes_the_place_of_the_first() -> None:
    begun = ready(purpose(), "w1").when(Drain("w1", 5_000)).when(Drain("w1", 9_000))
    begun.then(WorkerDraining(worker="w1", deadline=after(9_000)))
    assert begun.deadline == after(9_000)


def test_draining_is_taken_back() -> None:
    begun = ready(purpose(), "w1").when(Drain("w1", 5_000)).when(Undrain("w1"))
    begun.then(Fact("w1", WorkerUndrained(worker="w1"))).then_answer(Left(0))
    assert worker_view(begun.state, "w1").available
    assert begun.deadline is None


def test_taking_back_what_is_not_draining_changes_nothing() -> None:
    ready(purpose(), "w1").when(Undrain("w1")).then_nothing().then_answer(Left(0))


@pytest.mark.parametrize("deadline_ms", [0, -1, 86_400_001])
def test_a_deadline_out_of_its_range_is_refused(deadline_ms: int) -> None:
    ready(purpose(), "w1").when(Drain("w1", deadline_ms)).then_refused(Code.INVALID_ARGUMENT)


def test_a_worker_keeps_draining_when_it_joins_again_while_it_is_known() -> None:
    begun = ready(purpose(), "w1").when(Drain("w1")).when(Join("w1", replace_port()))
    assert worker_view(begun.state, "w1").draining


def replace_port() -> WorkerInfo:
    told = info()
    return type(told)(ip=told.ip, port=9090, max_load=told.max_load)


# What is shown


def test_a_worker_is_shown_with_its_loads_and_tasks() -> None:
    begun = ready(purpose(), "w1", load=0.4).when(Schedule("t1")).when(PickUpTasks("w1", ("t2",)))
    view = worker_view(begun.state, "w1")
    assert (view.worker, view.purpose, view.state) == ("w1", "portal", None)
    assert (view.load, view.effective_load) == (0.4, 0.405)
    assert (view.tasks, view.reservations) == (["t2"], ["t1"])


def test_a_worker_that_has_not_reported_is_shown_without_loads() -> None:
    view = worker_view(purpose().when(Join("w1", info())).state, "w1")
    assert (view.load, view.effective_load) == (None, None)


def test_settings_of_another_threshold_count() -> None:
    begun = ready(purpose(load_threshold=0.2), "w1", load=0.4)
    assert replace(begun.state.settings).load_threshold == 0.2
    begun.when(ReportLoad("w1", 0.59)).then_nothing()
