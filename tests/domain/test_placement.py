"""Tasks get workers."""

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest

from roomledger.domain import placement
from roomledger.domain.decider import Fact
from roomledger.domain.errors import Code
from roomledger.domain.membership import Command, Done, Drain, Join, LoseWorker, Quit, ReportLoad
from roomledger.domain.placement import (
    HAND_BACK,
    MAX_TAKEN,
    ExpireReservation,
    Extend,
    Extended,
    LayDownTask,
    PickedUp,
    PickUpTasks,
    Schedule,
    Scheduled,
    TaskView,
    Unschedule,
    scheduled,
    taken_from,
    tasks_of,
)
from roomledger.domain.scheduler_state import SchedulerState
from roomledger_events.envelope import Payload
from roomledger_events.tasks import (
    Basis,
    Preference,
    ReservationCancelled,
    ReservationExpired,
    ReservationExtended,
    SchedulingRefused,
    TaskLaidDown,
    TaskPickedUp,
    TaskReleased,
    WorkerReserved,
)
from tests.support.deciders import START, Scenario
from tests.support.purposes import info, purpose, ready


def after(milliseconds: int) -> datetime:
    return START + timedelta(milliseconds=milliseconds)


def held(begun: Scenario) -> TaskView:
    return scheduled(begun.state, "t1")


# A new task


def test_a_new_task_is_held_for_a_worker() -> None:
    begun = ready(purpose(), "w1", load=0.2)
    begun.when(Schedule("t1", Preference(isp="a"), 5_000))
    basis = Basis(sequence=3, strategy="last-used", workers=1, candidates=1, load=0.2)
    reservation = WorkerReserved(
        task="t1",
        worker="w1",
        expires_at=after(5_000),
        reserve_ms=5_000,
        preference=Preference(isp="a"),
        basis=basis,
    )
    begun.then(Fact("t1", reservation)).then_answer(Scheduled("w1", info(), after(5_000)))
    assert held(begun) == TaskView("w1", "reserved", after(5_000))


def test_without_a_time_a_task_is_held_as_the_settings_say() -> None:
    begun = ready(purpose(reserve_ms=7_000), "w1").when(Schedule("t1"))
    assert held(begun).expires_at == after(7_000)


def test_each_reservation_adds_to_the_load_that_is_reckoned_with() -> None:
    begun = ready(purpose("video", task_load=0.1), "w1", "w2")
    for number in range(4):
        begun.when(Schedule(f"t{number}"))
    assert [worker.effective for worker in begun.state.workers.values()] == [200_000, 200_000]


def test_with_a_task_load_of_nothing_the_reported_load_counts_alone() -> None:
    begun = ready(purpose("video", task_load=0.0), "w1", "w2")
    for number in range(4):
        begun.when(Schedule(f"t{number}"))
    assert len(begun.state.workers["w1"].tasks) == 4


# Refusals


def test_a_purpose_that_nobody_ever_joined_is_refused_without_a_trace() -> None:
    purpose().when(Schedule("t1")).then_refused(Code.NO_SUCH_PURPOSE)


def test_a_purpose_whose_workers_have_all_gone_is_not_unknown() -> None:
    begun = ready(purpose(), "w1").when(Quit("w1")).when(Schedule("t1"))
    assert begun.decision.refusal is not None
    assert begun.decision.refusal.code is Code.ALL_IN_FULL_LOAD


def test_no_available_worker_is_a_refusal_that_is_recorded() -> None:
    begun = ready(purpose(), "w1", load=0.95).when(Schedule("t1"))
    basis = Basis(sequence=3, strategy="last-used", workers=1, candidates=0, refused={"full_load": 1})
    refused = SchedulingRefused(task="t1", reason="all_in_full_load", basis=basis)
    begun.then_refused(Code.ALL_IN_FULL_LOAD, Fact("t1", refused))
    assert begun.decision.refusal is not None
    assert begun.decision.refusal.detail == {"full_load": 1}


