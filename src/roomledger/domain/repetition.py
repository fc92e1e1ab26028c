"""Decisions on tasks once more: the same rules, on the state that each was made on.

A decision's commit holds what it used, so that two things can be told apart: a record that is not what the
rules lead to, and one that cannot be repeated any more because load reports have expired.  A worker whose
report is gone has no load in the state; the recorded figures say how many truly had none.
"""

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import msgspec

from roomledger.domain.decider import Context
from roomledger.domain.errors import Refusal
from roomledger.domain.placement import WORKER_DRAINS, Schedule, schedule
from roomledger.domain.pools import InTurns
from roomledger.domain.purpose import StrategyName
from roomledger.domain.scheduler import evolve
from roomledger.domain.scheduler_state import SchedulerState
from roomledger.domain.worker import NOT_REPORTED
from roomledger_events.envelope import Event
from roomledger_events.tasks import SchedulingRefused, TaskReleased, WorkerReserved

Decided = WorkerReserved | SchedulingRefused

_FIGURES: Final = ("strategy", "workers", "candidates", "refused", "load", "runners_up", "draw")


class Repetition(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What the rules lead to where a decision was made.

    Attributes:
        worker: Who wins; null for nobody.
        reason: Why nobody does; null where somebody wins.
        agrees: Whether that is what the log says; null where it cannot be told any more.
        differences: What the log says otherwise, each in a sentence.
        missing: How many workers' loads are not known, because their reports have expired.
    """

    worker: str | None
    reason: str | None
    agrees: bool | None
    differences: tuple[str, ...] = ()
    missing: int = 0


class Decision(NamedTuple):
    """A decision of the log: its place in its commit, its event and its data."""

    place: int
    event: Event
    data: Decided


class Step(NamedTuple):
    """An event about to be taken in, and the decision that was made just here, if one was."""

    place: int
    event: Event
    decision: Decision | None


def steps(state: SchedulerState, events: Sequence[Event]) -> Iterator[Step]:
    """Take the events of one commit in, and yield each before; decisions on the state they were made on."""
    ahead = -1
    for place, event in enumerate(events):
        data = event.data
        decision: Decision | None = None
        if isinstance(data, Decided):
            if place != ahead:
                decision = Decision(place, event, data)
        elif isinstance(data, TaskReleased) and data.reason == WORKER_DRAINS and place + 1 < len(events):
            # The same decision let the task go and placed it anew.
            following = events[place + 1]
            if isinstance(following.data, WorkerReserved) and following.data.task == data.task:
                ahead = place + 1
                decision = Decision(ahead, following, following.data)
        yield Step(place, event, decision)
        evolve(state, event)


def retraced(state: SchedulerState, events: Sequence[Event]) -> Iterator[Decision]:
    """Take the events of one commit in, and yield each decision before, on the state that it was made on."""
    for step in steps(state, events):
        if step.decision is not None:
            yield step.decision


def repeat(state: SchedulerState, decision: Decision, *, whole: bool = True) -> Repetition:
    """Decide once more.

    Args:
        state: With everything taken in that stands before the decision, and nothing after.
        decision: As it is recorded.
        whole: Whether no report was missing in an earlier decision.
    """
    recorded = decision.data
    missing = missing_reports(state, recorded)
    if missing > 0:
        return _from_the_record(recorded, missing)
    try:
        computed = _computed(state, decision)
    except Refusal as refusal:
        return _differing(None, None, (f"the rules refuse it without a trace: {refusal}",))
    if computed == recorded:
        return Repetition(worker=_winner(recorded), reason=_reason(recorded), agrees=True)
    if computed is None:
        return _not_decided(state, recorded)
    if not whole and state.candidates.strategy.pool is InTurns:
        # Whose turn it is depends on all loads since the worker joined.
        return Repetition(worker=_winner(computed), reason=_reason(computed), agrees=None)
    return _differing(_winner(computed), _reason(computed), tuple(_differences(recorded, computed)))


def _not_decided(state: SchedulerState, recorded: Decided) -> Repetition:
    holder = state.tasks.get(recorded.task)
    if holder is None:
        return _differing(None, None, ("the same refusal was recorded less than a second before",))
    return _differing(holder.worker, None, (f"it is a task of {holder.worker} at this moment",))


def _computed(state: SchedulerState, decision: Decision) -> Decided | None:
    recorded = decision.data
    reserve_ms = recorded.reserve_ms if isinstance(recorded, WorkerReserved) else None
    command = Schedule(recorded.task, recorded.preference, reserve_ms)
    context = Context(decision.event.time, recorded.basis.sequence, recorded.basis.draw or 0.0)
    for fact in schedule(state, command, context).facts:
        if isinstance(fact.data, Decided):
            return fact.data
    return None


def missing_reports(state: SchedulerState, recorded: Decided) -> int:
    """Return of how many workers the loads have expired that the decision knew; not below 0."""
    known = recorded.basis.refused.get(NOT_REPORTED, 0)
    return max(0, state.candidates.unavailable.get(NOT_REPORTED, 0) - known)


def _differing(worker: str | None, reason: str | None, differences: tuple[str, ...]) -> Repetition:
    return Repetition(worker=worker, reason=reason, agrees=False, differences=differences)


def _from_the_record(recorded: Decided, missing: int) -> Repetition:
    """Return what the recorded figures alone tell."""
    basis = recorded.basis
    worker, reason = _winner(recorded), _reason(recorded)
    loads = [each.load for each in basis.runners_up]
    better: float | None = None
    if basis.load is not None and loads:
        if basis.strategy == StrategyName.LEAST_USED and min(loads) < basis.load:
            better = min(loads)
        if basis.strategy == StrategyName.MOST_USED and max(loads) > basis.load:
            better = max(loads)
    if better is not None:
        winner = next(each.worker for each in basis.runners_up if each.load == better)
        told = f"by {basis.strategy} {winner} with {better} comes before {worker} with {basis.load}"
        return Repetition(worker=winner, reason=None, agrees=False, differences=(told,), missing=missing)
    return Repetition(worker=worker, reason=reason, agrees=None, missing=missing)


def _differences(recorded: Decided, computed: Decided) -> Iterator[str]:
    ours, theirs = _winner(computed), _winner(recorded)
    if ours != theirs:
        yield f"the log says {theirs or 'nobody'}, the rules choose {ours or 'nobody'}"
    if _reason(recorded) != _reason(computed):
        yield f"the log says {_reason(recorded) or 'no reason'}, the rules {_reason(computed) or 'none'}"
    for name in _FIGURES:
        said, found = getattr(recorded.basis, name), getattr(computed.basis, name)
        if said != found:
            yield f"{name} is {_shown(said)} in the log and {_shown(found)} by the rules"
    said, found = getattr(recorded, "expires_at", None), getattr(computed, "expires_at", None)
    if said and found and said != found:
        yield f"it is held until {said} in the log and {found} by the rules"


def _shown(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _winner(decided: Decided) -> str | None:
    return decided.worker if isinstance(decided, WorkerReserved) else None


def _reason(decided: Decided) -> str | None:
    return decided.reason if isinstance(decided, SchedulingRefused) else None
