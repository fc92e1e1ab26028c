"""Workers come, report, drain and go: the scheduler's rules for its workers.

- A worker that joined gets tasks when it has reported its load.  One that joins again while it is known keeps
  its tasks, its state and its load.
- The load reckoned with, the *effective* one, is the one reported last and those reservations that the report
  does not contain: a report may be late by a delay that is set, so younger ones than that are not in it.
- A load is recorded if it matters: the first one, one that changes the effective load by the threshold, one
  by which that crosses the worker's limit.
- A worker that drains keeps what it has and gets nothing new; when its deadline has passed that is recorded
  once, and it is to move what is left.
- A worker that quits or is lost frees its tasks.  What a lost one ran is kept in mind: see `placement`.
"""

import math
import re
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Final

import msgspec

from roomledger.domain.decider import Context, Decision, Fact
from roomledger.domain.errors import Code, Refusal
from roomledger.domain.matching import MAX_PLACES
from roomledger.domain.pools import millionths
from roomledger.domain.purpose import MAX_RESERVE_MS, PurposeSettings
from roomledger.domain.scheduler_state import SchedulerState
from roomledger.domain.worker import STATES, Worker, shown
from roomledger_events.envelope import Event
from roomledger_events.identifiers import ID_PATTERN
from roomledger_events.workers import (
    LoadReported,
    SchedulerTakenOver,
    WorkerDrainDeadlineReached,
    WorkerDraining,
    WorkerInfo,
    WorkerJoined,
    WorkerLost,
    WorkerQuit,
    WorkerStateReported,
    WorkerUndrained,
)

MAX_NAMES: Final = 256
"""The most isps, regions, codecs or algorithms that a worker may name."""

MAX_NAME: Final = 64
"""The longest name of an isp, a region, a codec or an algorithm, in characters."""

# Commands ------------------------------------------------------------------------------------------------


class Command(msgspec.Struct, frozen=True, gc=False):
    """What a scheduler can be asked to do."""


class TakeOver(Command, frozen=True):
    """A cluster manager takes over; its name is used for one incarnation only.

    What is set for it counts from then on; without settings those that counted before.
    """

    manager: str
    settings: PurposeSettings | None = None


class Join(Command, frozen=True):
    """A worker joins."""

    worker: str
    info: WorkerInfo


class Quit(Command, frozen=True):
    """A worker leaves of its own will."""

    worker: str


class LoseWorker(Command, frozen=True):
    """A worker was silent for longer than its lease; the one who listens says so."""

    worker: str
    silent_ms: int


class ReportState(Command, frozen=True):
    """A worker says whether it is ready: 0 not ready, 1 initializing, 2 ready."""

    worker: str
    state: int


class ReportLoad(Command, frozen=True):
    """A worker says how loaded it is, 0 to 1."""

    worker: str
    load: float


class Drain(Command, frozen=True):
    """A worker shall get no new tasks, and be told to move those that it has after a time."""

    worker: str
    deadline_ms: int | None = None


class Undrain(Command, frozen=True):
    """A draining worker shall get new tasks again."""

    worker: str


class ReachDrainDeadline(Command, frozen=True):
    """The deadline of a drain has come (a timer's command)."""

    worker: str


# Answers -------------------------------------------------------------------------------------------------


class Done(msgspec.Struct, frozen=True, gc=False):
    """Nothing to say."""


class TakenOver(msgspec.Struct, frozen=True, gc=False):
    """The epoch that began."""

    epoch: int


class InService(msgspec.Struct, frozen=True, gc=False):
    """The worker is known from now on."""

    state: str = "in_service"


class Left(msgspec.Struct, frozen=True, gc=False):
    """How many tasks and reservations a worker has."""

    tasks: int


class WorkerView(msgspec.Struct, frozen=True, gc=False):
    """A worker as it is shown; `load` and `effective_load` are null before its first report."""

    worker: str
    purpose: str
    state: int | None
    load: float | None
    effective_load: float | None
    info: WorkerInfo
    tasks: list[str]
    reservations: list[str]
    draining: bool
    drain_deadline: datetime | None
    available: bool


# State and fold ------------------------------------------------------------------------------------------


def taken_over(state: SchedulerState, _event: Event, data: SchedulerTakenOver) -> None:
    """Take in who decides, and by which settings; those that mean nothing here change nothing."""
    state.manager = data.manager
    state.epoch = data.epoch
    if data.settings is not None:
        with suppress(ValueError):
            state.set(PurposeSettings.of(state.settings.purpose, data.settings))


def joined(state: SchedulerState, event: Event, data: WorkerJoined) -> None:
    """Take a worker in, or what it newly tells of itself."""
    worker = state.workers.get(data.worker)
    if worker is None:
        state.joins += 1
        worker = Worker(data.worker, state.joins, data.info, event.time)
        claims = state.lost.pop(data.worker, ())
        state.claimed -= len(claims)
        worker.claims = dict.fromkeys(claims, False)
        state.workers[worker.id] = worker
    else:
        state.candidates.leave(worker)
        worker.tell(data.info)
    state.candidates.join(worker)