def test_no_matching_worker_is_a_refusal_that_is_recorded() -> None:
    begun = ready(purpose(), "w1", isps=("a",)).when(Schedule("t1", Preference(isp="b")))
    basis = Basis(sequence=3, strategy="last-used", workers=1, candidates=0, refused={"isp": 1})
    refused = SchedulingRefused(task="t1", reason="no_match", preference=Preference(isp="b"), basis=basis)
    begun.then_refused(Code.NO_MATCH, Fact("t1", refused))


def test_the_same_refusal_is_recorded_once_a_second() -> None:
    begun = ready(purpose(), "w1", load=0.95).when(Schedule("t1"))
    begun.when(Schedule("t1"), now=after(999)).then_refused(Code.ALL_IN_FULL_LOAD)
    begun.when(Schedule("t1"), now=after(1_000))
    assert [fact.about for fact in begun.decision.facts] == ["t1"]


def test_the_refusals_of_two_tasks_are_recorded_both() -> None:
    begun = ready(purpose(), "w1", load=0.95).when(Schedule("t1")).when(Schedule("t2"))
    assert [fact.about for fact in begun.decision.facts] == ["t2"]


def test_another_reason_of_the_same_task_is_recorded_at_once() -> None:
    begun = ready(purpose(), "w1", load=0.95).when(Schedule("t1", Preference(isp="b")))
    begun.when(Join("w1", info(isps=("a",)))).when(ReportLoad("w1", 0.0))
    begun.when(Schedule("t1", Preference(isp="b")))
    assert isinstance(begun.decision.facts[0].data, SchedulingRefused)
    assert begun.decision.facts[0].data.reason == "no_match"


def test_refusals_of_long_ago_are_forgotten() -> None:
    begun = ready(purpose(), "w1", load=0.95)
    for number in range(5):
        begun.when(Schedule(f"t{number}"), now=after(number * 500))
    assert [task for task, _ in begun.state.refusals] == ["t3", "t4"]


def test_only_so_many_refusals_are_kept_in_mind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(placement, "MAX_REFUSALS", 10)
    begun = purpose()
    basis = Basis(sequence=1, strategy="last-used", workers=0, candidates=0)
    begun.given(
        *(SchedulingRefused(task=f"t{number}", reason="no_match", basis=basis) for number in range(13))
    )
    assert [task for task, _ in begun.state.refusals] == [f"t{number}" for number in range(3, 13)]


@pytest.mark.parametrize("task", ["", "a.b", "x" * 65, "x" * 1_000_000, "t 1", "*"])
def test_a_task_whose_id_is_none_is_refused(task: str) -> None:
    begun = ready(purpose(), "w1").when(Schedule(task))
    begun.then_refused(Code.INVALID_ARGUMENT)
    assert len(str(begun.decision.refusal)) < 200


@pytest.mark.parametrize("reserve_ms", [0, -1, 86_400_001])
def test_a_reserve_time_out_of_its_range_is_refused(reserve_ms: int) -> None:
    begun = ready(purpose(), "w1")
    begun.when(Schedule("t1", reserve_ms=reserve_ms)).then_refused(Code.INVALID_ARGUMENT)
    begun.when(Schedule("t1")).when(Extend("t1", reserve_ms)).then_refused(Code.INVALID_ARGUMENT)


@pytest.mark.parametrize(
    "preference", [Preference(isp=""), Preference(region="x" * 65), Preference(algorithm="x" * 1_000_000)]
)
def test_a_preference_that_names_nothing_or_too_much_is_refused(preference: Preference) -> None:
    ready(purpose(), "w1").when(Schedule("t1", preference)).then_refused(Code.INVALID_ARGUMENT)


# A task that is known


