"""The scheduler of a purpose: which worker gets which task, and why.

Its workers are the matter of `membership`, its tasks of `placement`, the choice of `candidates`.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Final

from roomledger.domain import membership, placement
from roomledger.domain.candidates import Candidates
from roomledger.domain.decider import Context, Decider, Decision
from roomledger.domain.first_answers import again
from roomledger.domain.membership import Command
from roomledger.domain.purpose import PurposeSettings
from roomledger.domain.scheduler_state import SchedulerState
from roomledger.domain.task import Task
from roomledger_events import tasks, workers
from roomledger_events.envelope import Event, Payload

DUE_AT_ONCE: Final = 256
"""The most timer commands that are handed out together."""

DECISIONS: Final[dict[type[Command], Callable[[SchedulerState, Any, Context], Decision]]] = {
    membership.TakeOver: membership.take_over,
    membership.Join: membership.join,
    membership.Quit: membership.quit_,
    membership.LoseWorker: membership.lose,
    membership.ReportState: membership.report_state,
    membership.ReportLoad: membership.report_load,
    membership.Drain: membership.drain,
    membership.Undrain: membership.undrain,
    membership.ReachDrainDeadline: membership.reach_drain_deadline,
    placement.Schedule: placement.schedule,
    placement.Extend: placement.extend,
    placement.Unschedule: placement.unschedule,
    placement.PickUpTasks: placement.pick_up,
    placement.LayDownTask: placement.lay_down,
    placement.ExpireReservation: placement.expire,
}
"""Command → who decides it."""

FOLDS: Final[dict[type[Payload], Callable[[SchedulerState, Event, Any], None]]] = {
    workers.SchedulerTakenOver: membership.taken_over,
    workers.WorkerJoined: membership.joined,
    workers.WorkerQuit: membership.gone,
    workers.WorkerLost: membership.gone,
    workers.WorkerStateReported: membership.state_reported,
    workers.LoadReported: membership.load_reported,
    workers.WorkerDraining: membership.draining,
    workers.WorkerDrainDeadlineReached: membership.drain_deadline_reached,
    workers.WorkerUndrained: membership.undrained,
    tasks.WorkerReserved: placement.reserved,
    tasks.ReservationExtended: placement.extended,
    tasks.ReservationCancelled: placement.freed,
    tasks.ReservationExpired: placement.freed,
    tasks.TaskReleased: placement.freed,
    tasks.TaskPickedUp: placement.picked_up,
    tasks.TaskLaidDown: placement.laid_down,
    tasks.SchedulingRefused: placement.refused,
}
"""Event → who takes it in."""


def SCHEDULER(settings: PurposeSettings) -> Decider[SchedulerState, Command]:  # noqa: N802  - as other deciders
    """Return the decider of one purpose."""

    def initial() -> SchedulerState:
        return SchedulerState(settings, Candidates(settings))

    return Decider(initial, evolve, decide, deadline, due, again)


def evolve(state: SchedulerState, event: Event) -> SchedulerState:
    """Take an event in."""
    data = event.data
    fold = FOLDS.get(type(data))
    if fold is not None:
        fold(state, event, data)
    return state


def decide(state: SchedulerState, command: Command, context: Context) -> Decision:
    """Say what a command leads to.

    Raises:
        Refusal: The command is refused without a trace.
    """
    return DECISIONS[type(command)](state, command, context)


def deadline(state: SchedulerState) -> datetime | None:
    """Return the earliest time at which a reservation or a drain runs out."""
    return state.deadlines.earliest()


def due(state: SchedulerState, now: datetime) -> Sequence[Command]:
    """Return the commands for what has run out."""
    return [
        placement.ExpireReservation(item.id)
        if isinstance(item, Task)
        else membership.ReachDrainDeadline(item.id)
        for item in state.deadlines.until(now, DUE_AT_ONCE)
    ]
