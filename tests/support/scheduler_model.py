"""A plain model of the scheduler of one purpose, written from the description of what it does.

It scans, it keeps no index, it knows no events: each method does what a request asks for and returns what its
caller is told, or the code of the refusal.  Loads are whole millionths.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

from roomledger.domain.purpose import PurposeSettings
from roomledger_events.tasks import Preference
from roomledger_events.workers import Capacity, WorkerInfo

ONE: Final = 1_000_000
HAND_BACK: Final = timedelta(seconds=60)
NEAR_PURPOSES: Final = ("portal", "webrtc", "streaming", "audio", "video")

PoolName = tuple[object, str | None, str | None]


@dataclass
class ModelWorker:
    """A worker."""

    id: str
    order: int
    info: WorkerInfo
    joined_at: datetime
    state: int | None = None
    load: int | None = None
    counted: list[datetime] = field(default_factory=list)
    draining: bool = False
    drain_until: datetime | None = None
    told_to_move: bool = False
    ran: tuple[str, ...] = ()
    taken: dict[str, datetime] = field(default_factory=dict)


@dataclass
class ModelTask:
    """A task that has a worker."""

    worker: str
    running: bool
    reserve_ms: int
    due: datetime | None
    laid_down: bool = False


@dataclass
class ModelChoice:
    """Who could get a task: the first four in the strategy's order, how many matched, who was refused why."""

    ranked: list[str]
    candidates: int
    refused: dict[str, int]


@dataclass
class Turns:
    """Stride scheduling: whose turn comes when, and the latest turn that was served."""

    last: int = 0
    turn: dict[object, int] = field(default_factory=dict)