def test_a_task_that_is_held_keeps_its_worker_and_is_held_anew() -> None:
    begun = ready(purpose("sip"), "w1", "w2").when(Schedule("t1", reserve_ms=5_000))
    begun.when(Schedule("t1", reserve_ms=2_000), now=after(1_000))
    longer = ReservationExtended(task="t1", worker="w1", reserve_ms=5_000, expires_at=after(6_000))
    begun.then(Fact("t1", longer, "command-1")).then_answer(Scheduled("w1", info(), after(6_000)))


def test_the_longer_of_the_two_times_counts() -> None:
    begun = ready(purpose(), "w1").when(Schedule("t1", reserve_ms=5_000))
    begun.when(Schedule("t1", reserve_ms=9_000))
    begun.then(ReservationExtended(task="t1", worker="w1", reserve_ms=9_000, expires_at=after(9_000)))


def test_without_a_time_the_old_one_counts() -> None:
    begun = ready(purpose(), "w1").when(Schedule("t1", reserve_ms=5_000)).when(Schedule("t1"), now=after(1))
    begun.then(ReservationExtended(task="t1", worker="w1", reserve_ms=5_000, expires_at=after(5_001)))


def test_a_running_task_keeps_its_worker_and_only_its_time_changes() -> None:
    begun = ready(purpose(), "w1").when(Schedule("t1", reserve_ms=5_000)).when(PickUpTasks("w1", ("t1",)))
    begun.when(Schedule("t1", reserve_ms=5_000)).then_nothing().then_answer(Scheduled("w1", info(), None))
    begun.when(Schedule("t1", reserve_ms=9_000))
    begun.then(ReservationExtended(task="t1", worker="w1", reserve_ms=9_000))
    assert held(begun) == TaskView("w1", "running")


def test_a_clock_that_goes_back_shortens_no_reservation() -> None:
    begun = ready(purpose(), "w1").when(Schedule("t1", reserve_ms=5_000), now=after(1_000))
    begun.when(Schedule("t1"), now=START).then_nothing()
    assert held(begun).expires_at == after(6_000)


def test_a_task_whose_worker_is_gone_is_new() -> None:
    begun = ready(purpose(), "w1", "w2").when(Schedule("t1")).when(Quit("w1")).when(Schedule("t1"))
    assert held(begun).worker == "w2"


def test_a_task_held_for_a_worker_that_drains_is_placed_anew() -> None:
    begun = ready(purpose(), "w1", "w2").when(Schedule("t1")).when(Drain("w1")).when(Schedule("t1"))
    released, reserved = begun.decision.facts
    assert released.data == TaskReleased(task="t1", worker="w1", reason="worker_drains")
    assert isinstance(reserved.data, WorkerReserved)
    assert held(begun).worker == "w2"
    assert begun.state.workers["w1"].tasks == {}


def test_a_running_task_stays_on_a_worker_that_drains() -> None:
    begun = ready(purpose(), "w1", "w2").when(PickUpTasks("w1", ("t1",))).when(Drain("w1"))
    begun.when(Schedule("t1")).then_nothing().then_answer(Scheduled("w1", info(), None))


def test_a_task_that_finds_no_other_worker_stays_held_for_the_one_that_drains() -> None:
    begun = ready(purpose(), "w1").when(Schedule("t1")).when(Drain("w1")).when(Schedule("t1"))
    assert begun.decision.refusal is not None
    assert held(begun).worker == "w1"


# Extending and cancelling


def test_extending_holds_a_task_from_now_on() -> None:
    begun = ready(purpose(), "w1").when(Schedule("t1", reserve_ms=5_000))
    begun.when(Extend("t1", 8_000), now=after(1_000))
    begun.then(ReservationExtended(task="t1", worker="w1", reserve_ms=8_000, expires_at=after(9_000)))
    begun.then_answer(Extended(after(9_000)))
    assert begun.deadline == after(9_000)


def test_extending_what_is_not_known_is_refused() -> None:
    ready(purpose(), "w1").when(Extend("t1", 1_000)).then_refused(Code.NO_SUCH_TASK)


