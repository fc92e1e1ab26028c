"""Tasks get workers: the scheduler's rules for its tasks.

- A task that has a worker keeps it, and is held for the longer of the two times asked for.  A task that is
  only held for a worker that drains is placed anew.
- Who picks a task up has it, even if it was held for another worker or runs there; the one that ran it is
  told so whenever it says that it is there, for `TOLD`.  The exception is a worker that was lost and hands
  back what it ran (within `HAND_BACK` of joining again): what was placed elsewhere in the meantime is
  another's, and it is told so.
- A running task that is laid down is held for its worker, so that it can come back; laying a mere reservation
  down, or unscheduling it, cancels it.
- A reservation that nobody picks up runs out.
"""

from datetime import datetime, timedelta
from functools import lru_cache
from typing import Final

import msgspec

from roomledger.domain.candidates import Choice
from roomledger.domain.decider import Context, Decision, Fact
from roomledger.domain.errors import Code, Refusal
from roomledger.domain.membership import (
    MAX_NAME,
    Command,
    Done,
    check_duration,
    check_name,
    check_names,
    invalid,
)
from roomledger.domain.pools import ONE
from roomledger.domain.scheduler_state import MAX_REFUSALS, REFUSAL_PAUSE, SchedulerState
from roomledger.domain.task import LAID_DOWN, RESERVED, RUNNING, Task
from roomledger.domain.worker import Worker
from roomledger_events.envelope import Event
from roomledger_events.tasks import (
    Basis,
    Preference,
    ReservationCancelled,
    ReservationExpired,
    ReservationExtended,
    RunnerUp,
    SchedulingRefused,
    TaskLaidDown,
    TaskPickedUp,
    TaskReleased,
    WorkerReserved,
)
from roomledger_events.workers import WorkerInfo

HAND_BACK: Final = timedelta(seconds=60)
"""For this long after it joined again a lost worker's pick-ups are taken for what it ran before."""

TOLD: Final = timedelta(seconds=60)
"""For this long a worker is told that what it ran is another's now."""

MAX_TAKEN: Final = 1_000
"""As many of such tasks are kept in mind for a worker, the last ones."""

PLACED_ELSEWHERE: Final = "placed_elsewhere"
WORKER_DRAINS: Final = "worker_drains"
_NO_PREFERENCE: Final = Preference()

# Commands ------------------------------------------------------------------------------------------------


class Schedule(Command, frozen=True):
    """A task wants a worker."""

    task: str
    preference: Preference = Preference()
    reserve_ms: int | None = None


class Extend(Command, frozen=True):
    """A task shall be held for longer."""

    task: str
    reserve_ms: int


class Unschedule(Command, frozen=True):
    """A reservation is not needed any more."""

    worker: str
    task: str


class PickUpTasks(Command, frozen=True):
    """A worker runs these tasks."""

    worker: str
    tasks: tuple[str, ...]


class LayDownTask(Command, frozen=True):
    """A worker runs a task no more."""

    worker: str
    task: str


class ExpireReservation(Command, frozen=True):
    """A reservation has run out (a timer's command)."""

    task: str


# Answers -------------------------------------------------------------------------------------------------


class Scheduled(msgspec.Struct, frozen=True, gc=False):
    """The worker of a task; `expires_at` is null where it runs the task already."""

    worker: str
    info: WorkerInfo
    expires_at: datetime | None


class Extended(msgspec.Struct, frozen=True, gc=False):
    """Until when a task is held; null where it runs."""

    expires_at: datetime | None