def gone(state: SchedulerState, _event: Event, data: WorkerQuit | WorkerLost) -> None:
    """Forget a worker, and free what it had."""
    worker = state.workers.get(data.worker)
    if worker is None:
        return
    if isinstance(data, WorkerLost):
        state.remember_lost(worker)
    state.remove(worker)


def state_reported(state: SchedulerState, _event: Event, data: WorkerStateReported) -> None:
    """Take a worker's state in."""
    if worker := state.workers.get(data.worker):
        worker.state = data.state
        state.candidates.settle(worker)


def load_reported(state: SchedulerState, event: Event, data: LoadReported) -> None:
    """Take a worker's load in; all reservations are part of it but the youngest."""
    if worker := state.workers.get(data.worker):
        worker.load = worker.effective = millionths(data.load)
        if recent := worker.recent:
            missed = worker.missed_by(event.time, state.report_delay)
            del recent[: len(recent) - missed]
            worker.effective += missed * state.task_load
        state.candidates.settle(worker)


def draining(state: SchedulerState, _event: Event, data: WorkerDraining) -> None:
    """Take in that a worker drains."""
    if worker := state.workers.get(data.worker):
        worker.draining = True
        worker.drain_until = data.deadline
        state.deadlines.move(worker, data.deadline)
        state.candidates.settle(worker)


def drain_deadline_reached(state: SchedulerState, _event: Event, data: WorkerDrainDeadlineReached) -> None:
    """Take in that the deadline has passed."""
    if worker := state.workers.get(data.worker):
        state.deadlines.move(worker, None)


def undrained(state: SchedulerState, _event: Event, data: WorkerUndrained) -> None:
    """Take in that a worker drains no more."""
    if worker := state.workers.get(data.worker):
        worker.draining = False
        worker.drain_until = None
        state.deadlines.move(worker, None)
        state.candidates.settle(worker)


# Decisions -----------------------------------------------------------------------------------------------


def take_over(state: SchedulerState, command: TakeOver, _context: Context) -> Decision:
    """Begin the next epoch, unless this manager has begun the present one."""
    if state.manager == command.manager:
        return Decision(answer=TakenOver(state.epoch))
    epoch = state.epoch + 1
    settings = None if command.settings is None else command.settings.recorded()
    taken = SchedulerTakenOver(manager=command.manager, epoch=epoch, settings=settings)
    fact = Fact(command.manager, taken)
    return Decision((fact,), TakenOver(epoch))


def join(state: SchedulerState, command: Join, _context: Context) -> Decision:
    """Let a worker in.

    Raises:
        Refusal: Its id is none, its `max_load` out of range, or its capacity names too much.
    """
    worker, info = command.worker, command.info
    check_name(worker, "worker")
    if not 0 < info.max_load <= 1 or not millionths(info.max_load):
        raise invalid(f"max_load is {info.max_load}: more than 0 and at most 1")
    _check_capacity(state, info)
    known = state.workers.get(worker)
    if known is not None and known.info == info:
        return Decision(answer=InService())
    purpose = state.settings.purpose
    return Decision((Fact(worker, WorkerJoined(worker=worker, purpose=purpose, info=info)),), InService())


def quit_(state: SchedulerState, command: Quit, _context: Context) -> Decision:
    """Let a worker go; one that is not known is gone already."""
    if command.worker not in state.workers:
        return Decision(answer=Done())
    return Decision((Fact(command.worker, WorkerQuit(worker=command.worker)),), Done())


def lose(state: SchedulerState, command: LoseWorker, _context: Context) -> Decision:
    """Give a worker up."""
    if command.worker not in state.workers:
        return Decision(answer=Done())
    lost = WorkerLost(worker=command.worker, silent_ms=command.silent_ms)
    return Decision((Fact(command.worker, lost),), Done())


def report_state(state: SchedulerState, command: ReportState, _context: Context) -> Decision:
    """Record another state.

    Raises:
        Refusal: The worker is not known, or the state is none.
    """
    worker = state.worker(command.worker)
    if command.state not in STATES:
        raise invalid(f"state is {command.state}: 0 (not ready), 1 (initializing) or 2 (ready)")
    if worker.state == command.state:
        return Decision(answer=Done())
    fact = Fact(worker.id, WorkerStateReported(worker=worker.id, state=command.state))
    return Decision((fact,), Done())