def test_a_reservation_is_cancelled_by_its_worker() -> None:
    begun = ready(purpose(), "w1").when(Schedule("t1"), correlation="room-1").when(Unschedule("w1", "t1"))
    begun.then(Fact("t1", ReservationCancelled(task="t1", worker="w1"), "room-1")).then_answer(Done())
    assert (begun.state.tasks, begun.deadline) == ({}, None)


def test_a_reservation_is_not_cancelled_by_another_worker() -> None:
    begun = ready(purpose(), "w1", "w2").when(Schedule("t1"))
    begun.when(Unschedule("w2", "t1")).then_nothing()


def test_a_running_task_is_not_cancelled() -> None:
    ready(purpose(), "w1").when(PickUpTasks("w1", ("t1",))).when(Unschedule("w1", "t1")).then_nothing()


@pytest.mark.parametrize(
    "command", [Unschedule("nobody", "t1"), LayDownTask("nobody", "t1"), PickUpTasks("nobody", ("t1",))]
)
def test_a_worker_that_is_not_known_is_told_so(command: Command) -> None:
    ready(purpose(), "w1").when(Schedule("t1")).when(command).then_refused(Code.NO_SUCH_WORKER)


# Picking up


def test_a_task_that_is_picked_up_does_not_run_out() -> None:
    begun = ready(purpose(), "w1").when(Schedule("t1"), correlation="token-1")
    begun.when(PickUpTasks("w1", ("t1",)))
    begun.then(Fact("t1", TaskPickedUp(task="t1", worker="w1"), "token-1")).then_answer(PickedUp())
    assert (held(begun), begun.deadline) == (TaskView("w1", "running"), None)


def test_a_task_is_picked_up_once() -> None:
    begun = ready(purpose(), "w1").when(PickUpTasks("w1", ("t1", "t1")))
    begun.then(TaskPickedUp(task="t1", worker="w1"))
    begun.when(PickUpTasks("w1", ("t1",))).then_nothing()


def test_a_task_that_nobody_knows_is_run_by_who_picks_it_up() -> None:
    begun = ready(purpose(), "w1").when(PickUpTasks("w1", ("t1",)))
    assert tasks_of(begun.state, "w1") == ["t1"]


@pytest.mark.parametrize("running", [False, True])
def test_a_task_is_taken_over_by_who_runs_it(running: bool) -> None:  # noqa: FBT001  - a parameter
    begun = ready(purpose(), "w1", "w2").when(Schedule("t1"))
    if running:
        begun.when(PickUpTasks("w1", ("t1",)))
    begun.when(PickUpTasks("w2", ("t1",))).then(TaskPickedUp(task="t1", worker="w2", reserved_for="w1"))
    assert (tasks_of(begun.state, "w1"), tasks_of(begun.state, "w2")) == ([], ["t1"])


def test_tasks_of_which_one_has_no_id_are_all_refused() -> None:
    begun = ready(purpose(), "w1").when(PickUpTasks("w1", ("t1", "t.2")))
    begun.then_refused(Code.INVALID_ARGUMENT)
    assert begun.state.tasks == {}


# A worker that was lost and comes back


def back(*placed_elsewhere: str) -> Scenario:
    """``w1`` ran t1 and t2, was lost, and joins again after these were placed on ``w2``."""
    begun = ready(purpose(), "w1", "w2").when(PickUpTasks("w1", ("t1", "t2"))).when(LoseWorker("w1", 6_000))
    for task in placed_elsewhere:
        begun.when(Schedule(task))
    return begun.when(Join("w1", info()))


def test_a_worker_that_was_lost_gets_back_what_it_runs() -> None:
    begun = back().when(PickUpTasks("w1", ("t1", "t2"))).then_answer(PickedUp())
    assert tasks_of(begun.state, "w1") == ["t1", "t2"]


