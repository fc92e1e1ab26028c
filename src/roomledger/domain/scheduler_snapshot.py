"""The state of a purpose in plain values, so that a start need not read the log from its beginning.

A snapshot is a cache: what it holds is what the log led to.  One of another version is not used.
"""

from collections import OrderedDict
from datetime import datetime
from typing import Final

import msgspec

from roomledger.domain.candidates import Candidates
from roomledger.domain.matching import PreferenceClass
from roomledger.domain.pools import InTurns, Key
from roomledger.domain.purpose import PurposeSettings
from roomledger.domain.scheduler_state import SchedulerState
from roomledger.domain.strategies import RememberingStrategy, Turns, WeightRobin
from roomledger.domain.task import Phase, Task
from roomledger.domain.worker import Worker
from roomledger_events.workers import WorkerInfo

VERSION: Final = 3
"""Grows with every change of what is here or of what the state does with it."""

PlainCodecs = tuple[tuple[str, ...], tuple[str, ...]]
Plain = str | PlainCodecs | None
PlainClass = tuple[Plain, ...]


class WorkerRow(msgspec.Struct, array_like=True, gc=False):
    """A worker; what can be computed from it is left out."""

    id: str
    number: int
    info: WorkerInfo
    joined_at: datetime
    state: int | None
    load: int | None
    effective: int
    recent: list[datetime]
    draining: bool
    drain_until: datetime | None
    due: datetime | None
    claims: dict[str, bool]
    taken: dict[str, datetime]


class TaskRow(msgspec.Struct, array_like=True, gc=False):
    """A task."""

    id: str
    worker: str
    phase: Phase
    reserve_ms: int
    due: datetime | None
    correlation: str


class PoolRow(msgspec.Struct, array_like=True):
    """The turns of a pool's workers."""

    key: PlainClass
    turn: int
    turns: list[tuple[int, int]]


class ClassRow(msgspec.Struct, array_like=True):
    """The turns of the pools of a class of preference."""

    about: PlainClass
    turn: int
    later: list[tuple[PlainClass, int]]


class SchedulerSnapshot(msgspec.Struct):
    """The state of a purpose."""

    version: int
    settings: PurposeSettings
    epoch: int
    manager: str
    joins: int
    workers: list[WorkerRow]
    tasks: list[TaskRow]
    lost: list[tuple[str, tuple[str, ...]]]
    refusals: list[tuple[str, str, datetime]]
    picked: list[tuple[PlainClass, int]]
    classes: list[ClassRow]
    pools: list[PoolRow]


def freeze(state: SchedulerState) -> SchedulerSnapshot:
    """Return a snapshot that later changes of the state leave alone."""
    strategy = state.candidates.strategy
    return SchedulerSnapshot(
        version=VERSION,
        settings=state.settings,
        epoch=state.epoch,
        manager=state.manager,
        joins=state.joins,
        workers=[_worker_row(worker) for worker in state.workers.values()],
        tasks=[
            TaskRow(task.id, task.worker, task.phase, task.reserve_ms, task.due, task.correlation)
            for worker in state.workers.values()
            for task in worker.tasks.values()
        ],
        lost=list(state.lost.items()),
        refusals=[(task, reason, time) for (task, reason), time in state.refusals.items()],
        picked=[
            (_plain(about), number)
            for about, number in (
                strategy.picked.items() if isinstance(strategy, RememberingStrategy) else ()
            )
        ],
        classes=[
            ClassRow(_plain(about), turns.turn, [(_plain(key), later) for key, later in turns.later.items()])
            for about, turns in (strategy.turns.items() if isinstance(strategy, WeightRobin) else ())
        ],
        pools=[
            PoolRow(_plain(pool.key), pool.turn, list(pool.turns.items()))
            for pool in state.candidates.pools.values()
            if isinstance(pool, InTurns)
        ],
    )


def thaw(snapshot: SchedulerSnapshot) -> SchedulerState | None:
    """Return the state that a snapshot was taken of, or None if it does not fit."""
    if snapshot.version != VERSION:
        return None
    candidates = Candidates(snapshot.settings)
    state = SchedulerState(snapshot.settings, candidates)
    state.epoch, state.manager, state.joins = snapshot.epoch, snapshot.manager, snapshot.joins
    strategy = candidates.strategy
    if isinstance(strategy, RememberingStrategy):
        strategy.picked = OrderedDict((_class(about), number) for about, number in snapshot.picked)
    if isinstance(strategy, WeightRobin):
        for row in snapshot.classes:
            later = {_key(key): turn for key, turn in row.later}
            strategy.turns[_class(row.about)] = Turns(row.turn, later)
    for pool_row in snapshot.pools:
        pool = InTurns(_key(pool_row.key))
        pool.turn, pool.turns = pool_row.turn, dict(pool_row.turns)
        candidates.pools[pool.key] = pool
    for worker_row in snapshot.workers:
        _restore_worker(state, worker_row)
    for task_row in snapshot.tasks:
        task = Task(
            task_row.id,
            task_row.worker,
            task_row.phase,
            task_row.reserve_ms,
            task_row.due,
            task_row.correlation,
        )
        state.add(task, state.workers[task.worker])
    state.lost = OrderedDict(snapshot.lost)
    state.claimed = sum(len(tasks) for tasks in state.lost.values())
    state.refusals = OrderedDict(((task, reason), time) for task, reason, time in snapshot.refusals)
    return state


def _worker_row(worker: Worker) -> WorkerRow:
    return WorkerRow(
        id=worker.id,
        number=worker.number,
        info=worker.info,
        joined_at=worker.joined_at,
        state=worker.state,
        load=worker.load,
        effective=worker.effective,
        recent=list(worker.recent),
        draining=worker.draining,
        drain_until=worker.drain_until,
        due=worker.due,
        claims=dict(worker.claims),
        taken=dict(worker.taken),
    )


def _restore_worker(state: SchedulerState, row: WorkerRow) -> None:
    worker = Worker(
        id=row.id,
        number=row.number,
        info=row.info,
        joined_at=row.joined_at,
        state=row.state,
        load=row.load,
        effective=row.effective,
        recent=row.recent,
        draining=row.draining,
        drain_until=row.drain_until,
        due=row.due,
        claims=row.claims,
        taken=row.taken,
    )
    state.workers[worker.id] = worker
    state.candidates.join(worker)


def _plain(about: PreferenceClass) -> PlainClass:
    plain: list[Plain] = []
    for each in about:
        if isinstance(each, tuple):
            encode, decode = each
            plain.append((tuple(sorted(encode)), tuple(sorted(decode))))
        else:
            plain.append(None if each is None else str(each))
    return tuple(plain)


def _class(about: PlainClass) -> PreferenceClass:
    return tuple(
        (frozenset(each[0]), frozenset(each[1])) if isinstance(each, tuple) else each for each in about
    )


def _key(plain: PlainClass) -> Key:
    need, isp, region = _class(plain)
    return need, None if isp is None else str(isp), None if region is None else str(region)