def report_load(state: SchedulerState, command: ReportLoad, context: Context) -> Decision:
    """Record a load if it matters.

    Raises:
        Refusal: The worker is not known, or the load is none.
    """
    worker = state.worker(command.worker)
    if not (math.isfinite(command.load) and 0 <= command.load <= 1):
        raise invalid(f"load is {command.load}: 0 to 1")
    load, before = millionths(command.load), worker.effective
    after = load + worker.missed_by(context.now, state.report_delay) * state.task_load
    matters = (
        worker.load is None
        or abs(after - before) >= max(millionths(state.settings.load_threshold), 1)
        or (after >= worker.limit) != (before >= worker.limit)
    )
    if not matters:
        return Decision(answer=Done())
    return Decision((Fact(worker.id, LoadReported(worker=worker.id, load=shown(load))),), Done())


def drain(state: SchedulerState, command: Drain, context: Context) -> Decision:
    """Let a worker get nothing new.

    Raises:
        Refusal: The worker is not known, or the deadline is out of range.
    """
    worker = state.worker(command.worker)
    deadline = None
    if command.deadline_ms is not None:
        check_duration(command.deadline_ms, "deadline_ms")
        deadline = context.now + timedelta(milliseconds=command.deadline_ms)
    answer = Left(len(worker.tasks))
    if worker.draining and worker.drain_until == deadline:
        return Decision(answer=answer)
    return Decision((Fact(worker.id, WorkerDraining(worker=worker.id, deadline=deadline)),), answer)


def undrain(state: SchedulerState, command: Undrain, _context: Context) -> Decision:
    """Let a worker get tasks again.

    Raises:
        Refusal: The worker is not known.
    """
    worker = state.worker(command.worker)
    answer = Left(len(worker.tasks))
    if not worker.draining:
        return Decision(answer=answer)
    return Decision((Fact(worker.id, WorkerUndrained(worker=worker.id)),), answer)


def reach_drain_deadline(state: SchedulerState, command: ReachDrainDeadline, context: Context) -> Decision:
    """Record that the deadline of a drain has passed."""
    worker = state.workers.get(command.worker)
    if worker is None or worker.due is None or worker.due > context.now:
        return Decision(answer=Done())
    reached = WorkerDrainDeadlineReached(worker=worker.id, tasks_left=len(worker.tasks))
    return Decision((Fact(worker.id, reached),), Done())


# Queries -------------------------------------------------------------------------------------------------


def worker_view(state: SchedulerState, worker: str) -> WorkerView:
    """Return a worker as it is shown.

    Raises:
        Refusal: It is not known.
    """
    known = state.worker(worker)
    reported = known.load is not None
    return WorkerView(
        worker=known.id,
        purpose=state.settings.purpose,
        state=known.state,
        load=shown(known.load or 0) if reported else None,
        effective_load=shown(known.effective) if reported else None,
        info=known.info,
        tasks=[task.id for task in known.tasks.values() if task.running],
        reservations=[task.id for task in known.tasks.values() if not task.running],
        draining=known.draining,
        drain_deadline=known.drain_until,
        available=known.unavailable is None,
    )


def workers_in_joining_order(state: SchedulerState) -> list[str]:
    """Return the ids of all workers."""
    return list(state.workers)


# Checks --------------------------------------------------------------------------------------------------

_matches: Final = re.compile(ID_PATTERN).match


def invalid(message: str) -> Refusal:
    """Return the refusal of an argument."""
    return Refusal(Code.INVALID_ARGUMENT, message)


def check_name(text: str, what: str) -> None:
    """Check the id of a worker or a task.

    Raises:
        Refusal: It is none.
    """
    if _matches(text) is None:
        raise invalid(f"{text[:80]!r} is no {what}: 1 to 64 letters, digits, hyphens and underscores")


def check_duration(milliseconds: int, what: str) -> None:
    """Check a time to hold or to drain.

    Raises:
        Refusal: It is not between a millisecond and a day.
    """
    if not 1 <= milliseconds <= MAX_RESERVE_MS:
        raise invalid(f"{what} is {milliseconds}: 1 to {MAX_RESERVE_MS} (a day)")


def check_names(names: tuple[str, ...], what: str) -> None:
    """Check the names of isps, regions, codecs or algorithms.

    Raises:
        Refusal: There are too many, or one is empty or too long.
    """
    if len(names) > MAX_NAMES:
        raise invalid(f"{what} names {len(names)}: at most {MAX_NAMES}")
    for name in names:
        if not 0 < len(name) <= MAX_NAME:
            raise invalid(f"{what} names {name[:80]!r}: 1 to {MAX_NAME} characters each")


def _check_capacity(state: SchedulerState, info: WorkerInfo) -> None:
    capacity = info.capacity
    check_names(capacity.isps, "isps")
    check_names(capacity.regions, "regions")
    check_names(capacity.algorithms, "algorithms")
    if capacity.video is not None:
        check_names(capacity.video.encode, "video.encode")
        check_names(capacity.video.decode, "video.decode")
    places = len(state.candidates.matcher.places(capacity))
    if places > MAX_PLACES:
        raise invalid(f"capacity has {places} combinations of isp, region and need: at most {MAX_PLACES}")