@pytest.mark.parametrize("running", [False, True])
def test_a_worker_that_was_lost_is_told_what_was_placed_elsewhere(running: bool) -> None:  # noqa: FBT001  - a parameter
    begun = back("t2")
    if running:
        begun.when(PickUpTasks("w2", ("t2",)))
    begun.when(PickUpTasks("w1", ("t1", "t2"))).then(
        TaskPickedUp(task="t1", worker="w1"),
        TaskReleased(task="t2", worker="w1", reason="placed_elsewhere"),
    )
    begun.then_answer(PickedUp(("t2",)))
    assert tasks_of(begun.state, "w1") == ["t1"]
    assert scheduled(begun.state, "t2").worker == "w2"


def test_it_is_told_again_but_that_is_not_recorded_again() -> None:
    begun = back("t2").when(PickUpTasks("w1", ("t2",))).when(PickUpTasks("w1", ("t2",)), now=after(100))
    begun.then_nothing().then_answer(PickedUp(("t2",)))


def test_what_was_placed_elsewhere_and_is_free_again_it_gets_back() -> None:
    begun = back("t2").when(Unschedule("w2", "t2")).when(PickUpTasks("w1", ("t2",)))
    begun.then(TaskPickedUp(task="t2", worker="w1"))


def test_who_ran_a_task_that_another_picks_up_is_told_so_for_a_while() -> None:
    begun = ready(purpose(), "w1", "w2")
    begun.when(PickUpTasks("w1", ("t1", "t2"))).when(PickUpTasks("w2", ("t2",)))
    assert taken_from(begun.state, "w1", after(59_999)) == ("t2",)
    assert taken_from(begun.state, "w1", after(60_000)) == ()
    assert taken_from(begun.state, "w2", START) == ()
    begun.when(PickUpTasks("w1", ("t2",)))
    assert taken_from(begun.state, "w1", START) == ()
    assert taken_from(begun.state, "w2", START) == ("t2",)


def test_who_only_had_a_task_reserved_is_not_told() -> None:
    begun = ready(purpose(), "w1", "w2").when(Schedule("t1")).when(PickUpTasks("w2", ("t1",)))
    assert taken_from(begun.state, "w1", START) == ()


def test_of_many_tasks_that_others_have_picked_up_the_last_ones_are_told() -> None:
    begun = ready(purpose(), "w1", "w2")
    for number in range(MAX_TAKEN + 5):
        begun.given(TaskPickedUp(task=f"t{number}", worker="w1"))
        begun.given(TaskPickedUp(task=f"t{number}", worker="w2"))
    told = taken_from(begun.state, "w1", START)
    assert (len(told), told[0], told[-1]) == (MAX_TAKEN, "t5", f"t{MAX_TAKEN + 4}")


def test_after_a_while_a_pick_up_is_taken_for_a_new_one() -> None:
    begun = back("t2").when(PickUpTasks("w2", ("t2",)))
    begun.when(PickUpTasks("w1", ("t2",)), now=START + HAND_BACK)
    begun.then(TaskPickedUp(task="t2", worker="w1", reserved_for="w2"))


def test_what_it_got_back_it_can_take_over_again() -> None:
    begun = back().when(PickUpTasks("w1", ("t1", "t2"))).when(PickUpTasks("w2", ("t2",)))
    begun.when(PickUpTasks("w1", ("t2",))).then(TaskPickedUp(task="t2", worker="w1", reserved_for="w2"))


def test_a_worker_that_quit_has_nothing_to_hand_back() -> None:
    begun = ready(purpose(), "w1", "w2").when(PickUpTasks("w1", ("t1",))).when(Quit("w1"))
    begun.when(Schedule("t1")).when(Join("w1", info())).when(PickUpTasks("w1", ("t1",)))
    begun.then(TaskPickedUp(task="t1", worker="w1", reserved_for="w2"))


# Laying down


