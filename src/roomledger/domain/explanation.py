"""Why a task went to a worker, or was refused: the decision once more, with everything that it looked at."""

from datetime import UTC, datetime
from functools import lru_cache

import msgspec

from roomledger.domain.candidates import Candidates
from roomledger.domain.findings import Finding
from roomledger.domain.matching import REGION, Available, ByCodecs, ByIspAndRegion
from roomledger.domain.pools import InTurns
from roomledger.domain.purpose import PurposeSettings
from roomledger.domain.repetition import Decided, Decision, repeat
from roomledger.domain.scheduler_state import SchedulerState
from roomledger.domain.worker import NOT_REPORTED, Worker, shown
from roomledger_events.tasks import Basis, Preference, SchedulingRefused, WorkerReserved
from roomledger_events.workers import Capacity, SchedulerSettings, WorkerInfo

_NEVER = datetime.min.replace(tzinfo=UTC)


class CandidateView(msgspec.Struct, frozen=True, kw_only=True):
    """A worker as the decision found it.

    Attributes:
        worker: Its id.
        available: Whether it could be given a task at all; null where its load report has expired.
        hard: Whether it serves what must be served: codecs, algorithm, isp.
        soft: Whether it serves the region that was wished for; null where none was, or none counts.
        matched: Whether it was left to choose from; null where that cannot be told.
        refused_by: The rule that refused it; null for a candidate.
        load: What it had reported last, null for nothing yet.
        reservations: How many were made for it that the report does not contain.
        effective_load: The load that counted.
        recorded_load: The effective load that the decision names for it.
        max_load: It gets no task from there on.
        turn: Whose turn is next has the smallest, where workers take turns by their free share.
        rank: Its place in the order of the strategy, from 1; null for those that were not candidates.
    """

    worker: str
    available: bool | None
    hard: bool
    soft: bool | None
    matched: bool | None
    refused_by: str | None
    load: float | None
    reservations: int
    effective_load: float | None
    recorded_load: float | None
    max_load: float
    turn: int | None
    rank: int | None


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """A decision with its reasons.

    Attributes:
        purpose: Of the task.
        task: Its id.
        sequence: The commit that the decision stands in.
        place: Where in that commit.
        time: When it was decided.
        manager: Who decided.
        actor: Who wanted it.
        correlation: What set it off, such as a token's id.
        basis: The last sequence that it had taken in from the log. What its commit holds before comes on top,
            and so does a commit of the same writer that was on its way then.
        strategy: Which one chose.
        settings: By which it was decided.
        preference: What was wished for.
        picked_last: The worker that the strategy remembered for such a preference, if it remembers.
        draw: The random draw, where there was one.
        worker: The recorded winner; null for a refusal.
        reason: Why it was refused; null for a reservation.
        figures: What the decision recorded that it used.
        computed: The winner by the same rules on the same state, null for nobody.
        computed_reason: Why these rules refuse it, null where they do not.
        agrees: Whether the record is what these rules lead to; null where it cannot be told any more.
        differences: What is different, each in a sentence.
        missing_reports: How many workers' loads are not known any more, because their reports have expired.
        candidates: Every worker of the purpose, in joining order.
        findings: What cannot be of what the log says of this task, wherever it says so.
    """

    purpose: str
    task: str
    sequence: int
    place: int
    time: datetime
    manager: str
    actor: str
    correlation: str
    basis: int
    strategy: str
    settings: SchedulerSettings
    preference: Preference
    picked_last: str | None
    draw: float | None
    worker: str | None
    reason: str | None
    figures: Basis
    computed: str | None
    computed_reason: str | None
    agrees: bool | None
    differences: tuple[str, ...]
    missing_reports: int
    candidates: tuple[CandidateView, ...]
    findings: tuple[Finding, ...] = ()


