from datetime import UTC, datetime

from roomledger.processes.conference.placements import Placements
from roomledger_events.envelope import Event, Payload
from roomledger_events.tasks import (
    ReservationCancelled,
    ReservationExpired,
    TaskLaidDown,
    TaskPickedUp,
    TaskReleased,
)
from roomledger_events.workers import WorkerLost, WorkerQuit
from tests.support.cluster import event

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def events(*facts: Payload) -> list[Event]:
    return [event(fact, "test") for fact in facts]


def placements(*facts: Payload) -> Placements:
    placed = Placements()
    placed.take_in(events(*facts))
    return placed


def test_a_task_that_was_picked_up_is_run():
    placed = placements(TaskPickedUp(task="r1", worker="c1"))
    assert placed.worker_of("r1") == "c1"
    assert not placed.left


def test_the_tasks_of_a_worker_that_is_lost_are_left():
    placed = placements(*(TaskPickedUp(task=task, worker="c1") for task in ("r1", "r2")))
    (lost,) = events(WorkerLost(worker="c1", silent_ms=3000))
    assert placed.take_in([lost])
    assert placed.left == {"r1": lost, "r2": lost}
    assert placed.worker_of("r1") is None


def test_the_tasks_of_a_worker_that_quits_are_left():
    placed = placements(TaskPickedUp(task="r1", worker="c1"), WorkerQuit(worker="c1"))
    assert set(placed.left) == {"r1"}


def test_a_task_that_is_run_again_is_left_no_more():
    placed = placements(
        TaskPickedUp(task="r1", worker="c1"), WorkerQuit(worker="c1"), TaskPickedUp(task="r1", worker="c2")
    )
    assert not placed.left
    assert placed.worker_of("r1") == "c2"


def test_a_task_that_another_worker_took_is_not_left_by_the_former():
    placed = placements(
        TaskPickedUp(task="r1", worker="c1"), TaskPickedUp(task="r1", worker="c2"), WorkerQuit(worker="c1")
    )
    assert not placed.left


def test_a_task_that_was_laid_down_is_not_left():
    laid = TaskLaidDown(task="r1", worker="c1", expires_at=NOW)
    placed = placements(TaskPickedUp(task="r1", worker="c1"), laid, WorkerQuit(worker="c1"))
    assert not placed.left
    assert placed.worker_of("r1") is None


def test_a_task_that_was_taken_from_a_worker_is_not_left_by_it():
    released = TaskReleased(task="r1", worker="c1", reason="placed_elsewhere")
    placed = placements(TaskPickedUp(task="r1", worker="c1"), released, WorkerQuit(worker="c1"))
    assert not placed.left


def test_what_a_worker_is_told_that_runs_it_no_more_is_nothing_to_the_one_that_does():
    released = TaskReleased(task="r1", worker="c1", reason="placed_elsewhere")
    placed = placements(TaskPickedUp(task="r1", worker="c2"), released)
    assert placed.worker_of("r1") == "c2"


def test_a_task_that_was_given_back_is_wanted_by_nobody():
    placed = placements(
        TaskPickedUp(task="r1", worker="c1"),
        WorkerQuit(worker="c1"),
        ReservationCancelled(task="r1", worker="c2"),
    )
    assert not placed.left


def test_a_task_whose_reservation_ran_out_is_still_left():
    placed = placements(
        TaskPickedUp(task="r1", worker="c1"),
        WorkerQuit(worker="c1"),
        ReservationExpired(task="r1", worker="c2"),
    )
    assert set(placed.left) == {"r1"}


def test_a_worker_without_tasks_leaves_none():
    assert not Placements().take_in(events(WorkerQuit(worker="c1")))