@dataclass
class SchedulerModel:
    """One purpose."""

    settings: PurposeSettings
    joins: int = 0
    workers: dict[str, ModelWorker] = field(default_factory=dict)
    tasks: dict[str, ModelTask] = field(default_factory=dict)
    ran_when_lost: dict[str, tuple[str, ...]] = field(default_factory=dict)
    picked: dict[object, int] = field(default_factory=dict)
    pool_turns: dict[object, Turns] = field(default_factory=dict)
    worker_turns: dict[PoolName, Turns] = field(default_factory=dict)

    # Workers

    def join(self, worker: str, info: WorkerInfo, now: datetime) -> None:
        """A worker joins."""
        known = self.workers.get(worker)
        if known is None:
            self.joins += 1
            ran = self.ran_when_lost.pop(worker, ())
            self.workers[worker] = ModelWorker(worker, self.joins, info, now, ran=ran)
        elif known.info != info:
            self._leave_pools(known)
            known.info = info
        self._enter_pools()

    def leave(self, worker: str, *, lost: bool) -> None:
        """A worker quits or is lost."""
        known = self.workers.pop(worker, None)
        if known is None:
            return
        mine = {name: task for name, task in self.tasks.items() if task.worker == worker}
        ran = tuple(name for name, task in mine.items() if task.running)
        if lost and ran:
            self.ran_when_lost[worker] = ran
        for name in mine:
            del self.tasks[name]
        self._leave_pools(known)

    def report_state(self, worker: str, state: int) -> str | None:
        """A worker reports a state."""
        if worker not in self.workers:
            return "no_such_worker"
        self.workers[worker].state = state
        self._enter_pools()
        return None

    def report_load(self, worker: str, load: int, now: datetime) -> str | None:
        """A worker reports a load; what does not matter is not taken in."""
        known = self.workers.get(worker)
        if known is None:
            return "no_such_worker"
        measured = now - timedelta(milliseconds=self.settings.report_delay_ms)
        young = [made for made in known.counted if made > measured]
        told = replace(known, load=load, counted=young)
        limit, before, after = round(known.info.max_load * ONE), self.effective(known), self.effective(told)
        if (
            known.load is None
            or abs(after - before) >= round(self.settings.load_threshold * ONE)
            or (after >= limit) != (before >= limit)
        ):
            known.load, known.counted = load, young
            self._enter_pools()
        return None

    def drain(self, worker: str, deadline: datetime | None) -> str | None:
        """A worker is to get nothing new."""
        known = self.workers.get(worker)
        if known is None:
            return "no_such_worker"
        if not known.draining or known.drain_until != deadline:
            known.draining, known.drain_until, known.told_to_move = True, deadline, False
        return None

    def undrain(self, worker: str) -> str | None:
        """A worker may get something new."""
        known = self.workers.get(worker)
        if known is None:
            return "no_such_worker"
        known.draining, known.drain_until = False, None
        self._enter_pools()
        return None

    # Tasks

    def schedule(
        self, task: str, preference: Preference, reserve_ms: int | None, draw: float, now: datetime
    ) -> tuple[str | None, ModelChoice | None]:
        """A task wants a worker: the worker or the refusal, and what was chosen from if it was new."""
        known = self.tasks.get(task)
        if known is not None and (known.running or not self.workers[known.worker].draining):
            self._longer(known, reserve_ms or 0, now)
            return known.worker, None
        if not self.joins:
            return "no_such_purpose", None
        if not any(self.unavailable(worker) is None for worker in self.workers.values()):
            return "all_in_full_load", self.choose(preference, draw)
        choice = self.choose(preference, draw)
        if not choice.ranked:
            return "no_match", choice
        winner = self.workers[choice.ranked[0]]
        held = reserve_ms or self.settings.reserve_ms
        self.tasks.pop(task, None)
        self.tasks[task] = ModelTask(winner.id, False, held, now + timedelta(milliseconds=held))  # noqa: FBT003  - not running
        self._remember(preference, winner)
        winner.counted.append(now)
        return winner.id, choice

    def extend(self, task: str, reserve_ms: int, now: datetime) -> str | None:
        """A task is to be held for longer."""
        if task not in self.tasks:
            return "no_such_task"
        self._longer(self.tasks[task], reserve_ms, now)
        return None

    def unschedule(self, worker: str, task: str) -> str | None:
        """A reservation is given up."""
        if worker not in self.workers:
            return "no_such_worker"
        known = self.tasks.get(task)
        if known is not None and known.worker == worker and not known.running:
            del self.tasks[task]
        return None

    def pick_up(self, worker: str, tasks: Sequence[str], now: datetime) -> str | tuple[str, ...]:
        """A worker runs tasks: those that are another's now, or the refusal."""
        mine = self.workers.get(worker)
        if mine is None:
            return "no_such_worker"
        released = []
        for name in dict.fromkeys(tasks):
            known = self.tasks.get(name)
            elsewhere = known is not None and known.worker != worker
            if elsewhere and name in mine.ran and now < mine.joined_at + HAND_BACK:
                released.append(name)
                continue
            if known is not None and elsewhere and known.running:
                self.workers[known.worker].taken[name] = now
            mine.taken.pop(name, None)
            reserve_ms = self.settings.reserve_ms if known is None else known.reserve_ms
            self.tasks[name] = ModelTask(worker, True, reserve_ms, None)  # noqa: FBT003  - running
            mine.ran = tuple(each for each in mine.ran if each != name)
        return tuple(released)

    def lay_down(self, worker: str, task: str, now: datetime) -> str | None:
        """A worker runs a task no more."""
        if worker not in self.workers:
            return "no_such_worker"
        known = self.tasks.get(task)
        if known is None or known.worker != worker or known.laid_down:
            return None
        if known.running:
            due = now + timedelta(milliseconds=known.reserve_ms)
            self.tasks[task] = replace(known, running=False, laid_down=True, due=due)
        else:
            del self.tasks[task]
        return None

    def pass_time(self, now: datetime) -> None:
        """What has run out by now, runs out."""
        for name, task in list(self.tasks.items()):
            if task.due is not None and task.due <= now:
                del self.tasks[name]
        for worker in self.workers.values():
            if worker.drain_until is not None and worker.drain_until <= now:
                worker.told_to_move = True

    def next_deadline(self) -> datetime | None:
        """When something runs out next."""
        dues = [task.due for task in self.tasks.values()]
        dues += [worker.drain_until for worker in self.workers.values() if not worker.told_to_move]
        return min((due for due in dues if due is not None), default=None)

    # The choice

    def effective(self, worker: ModelWorker) -> int:
        """The load that is reckoned with: the reported one and that of what the report does not contain."""
        return (worker.load or 0) + len(worker.counted) * round(self.settings.task_load * ONE)

    def unavailable(self, worker: ModelWorker) -> str | None:
        """Why a worker gets nothing."""
        if worker.state not in {None, 2}:
            return "state"
        if worker.draining:
            return "draining"
        if worker.load is None:
            return "not_reported"
        return "full_load" if self.effective(worker) >= round(worker.info.max_load * ONE) else None

    def choose(self, preference: Preference, draw: float) -> ModelChoice:
        """Scan all workers for the candidates and put them in order."""
        refused: dict[str, int] = {}
        left = []
        for worker in self.workers.values():
            if rule := self.unavailable(worker):
                refused[rule] = refused.get(rule, 0) + 1
            else:
                left.append(worker)
        if left:
            for rule, matching in self._matchers(preference):
                kept = matching(left)
                if len(kept) < len(left):
                    refused[rule] = len(left) - len(kept)
                left = kept
        left.sort(key=lambda worker: worker.order)
        ranked = [worker.id for worker in self._ranked(left, preference, draw)][:4] if left else []
        return ModelChoice(ranked, len(left), refused)

    def _matchers(self, preference: Preference):  # type: ignore[no-untyped-def]  # noqa: ANN202  - pairs of a rule's name and its filter
        purpose, video = self.settings.purpose, preference.video
        if purpose == "video" and video is not None and (video.encode or video.decode):
            yield "video", lambda left: [each for each in left if _has_codecs(each.info.capacity, preference)]
        if purpose == "analytics":
            yield (
                "algorithm",
                lambda left: [each for each in left if preference.algorithm in each.info.capacity.algorithms],
            )
        if purpose in NEAR_PURPOSES:
            yield (
                "isp",
                lambda left: [
                    each
                    for each in left
                    if not each.info.capacity.isps or preference.isp in each.info.capacity.isps
                ],
            )
            yield (
                "region",
                lambda left: (
                    [each for each in left if preference.region in each.info.capacity.regions] or left
                ),
            )

    def _ranked(self, left: list[ModelWorker], preference: Preference, draw: float) -> list[ModelWorker]:
        strategy, about = self.settings.strategy, self.preference_class(preference)
        last = self.picked.get(about)
        if strategy == "least-used":
            return sorted(left, key=lambda each: (self.effective(each), each.order))
        if strategy == "most-used":
            return sorted(left, key=lambda each: (-self.effective(each), each.order))
        if strategy == "last-used":
            return sorted(left, key=lambda each: (each.order != last, each.order))
        if strategy == "round-robin":
            return sorted(left, key=lambda each: (each.order <= (last or 0), each.order))
        pool = {each.id: self.pool_of(each, preference) for each in left}
        if strategy == "randomly-pick":
            left.sort(key=lambda each: (_pool_order(pool[each.id]), each.order))
            index = int(draw * len(left))
            return left[index:] + left[:index]
        assert strategy == "weight-robin"
        turns = self.pool_turns.get(about, Turns())
        left.sort(
            key=lambda each: (
                turns.turn.get(pool[each.id], turns.last),
                _pool_order(pool[each.id]),
                self.worker_turns[pool[each.id]].turn[each.id],
                each.order,
            )
        )
        return left

    def _remember(self, preference: Preference, winner: ModelWorker) -> None:
        about, pool = self.preference_class(preference), self.pool_of(winner, preference)
        self.picked[about] = winner.order
        if self.settings.strategy != "weight-robin":
            return
        mates = [
            each
            for each in self.workers.values()
            if self.unavailable(each) is None and pool in self._pools(each)
        ]
        turns = self.pool_turns.setdefault(about, Turns())
        turn = max(turns.turn.get(pool, 0), turns.last)
        turns.turn = {each: later for each, later in turns.turn.items() if later > turn}
        turns.turn[pool] = turn + ONE**3 // sum(ONE - self.effective(each) for each in mates)
        turns.last = turn
        inside = self.worker_turns[pool]
        inside.last = inside.turn[winner.id]
        inside.turn[winner.id] += ONE**2 // (ONE - self.effective(winner))

    def pool_of(self, worker: ModelWorker, preference: Preference) -> PoolName:
        """The pool of workers that serve the same, as far as the preference asks for it."""
        capacity, purpose = worker.info.capacity, self.settings.purpose
        if purpose == "analytics":
            return preference.algorithm, None, None
        if purpose not in NEAR_PURPOSES:
            return None, None, None
        video = preference.video
        asked = purpose == "video" and video is not None and (video.encode or video.decode)
        return (
            _codecs(capacity) if asked else None,
            preference.isp if capacity.isps else None,
            preference.region if preference.region in capacity.regions else None,
        )

    def preference_class(self, preference: Preference) -> object:
        """What a preference has in common with others of which the same is remembered."""
        video = preference.video
        if self.settings.purpose == "video" and video is not None and (video.encode or video.decode):
            return preference.isp, preference.region, frozenset(video.encode), frozenset(video.decode)
        if self.settings.purpose == "analytics":
            return preference.isp, preference.region, preference.algorithm
        return preference.isp, preference.region

    def _pools(self, worker: ModelWorker) -> list[PoolName]:
        capacity, purpose = worker.info.capacity, self.settings.purpose
        if purpose == "analytics":
            return [(algorithm, None, None) for algorithm in capacity.algorithms]
        if purpose not in NEAR_PURPOSES:
            return [(None, None, None)]
        needs = (None, _codecs(capacity)) if purpose == "video" else (None,)
        return [
            (need, isp, region)
            for need in needs
            for isp in capacity.isps or (None,)
            for region in (None, *capacity.regions)
        ]

    def _enter_pools(self) -> None:
        """Who has become available takes part: from its own turn on, or a stride after the last one."""
        for worker in self.workers.values():
            if self.unavailable(worker) is not None:
                continue
            for pool in self._pools(worker):
                turns = self.worker_turns.setdefault(pool, Turns())
                new = turns.last + ONE**2 // (ONE - self.effective(worker))
                turns.turn[worker.id] = max(turns.turn.get(worker.id, new), turns.last)

    def _leave_pools(self, worker: ModelWorker) -> None:
        for pool in self._pools(worker):
            if pool in self.worker_turns:
                self.worker_turns[pool].turn.pop(worker.id, None)
        used = {pool for each in self.workers.values() if each is not worker for pool in self._pools(each)}
        for pool in list(self.worker_turns):
            if pool not in used:
                del self.worker_turns[pool]

    def _longer(self, task: ModelTask, reserve_ms: int, now: datetime) -> None:
        before = task.reserve_ms, task.due
        task.reserve_ms = max(task.reserve_ms, reserve_ms)
        if task.due is not None:
            task.due = max(task.due, now + timedelta(milliseconds=task.reserve_ms))
        if not task.running and (task.reserve_ms, task.due) != before:
            task.laid_down = False


def _codecs(capacity: Capacity) -> object:
    video = capacity.video
    return (frozenset(video.encode), frozenset(video.decode)) if video else (frozenset(), frozenset())


def _has_codecs(capacity: Capacity, preference: Preference) -> bool:
    asked, has = preference.video, capacity.video
    if asked is None or has is None:
        return asked is None
    return set(asked.encode) <= set(has.encode) and set(asked.decode) <= set(has.decode)


def _pool_order(pool: PoolName) -> object:
    need = pool[0]
    codecs = [sorted(each) for each in need] if isinstance(need, tuple) else []
    return codecs, pool[1] is None
