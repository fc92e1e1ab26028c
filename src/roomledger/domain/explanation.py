"""Why a task went to a worker, or was refused: the decision once more, with everything that it looked at."""

from datetime import datetime

import msgspec

from roomledger.domain.candidates import Candidates
from roomledger.domain.matching import REGION, Available
from roomledger.domain.purpose import PurposeSettings
from roomledger.domain.scheduler_state import SchedulerState
from roomledger.domain.worker import Worker, shown
from roomledger_events.tasks import Preference, SchedulingRefused, WorkerReserved
from roomledger_events.workers import WorkerInfo


class CandidateView(msgspec.Struct, frozen=True, kw_only=True):
    """A worker as the decision found it.

    Attributes:
        worker: Its id.
        available: Whether it could be given a task at all.
        matched: Whether it was left to choose from.
        refused_by: The rule that refused it; null for a candidate.
        load: What it had reported last, null for nothing yet.
        reservations: How many were made for it that the report does not contain.
        effective_load: The load that counted.
        rank: Its place in the order of the strategy, from 1; null for those that were not ranked.
    """

    worker: str
    available: bool
    matched: bool
    refused_by: str | None
    load: float | None
    reservations: int
    effective_load: float | None
    rank: int | None


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """A decision with its reasons.

    Attributes:
        purpose: Of the task.
        task: Its id.
        sequence: The commit that the decision stands in.
        time: When it was decided.
        basis: The last sequence that it took into account.
        strategy: Which one chose.
        preference: What was wished for.
        draw: The random draw, where there was one.
        worker: The recorded winner; null for a refusal.
        reason: Why it was refused; null for a reservation.
        computed: The winner by the same rules on the same state, null for nobody.
        agrees: Whether it is the recorded one.
        candidates: Every worker of the purpose, in joining order.
    """

    purpose: str
    task: str
    sequence: int
    time: datetime
    basis: int
    strategy: str
    preference: Preference
    draw: float | None
    worker: str | None
    reason: str | None
    computed: str | None
    agrees: bool
    candidates: tuple[CandidateView, ...]


def explain(
    state: SchedulerState, decided: WorkerReserved | SchedulingRefused, sequence: int, time: datetime
) -> Explanation:
    """Explain a decision from the state that it was made on.

    Args:
        state: With everything taken in that stands before the decision, and nothing after.
        decided: The decision as it is recorded.
        sequence: Of its commit.
        time: Of its event.
    """
    preference, basis = decided.preference, decided.basis
    choice = state.candidates.choose(preference, basis.draw or 0.0)
    ranks = {worker.id: rank for rank, worker in enumerate(choice.ranked, 1)}
    places = _places(state.candidates, preference)
    recorded = decided.worker if isinstance(decided, WorkerReserved) else None
    computed = choice.ranked[0].id if choice.ranked else None
    return Explanation(
        purpose=state.settings.purpose,
        task=decided.task,
        sequence=sequence,
        time=time,
        basis=basis.sequence,
        strategy=state.settings.strategy,
        preference=preference,
        draw=basis.draw,
        worker=recorded,
        reason=decided.reason if isinstance(decided, SchedulingRefused) else None,
        computed=computed,
        agrees=recorded == computed and basis.strategy == state.settings.strategy,
        candidates=tuple(
            _view(state, worker, preference, places, ranks.get(worker.id))
            for worker in state.workers.values()
        ),
    )


def _places(candidates: Candidates, preference: Preference) -> set[int]:
    """Return by identity the pools that candidates stand in."""
    if not candidates.available:
        return set()
    available = Available(candidates.pools, candidates.needs, candidates.available)
    return {id(pool) for pool in candidates.matcher.find(preference, available).pools}


def _view(
    state: SchedulerState, worker: Worker, preference: Preference, places: set[int], rank: int | None
) -> CandidateView:
    task_load = state.task_load
    available = worker.unavailable is None
    matched = available and any(id(pool) in places for pool in worker.pools)
    refused_by = worker.unavailable
    if available and not matched:
        refused_by = _refused_alone(state.settings, worker.info, preference, worker.joined_at)
    reported = worker.load is not None
    return CandidateView(
        worker=worker.id,
        available=available,
        matched=matched,
        refused_by=refused_by,
        load=shown(worker.load or 0) if reported else None,
        reservations=(worker.effective - (worker.load or 0)) // task_load if reported and task_load else 0,
        effective_load=shown(worker.effective) if reported else None,
        rank=rank,
    )


def _refused_alone(
    settings: PurposeSettings, info: WorkerInfo, preference: Preference, joined_at: datetime
) -> str:
    """Return the rule that would refuse a worker if there were no other; if there is none, it is the wish."""
    alone = Candidates(settings)
    worker = Worker("alone", 1, info, joined_at)
    alone.join(worker)
    worker.load = 0
    alone.settle(worker)
    choice = alone.choose(preference, 0.0)
    return next(iter(choice.refused), REGION) if not choice.ranked else REGION