def explain(state: SchedulerState, decision: Decision, sequence: int, *, whole: bool = True) -> Explanation:
    """Explain a decision from the state that it was made on.

    Args:
        state: With everything taken in that stands before the decision, and nothing after.
        decision: As it is recorded.
        sequence: Of its commit.
        whole: Whether no load report was missing in an earlier decision.
    """
    place, event, decided = decision
    again = repeat(state, decision, whole=whole)
    last = state.candidates.picked_last(decided.preference)
    return Explanation(
        purpose=state.settings.purpose,
        task=decided.task,
        sequence=sequence,
        place=place,
        time=event.time,
        manager=state.manager,
        actor=event.actor,
        correlation=event.correlationid,
        basis=decided.basis.sequence,
        strategy=decided.basis.strategy,
        settings=state.settings.recorded(),
        preference=decided.preference,
        picked_last=None if last is None else last.id,
        draw=decided.basis.draw,
        worker=decided.worker if isinstance(decided, WorkerReserved) else None,
        reason=decided.reason if isinstance(decided, SchedulingRefused) else None,
        figures=decided.basis,
        computed=again.worker,
        computed_reason=again.reason,
        agrees=again.agrees,
        differences=again.differences,
        missing_reports=again.missing,
        candidates=_Views(state, decided, missing=again.missing).all(),
    )


class _Views:
    """Looks at every worker as one decision found it."""

    def __init__(self, state: SchedulerState, decided: Decided, *, missing: int) -> None:
        basis, preference = decided.basis, decided.preference
        candidates = state.candidates
        choice = candidates.choose(preference, basis.draw or 0.0, max(len(state.workers), 1))
        self._state = state
        self._preference = preference
        self._missing = missing > 0
        self._ranks = {worker.id: rank for rank, worker in enumerate(choice.ranked, 1)}
        self._places = _places(candidates, preference)
        self._loads = {each.worker: each.load for each in basis.runners_up}
        if isinstance(decided, WorkerReserved) and basis.load is not None:
            self._loads[decided.worker] = basis.load

    def all(self) -> tuple[CandidateView, ...]:
        """Return them in joining order."""
        return tuple(map(self._view, self._state.workers.values()))

    def _view(self, worker: Worker) -> CandidateView:
        state, preference = self._state, self._preference
        reported = worker.load is not None
        available: bool | None = worker.unavailable is None
        matched = available and any(id(pool) in self._places for pool in worker.pools)
        refused_by = worker.unavailable
        alone = _refused_alone(state.settings.purpose, worker.info.capacity, preference)
        if available and not matched:
            refused_by = alone or REGION
        if self._missing and refused_by == NOT_REPORTED:
            named = worker.id in self._loads
            available, matched, refused_by = named or None, named or None, None if named else "unknown"
        task_load = state.task_load
        return CandidateView(
            worker=worker.id,
            available=available,
            hard=alone is None,
            soft=_served(state, worker.info, preference),
            matched=matched,
            refused_by=refused_by,
            load=shown(worker.load or 0) if reported else None,
            reservations=(worker.effective - (worker.load or 0)) // task_load
            if reported and task_load
            else 0,
            effective_load=shown(worker.effective) if reported else None,
            recorded_load=self._loads.get(worker.id),
            max_load=worker.info.max_load,
            turn=next((pool.turns.get(worker.number) for pool in self._turning(worker)), None),
            rank=self._ranks.get(worker.id),
        )

    def _turning(self, worker: Worker) -> list[InTurns]:
        return [pool for pool in worker.pools if isinstance(pool, InTurns) and id(pool) in self._places]


def _places(candidates: Candidates, preference: Preference) -> set[int]:
    """Return by identity the pools that candidates stand in."""
    if not candidates.available:
        return set()
    available = Available(candidates.pools, candidates.needs, candidates.available)
    return {id(pool) for pool in candidates.matcher.find(preference, available).pools}


def _served(state: SchedulerState, info: WorkerInfo, preference: Preference) -> bool | None:
    if preference.region is None or not isinstance(state.candidates.matcher, ByIspAndRegion | ByCodecs):
        return None
    return preference.region in info.capacity.regions


@lru_cache(4_096)
def _refused_alone(purpose: str, capacity: Capacity, preference: Preference) -> str | None:
    """Return the rule that would refuse a worker if there were no other."""
    alone = Candidates(PurposeSettings.default(purpose))
    worker = Worker("alone", 1, WorkerInfo(ip="", max_load=1, capacity=capacity), _NEVER)
    alone.join(worker)
    worker.load = 0
    alone.settle(worker)
    return next(iter(alone.choose(preference, 0.0).refused), None)