def test_a_running_task_that_is_laid_down_is_held_so_that_it_can_come_back() -> None:
    begun = ready(purpose(), "w1").when(Schedule("t1", reserve_ms=5_000), correlation="token-1")
    begun.when(PickUpTasks("w1", ("t1",))).when(LayDownTask("w1", "t1"), now=after(100))
    begun.then(Fact("t1", TaskLaidDown(task="t1", worker="w1", expires_at=after(5_100)), "token-1"))
    assert held(begun) == TaskView("w1", "reserved", after(5_100))


def test_laying_down_again_does_not_cut_the_grace_short() -> None:
    begun = ready(purpose(), "w1").when(PickUpTasks("w1", ("t1",))).when(LayDownTask("w1", "t1"))
    begun.when(LayDownTask("w1", "t1"), now=after(100)).then_nothing()


def test_the_grace_can_be_given_up() -> None:
    begun = ready(purpose(), "w1").when(PickUpTasks("w1", ("t1",))).when(LayDownTask("w1", "t1"))
    begun.when(Unschedule("w1", "t1")).then(ReservationCancelled(task="t1", worker="w1"))


def test_a_mere_reservation_that_is_laid_down_is_cancelled() -> None:
    begun = ready(purpose(), "w1").when(Schedule("t1")).when(LayDownTask("w1", "t1"))
    begun.then(ReservationCancelled(task="t1", worker="w1"))
    assert begun.state.tasks == {}


def test_nothing_happens_when_a_worker_lays_down_what_it_does_not_hold() -> None:
    begun = ready(purpose(), "w1", "w2").when(PickUpTasks("w1", ("t1",)))
    begun.when(LayDownTask("w2", "t1")).then_nothing().then_answer(Done())


# Running out


def test_a_reservation_runs_out_and_that_belongs_to_what_led_to_it() -> None:
    begun = ready(purpose(), "w1").when(Schedule("t1", reserve_ms=5_000), correlation="token-1")
    assert begun.due(after(4_999)) == []
    assert begun.due(after(5_000)) == [ExpireReservation("t1")]
    begun.when(ExpireReservation("t1"), now=after(5_000), correlation="timer")
    begun.then(Fact("t1", ReservationExpired(task="t1", worker="w1"), "token-1"))
    assert (begun.state.tasks, begun.deadline) == ({}, None)


def test_a_reservation_that_was_extended_in_the_meantime_does_not_run_out() -> None:
    begun = ready(purpose(), "w1").when(Schedule("t1", reserve_ms=5_000)).when(Extend("t1", 9_000))
    begun.when(ExpireReservation("t1"), now=after(5_000)).then_nothing()


def test_a_grace_that_has_run_out_frees_the_task() -> None:
    begun = ready(purpose(reserve_ms=5_000), "w1").when(PickUpTasks("w1", ("t1",)))
    begun.when(LayDownTask("w1", "t1")).when(ExpireReservation("t1"), now=after(5_000))
    begun.then(ReservationExpired(task="t1", worker="w1"))


@pytest.mark.parametrize("query", [lambda state: scheduled(state, "t1"), lambda state: tasks_of(state, "w1")])
def test_what_is_not_known_cannot_be_shown(query: Callable[[SchedulerState], object]) -> None:
    with pytest.raises(Exception, match="is known here"):
        query(purpose().state)


# What is in the log has happened


@pytest.mark.parametrize(
    "fact",
    [
        TaskPickedUp(task="t1", worker="nobody"),
        TaskLaidDown(task="t1", worker="nobody", expires_at=START),
        ReservationExpired(task="t1", worker="nobody"),
        ReservationExtended(task="t1", worker="nobody", reserve_ms=1),
        TaskReleased(task="t1", worker="nobody", reason="x"),
        WorkerReserved(
            task="t1",
            worker="nobody",
            expires_at=START,
            reserve_ms=1,
            basis=Basis(sequence=0, strategy="last-used", workers=0, candidates=0),
        ),
    ],
)
def test_an_event_about_a_worker_that_is_not_known_changes_nothing(fact: Payload) -> None:
    begun = ready(purpose(), "w1").given(fact)
    assert begun.state.tasks == {}