class PickedUp(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """The tasks are the worker's, except those `released`: these are another's now."""

    released: tuple[str, ...] = ()


class TaskView(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """Where a task is; `state` is ``reserved`` or ``running``."""

    worker: str
    state: str
    expires_at: datetime | None = None


# State and fold ------------------------------------------------------------------------------------------


def reserved(state: SchedulerState, event: Event, data: WorkerReserved) -> None:
    """Hold a task for a worker."""
    worker = state.workers.get(data.worker)
    if worker is None:
        return
    task = state.tasks.get(data.task)
    if task is None:
        task = Task(data.task, worker.id, RESERVED, data.reserve_ms, None, event.correlationid)
        state.add(task, worker)
        state.deadlines.move(task, data.expires_at)
    else:
        task.reserve_ms = data.reserve_ms
        task.correlation = event.correlationid
        state.hold(task, worker, RESERVED, data.expires_at)
    state.candidates.remember(data.preference, worker, data.basis.load)
    if state.task_load:
        worker.effective += state.task_load
        if state.report_delay:
            worker.recent.append(event.time)
        state.candidates.settle(worker)


def extended(state: SchedulerState, _event: Event, data: ReservationExtended) -> None:
    """Hold a task for longer."""
    task = state.tasks.get(data.task)
    if task is None:
        return
    task.reserve_ms = data.reserve_ms
    if not task.running:
        task.phase = RESERVED
        state.deadlines.move(task, data.expires_at)


def freed(
    state: SchedulerState, _event: Event, data: ReservationCancelled | ReservationExpired | TaskReleased
) -> None:
    """Forget a task, if it is this worker's; else the worker has been told that it is not."""
    task = state.tasks.get(data.task)
    if task is not None and task.worker == data.worker:
        state.free(task)
    elif (worker := state.workers.get(data.worker)) and data.task in worker.claims:
        worker.claims[data.task] = True


def picked_up(state: SchedulerState, event: Event, data: TaskPickedUp) -> None:
    """Let a worker run a task."""
    worker = state.workers.get(data.worker)
    if worker is None:
        return
    if worker.claims:
        worker.claims.pop(data.task, None)
    if worker.taken:
        worker.taken.pop(data.task, None)
    task = state.tasks.get(data.task)
    if task is None:
        task = Task(data.task, worker.id, RUNNING, state.settings.reserve_ms, None, event.correlationid)
        state.add(task, worker)
        return
    if task.worker != worker.id and task.running and (before := state.workers.get(task.worker)):
        _take(before, data.task, event.time)
    state.hold(task, worker, RUNNING, None)


def _take(worker: Worker, task: str, now: datetime) -> None:
    """Remember that a task is a worker's no more, and forget of which it has been told for long enough."""
    taken = worker.taken
    taken.pop(task, None)  # what is taken last stands last
    taken[task] = now
    while len(taken) > MAX_TAKEN or next(iter(taken.values())) <= now - TOLD:
        del taken[next(iter(taken))]


def laid_down(state: SchedulerState, _event: Event, data: TaskLaidDown) -> None:
    """Hold a task for the worker that ran it."""
    task, worker = state.tasks.get(data.task), state.workers.get(data.worker)
    if task is not None and worker is not None:
        state.hold(task, worker, LAID_DOWN, data.expires_at)


def refused(state: SchedulerState, event: Event, data: SchedulingRefused) -> None:
    """Remember when a refusal was recorded, and forget those of long ago."""
    refusals = state.refusals
    refusals[data.task, data.reason] = event.time
    refusals.move_to_end((data.task, data.reason))
    while len(refusals) > MAX_REFUSALS or next(iter(refusals.values())) <= event.time - REFUSAL_PAUSE:
        refusals.popitem(last=False)


# Decisions -----------------------------------------------------------------------------------------------


def schedule(state: SchedulerState, command: Schedule, context: Context) -> Decision:
    """Find a task its worker.

    Raises:
        Refusal: An argument is wrong, or no worker ever joined this purpose.
    """
    check_name(command.task, "task")
    if command.reserve_ms is not None:
        check_duration(command.reserve_ms, "reserve_ms")
    task = state.tasks.get(command.task)
    facts: tuple[Fact, ...] = ()
    if task is not None:
        holder = state.workers[task.worker]
        if task.running or not holder.draining:
            fact, due = _longer(task, command.reserve_ms, context)
            return Decision(fact, Scheduled(holder.id, holder.info, due))
        facts = (_release(task, holder, WORKER_DRAINS),)
    _check_preference(command.preference)
    if not state.joins:
        raise Refusal(Code.NO_SUCH_PURPOSE, f"no worker ever joined {state.settings.purpose}")
    choice = state.candidates.choose(command.preference, context.draw)
    if not choice.ranked:
        return _refuse(state, command, context, choice)
    winner = choice.ranked[0]
    reserve_ms = command.reserve_ms or state.settings.reserve_ms
    due = context.now + _span(reserve_ms)
    reservation = WorkerReserved(
        task=command.task,
        worker=winner.id,
        expires_at=due,
        reserve_ms=reserve_ms,
        preference=command.preference,
        basis=_basis(state, context, choice),
    )
    return Decision((*facts, Fact(command.task, reservation)), Scheduled(winner.id, winner.info, due))


def extend(state: SchedulerState, command: Extend, context: Context) -> Decision:
    """Hold a task for longer.

    Raises:
        Refusal: The task is not known, or the time is out of range.
    """
    check_duration(command.reserve_ms, "reserve_ms")
    fact, due = _longer(_known(state, command.task), command.reserve_ms, context)
    return Decision(fact, Extended(due))


def unschedule(state: SchedulerState, command: Unschedule, _context: Context) -> Decision:
    """Cancel a reservation, if it is this worker's.

    Raises:
        Refusal: The worker is not known.
    """
    worker = state.worker(command.worker)
    task = worker.tasks.get(command.task)
    if task is None or task.running:
        return Decision(answer=Done())
    return Decision((_cancel(task),), Done())


def pick_up(state: SchedulerState, command: PickUpTasks, context: Context) -> Decision:
    """Let a worker run tasks.

    Raises:
        Refusal: The worker is not known, or a task is none.
    """
    worker = state.worker(command.worker)
    hands_back = bool(worker.claims) and context.now < worker.joined_at + HAND_BACK
    facts, released = [], []
    for name in dict.fromkeys(command.tasks):
        check_name(name, "task")
        task = state.tasks.get(name)
        if task is None:
            facts.append(Fact(name, TaskPickedUp(task=name, worker=worker.id)))
        elif task.worker == worker.id:
            if not task.running:
                facts.append(Fact(name, TaskPickedUp(task=name, worker=worker.id), task.correlation))
        elif hands_back and name in worker.claims:
            released.append(name)
            if not worker.claims[name]:
                facts.append(_release(task, worker, PLACED_ELSEWHERE))
        else:
            taken = TaskPickedUp(task=name, worker=worker.id, reserved_for=task.worker)
            facts.append(Fact(name, taken, task.correlation))
    return Decision(facts, PickedUp(tuple(released)))


def lay_down(state: SchedulerState, command: LayDownTask, context: Context) -> Decision:
    """Hold a running task for its worker; cancel a mere reservation.

    Raises:
        Refusal: The worker is not known.
    """
    worker = state.worker(command.worker)
    task = worker.tasks.get(command.task)
    if task is None or task.phase is LAID_DOWN:
        return Decision(answer=Done())
    if not task.running:
        return Decision((_cancel(task),), Done())
    due = context.now + _span(task.reserve_ms)
    laid = TaskLaidDown(task=task.id, worker=worker.id, expires_at=due)
    return Decision((Fact(task.id, laid, task.correlation),), Done())


def expire(state: SchedulerState, command: ExpireReservation, context: Context) -> Decision:
    """Give a reservation up that has run out."""
    task = state.tasks.get(command.task)
    if task is None or task.due is None or task.due > context.now:
        return Decision(answer=Done())
    expired = ReservationExpired(task=task.id, worker=task.worker)
    return Decision((Fact(task.id, expired, task.correlation),), Done())


@lru_cache(256)
def _span(milliseconds: int) -> timedelta:
    return timedelta(milliseconds=milliseconds)


def _longer(task: Task, reserve_ms: int | None, context: Context) -> tuple[tuple[Fact, ...], datetime | None]:
    longer = max(task.reserve_ms, reserve_ms or 0)
    due = None
    if task.due is not None:
        due = max(task.due, context.now + _span(longer))
    if longer == task.reserve_ms and due == task.due:
        return (), due
    held = ReservationExtended(task=task.id, worker=task.worker, reserve_ms=longer, expires_at=due)
    return (Fact(task.id, held, task.correlation),), due


def _refuse(state: SchedulerState, command: Schedule, context: Context, choice: Choice) -> Decision:
    purpose = state.settings.purpose
    if choice.available:
        refusal = Refusal(Code.NO_MATCH, f"no worker of {purpose} matches the preference", **choice.refused)
    else:
        message = f"no worker of {purpose} is available"
        refusal = Refusal(Code.ALL_IN_FULL_LOAD, message, **choice.refused)
    recorded = state.refusals.get((command.task, refusal.code))
    if recorded is not None and context.now < recorded + REFUSAL_PAUSE:
        return Decision(refusal=refusal)
    fact = SchedulingRefused(
        task=command.task,
        reason=refusal.code.value,
        preference=command.preference,
        basis=_basis(state, context, choice),
    )
    return Decision((Fact(command.task, fact),), refusal=refusal)


def _basis(state: SchedulerState, context: Context, choice: Choice) -> Basis:
    ranked = choice.ranked
    return Basis(
        sequence=context.basis,
        strategy=state.settings.strategy,
        workers=len(state.workers),
        candidates=choice.candidates,
        refused=choice.refused,
        load=ranked[0].effective / ONE if ranked else None,
        runners_up=tuple([RunnerUp(worker=each.id, load=each.effective / ONE) for each in ranked[1:]]),
        draw=context.draw if ranked and state.candidates.draws else None,
    )


def _release(task: Task, worker: Worker, reason: str) -> Fact:
    return Fact(task.id, TaskReleased(task=task.id, worker=worker.id, reason=reason), task.correlation)


def _cancel(task: Task) -> Fact:
    return Fact(task.id, ReservationCancelled(task=task.id, worker=task.worker), task.correlation)


# Queries -------------------------------------------------------------------------------------------------


def tasks_of(state: SchedulerState, worker: str) -> list[str]:
    """Return the ids of the tasks that a worker runs.

    Raises:
        Refusal: The worker is not known.
    """
    return [task.id for task in state.worker(worker).tasks.values() if task.running]


def taken_from(state: SchedulerState, worker: str, now: datetime) -> tuple[str, ...]:
    """Return what a worker ran and is another's now, as far as that is still to be told."""
    known = state.workers.get(worker)
    return () if known is None else tuple(task for task, at in known.taken.items() if at > now - TOLD)


def scheduled(state: SchedulerState, task: str) -> TaskView:
    """Return where a task is.

    Raises:
        Refusal: It is not known.
    """
    known = _known(state, task)
    return TaskView(known.worker, "running" if known.running else "reserved", known.due)


def _known(state: SchedulerState, task: str) -> Task:
    known = state.tasks.get(task)
    if known is None:
        raise Refusal(Code.NO_SUCH_TASK, f"no task {task[:64]!r} is known here")
    return known


def _check_preference(preference: Preference) -> None:
    if preference == _NO_PREFERENCE:
        return
    for name in (preference.isp, preference.region, preference.algorithm):
        if name is not None and not 0 < len(name) <= MAX_NAME:
            raise invalid(f"the preference names {name[:80]!r}: 1 to {MAX_NAME} characters")
    if preference.video is not None:
        check_names(preference.video.encode, "preference.video.encode")
        check_names(preference.video.decode, "preference.video.decode")
