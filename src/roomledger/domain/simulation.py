"""What would have been: the recorded requests of a purpose decided again, in a world that differs a little.

Two worlds are folded side by side, the recorded one and the simulated one.  Up to the moment at which they
part they are the same.  From there on

- a request for a worker is decided anew, at its own time and with its own draw;
- workers come, go, drain and report their states as they did, except those that the simulated world lacks;
- a task that was picked up, laid down, extended or given up is so by the worker that has it in the simulated
  world; a task that has none there does not take place;
- a load that was reported is modelled: what was reported, and for each task that the worker has more or less
  in the simulated world the `task_load` of a reservation more or less;
- what a worker had that is lost in both worlds, but which only the simulated one had placed there, is
  requested again at once; a reservation that only the simulated world has runs out by its own time.

With nothing changed the worlds never part.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple
from zlib import crc32

import msgspec

from roomledger.domain.decider import Context, Fact
from roomledger.domain.errors import Refusal
from roomledger.domain.load_meter import LoadMeter, Loads
from roomledger.domain.placement import WORKER_DRAINS, Schedule, Scheduled, schedule
from roomledger.domain.pools import ONE, millionths
from roomledger.domain.purpose import PurposeSettings
from roomledger.domain.repetition import Decision, missing_reports, steps
from roomledger.domain.scheduler import SCHEDULER, evolve
from roomledger.domain.task import Task
from roomledger.domain.worker import shown
from roomledger_events import tasks, workers
from roomledger_events.envelope import Commit, Event, Payload
from roomledger_events.tasks import Preference, WorkerReserved

MOVES_KEPT: Final = 10_000
_DRAWS: Final = 1 << 32


class Changes(NamedTuple):
    """How the simulated world differs.

    Attributes:
        strategy: Another strategy; None for the recorded one.
        max_load: Another limit for all workers.
        task_load: What a reservation adds to a load.
        without: The workers that it lacks.
    """

    strategy: str | None = None
    max_load: float | None = None
    task_load: float | None = None
    without: frozenset[str] = frozenset()

    def of(self, settings: PurposeSettings) -> PurposeSettings:
        """Return settings as they are in the simulated world.

        Raises:
            ValueError: They cannot be so.
        """
        strategy = settings.strategy if self.strategy is None else self.strategy
        task_load = settings.task_load if self.task_load is None else self.task_load
        return replace(settings, strategy=strategy, task_load=task_load)


class Move(msgspec.Struct, frozen=True, gc=False):
    """A request that went elsewhere; null stands for a refusal."""

    sequence: int
    place: int
    task: str
    recorded: str | None
    simulated: str | None


class WorkerResult(msgspec.Struct, frozen=True, kw_only=True):
    """A worker in both worlds: how many tasks it was given, and its effective load."""

    worker: str
    placed: int
    placed_simulated: int
    loads: Loads
    loads_simulated: Loads


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """A purpose in both worlds.

    Attributes:
        purpose: Its name.
        strategy: The recorded strategy.
        strategy_simulated: The simulated one.
        requests: How many requests for a worker were recorded.
        refused: How many of them were refused.
        refused_simulated: How many are, in the simulated world.
        moved: How many went elsewhere.
        displaced: How many tasks had to be requested again because only the simulated world lost them.
        unknowable: How many were decided by load reports that have expired, and so cannot be decided again.
        workers: Both worlds by worker, in joining order.
        moves: The first of those that went elsewhere.
    """

    purpose: str
    strategy: str
    strategy_simulated: str
    requests: int
    refused: int
    refused_simulated: int
    moved: int
    displaced: int
    unknowable: int
    workers: tuple[WorkerResult, ...]
    moves: tuple[Move, ...]


class Simulation:
    """Both worlds of one purpose.

    Args:
        settings: What counted for the purpose where the log does not say it.
        changes: How the simulated world differs.
    """

    def __init__(self, settings: PurposeSettings, changes: Changes) -> None:
        self._changes = changes
        self._recorded = SCHEDULER(settings).initial()
        self._simulated = SCHEDULER(settings).initial()
        self._parted = False
        self._now = datetime.min.replace(tzinfo=UTC)
        self._loads = LoadMeter()
        self._loads_simulated = LoadMeter()
        self._placed: dict[str, int] = {}
        self._placed_simulated: dict[str, int] = {}
        self._touched: set[str] = set()
        self._moves: list[Move] = []
        self._wishes: dict[str, tuple[Preference, int | None]] = {}
        self._requests = self._refused = self._refused_simulated = 0
        self._moved = self._displaced = self._unknowable = 0

    def part(self, now: datetime) -> None:
        """Let the worlds part here."""
        self._parted = True
        self._now = now
        state = self._simulated
        state.set(self._changes.of(state.settings))
        for worker in list(state.workers.values()):
            if self._changes.max_load is not None:
                state.candidates.leave(worker)
                worker.tell(self._info(worker.info))
                state.candidates.join(worker)
            if worker.id in self._changes.without:
                lost = list(worker.tasks.values())
                state.remove(worker)
                self._request_again(lost, now)
        self._touched.update(self._recorded.workers)
        self._note()

    def take_in(self, commit: Commit) -> None:
        """Take a commit of the recorded world in, and let the simulated one follow."""
        for step in steps(self._recorded, commit.events):
            event = step.event
            if not self._parted:
                evolve(self._simulated, event)
                continue
            self._now = max(self._now, event.time)
            self._run_out()
            if step.decision is not None:
                self._decide(commit.sequence, step.decision)
            self._follow(event, event.data)
        if self._parted:
            self._note()

    def result(self) -> Result:
        """Return both worlds, as of the last commit."""
        names = [
            *dict.fromkeys([*self._recorded.workers, *self._simulated.workers, *self._placed, *self._loads])
        ]
        return Result(
            purpose=self._recorded.settings.purpose,
            strategy=self._recorded.settings.strategy,
            strategy_simulated=self._simulated.settings.strategy,
            requests=self._requests,
            refused=self._refused,
            refused_simulated=self._refused_simulated,
            moved=self._moved,
            displaced=self._displaced,
            unknowable=self._unknowable,
            workers=tuple(
                WorkerResult(
                    worker=name,
                    placed=self._placed.get(name, 0),
                    placed_simulated=self._placed_simulated.get(name, 0),
                    loads=self._loads.of(name, self._now),
                    loads_simulated=self._loads_simulated.of(name, self._now),
                )
                for name in names
            ),
            moves=tuple(self._moves),
        )

    # -- The simulated world

    def _decide(self, sequence: int, decision: Decision) -> None:
        data = decision.data
        reserved = data if isinstance(data, WorkerReserved) else None
        self._requests += 1
        self._unknowable += missing_reports(self._recorded, data) > 0
        recorded = None if reserved is None else reserved.worker
        if recorded is None:
            self._refused += 1
        else:
            self._placed[recorded] = self._placed.get(recorded, 0) + 1
        draw = data.basis.draw
        self._wishes[data.task] = data.preference, None if reserved is None else reserved.reserve_ms
        winner = self._request(data.task, decision.event, _draw(decision.event.id) if draw is None else draw)
        self._refused_simulated += winner is None
        if winner != recorded:
            self._moved += 1
            if len(self._moves) < MOVES_KEPT:
                self._moves.append(Move(sequence, decision.place, data.task, recorded, winner))

    def _request(self, task: str, event: Event, draw: float) -> str | None:
        """Decide a request in the simulated world, and return who got it."""
        preference, reserve_ms = self._wishes.get(task, (Preference(), None))
        context = Context(event.time, draw=draw)
        try:
            decided = schedule(self._simulated, Schedule(task, preference, reserve_ms), context)
        except Refusal:
            return None
        for fact in decided.facts:
            self._happen(event, fact)
            if isinstance(fact.data, WorkerReserved):
                worker = fact.data.worker
                self._placed_simulated[worker] = self._placed_simulated.get(worker, 0) + 1
        return decided.answer.worker if isinstance(decided.answer, Scheduled) else None

    def _follow(self, event: Event, data: Any) -> None:  # noqa: ANN401  - of any type of event
        """Take in what happened in the recorded world, as it happens in the simulated one."""
        worker = getattr(data, "worker", None)
        if worker is not None:
            self._touched.add(worker)
        if isinstance(data, workers.SchedulerTakenOver):
            self._happen(event, self._taken_over(data))
        elif isinstance(data, workers.WorkerLost | workers.WorkerQuit):
            self._lose(event, data)
        elif isinstance(data, _OF_TASKS):
            followed = self._of_task(data)
            if followed is not None:
                self._happen(event, followed)
        elif not isinstance(data, tasks.WorkerReserved | tasks.SchedulingRefused | tasks.TaskReleased):
            if worker not in self._changes.without:
                self._happen(event, self._of_worker(data))
        elif isinstance(data, tasks.TaskReleased) and data.reason != WORKER_DRAINS:
            held = self._simulated.tasks.get(data.task)
            if held is None or held.worker != data.worker:
                self._happen(event, data)

    def _taken_over(self, data: workers.SchedulerTakenOver) -> workers.SchedulerTakenOver:
        if data.settings is None:
            return data
        changed = data.settings
        if self._changes.strategy is not None:
            changed = msgspec.structs.replace(changed, strategy=self._changes.strategy)
        if self._changes.task_load is not None:
            changed = msgspec.structs.replace(changed, task_load=self._changes.task_load)
        return msgspec.structs.replace(data, settings=changed)

    def _of_worker(self, data: Payload) -> Payload:
        if isinstance(data, workers.WorkerJoined):
            return msgspec.structs.replace(data, info=self._info(data.info))
        if isinstance(data, workers.LoadReported):
            there, here = self._recorded.workers.get(data.worker), self._simulated.workers.get(data.worker)
            if there is not None and here is not None and len(there.tasks) != len(here.tasks):
                more = (len(here.tasks) - len(there.tasks)) * self._simulated.task_load
                load = min(max(millionths(data.load) + more, 0), ONE)
                return msgspec.structs.replace(data, load=shown(load))
        return data

    def _of_task(self, data: Any) -> Payload | None:  # noqa: ANN401  - one of `_OF_TASKS`
        """Return what happens to a task by the worker that has it; None where nothing does."""
        held, there = self._simulated.tasks.get(data.task), self._recorded.tasks.get(data.task)
        if held is None:
            alone = isinstance(data, tasks.TaskPickedUp) and there is None
            return data if alone and data.worker in self._simulated.workers else None
        worker = held.worker
        if isinstance(data, tasks.TaskPickedUp):
            same = there is None or there.worker == worker
            if same and data.worker in self._simulated.workers:
                worker = data.worker
        elif isinstance(data, tasks.TaskLaidDown):
            if not held.running:
                return None
        elif isinstance(data, tasks.ReservationExtended) and data.expires_at is None and not held.running:
            return None
        followed: Payload = msgspec.structs.replace(data, worker=worker)
        return followed

    def _lose(self, event: Event, data: workers.WorkerLost | workers.WorkerQuit) -> None:
        there, here = self._recorded.workers.get(data.worker), self._simulated.workers.get(data.worker)
        for task in [] if there is None else there.tasks:
            held = self._simulated.tasks.get(task)
            if held is not None and held.worker != data.worker and held.running:
                # In the recorded world its client had to come back; here it has the time to.
                due = event.time + timedelta(milliseconds=held.reserve_ms)
                laid = tasks.TaskLaidDown(task=task, worker=held.worker, expires_at=due)
                self._happen(event, laid)
        kept = self._recorded.tasks
        lost = [
            task
            for task in ([] if here is None else list(here.tasks.values()))
            if task.id in kept and kept[task.id].worker != data.worker
        ]
        evolve(self._simulated, event)
        self._request_again(lost, event.time, event)

    def _request_again(self, lost: Sequence[Task], now: datetime, event: Event | None = None) -> None:
        for task in lost:
            self._displaced += 1
            cause = event or _made(now, task.id)
            running = task.running
            worker = self._request(task.id, cause, _draw(task.id))
            if worker is not None and running:
                self._happen(cause, tasks.TaskPickedUp(task=task.id, worker=worker))

    def _run_out(self) -> None:
        """Let reservations run out that only the simulated world has."""
        state, now = self._simulated, self._now
        earliest = state.deadlines.earliest()
        if earliest is None or earliest > now:
            return
        for item in state.deadlines.until(now, 256):
            if isinstance(item, Task) and item.id not in self._recorded.tasks:
                gone = tasks.ReservationExpired(task=item.id, worker=item.worker)
                self._happen(_made(now, item.id), gone)

    def _happen(self, event: Event, what: Fact | Payload) -> None:
        data = what.data if isinstance(what, Fact) else what
        worker = getattr(data, "worker", None)
        if worker is not None:
            self._touched.add(worker)
        evolve(self._simulated, event.with_data(data))

    def _info(self, info: workers.WorkerInfo) -> workers.WorkerInfo:
        limit = self._changes.max_load
        return info if limit is None else msgspec.structs.replace(info, max_load=limit)

    def _note(self) -> None:
        """Note the loads of the workers that something has happened to."""
        for state, meter in ((self._recorded, self._loads), (self._simulated, self._loads_simulated)):
            for name in self._touched:
                worker = state.workers.get(name)
                meter.note(name, None if worker is None else shown(worker.effective), self._now)
        self._touched.clear()


_OF_TASKS: Final = (
    tasks.TaskPickedUp
    | tasks.TaskLaidDown
    | tasks.ReservationExtended
    | tasks.ReservationCancelled
    | tasks.ReservationExpired
)


def _draw(text: str) -> float:
    """Return a draw for a request that had none; the same each time."""
    return crc32(text.encode()) / _DRAWS


def _made(now: datetime, task: str) -> Event:
    """Return an envelope for what happens in the simulated world only."""
    data = tasks.ReservationExpired(task=task, worker="")
    return Event.of(data, about=task, id=task, source="simulation", time=now, correlation=task, actor="")
