"""Whether what schedulers say can be: a task has one worker, a decision is what the rules lead to."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

import msgspec

from roomledger.domain.findings import Finding
from roomledger.domain.purpose import PurposeSettings
from roomledger.domain.repetition import Decision, missing_reports, repeat, steps
from roomledger.domain.scheduler import SCHEDULER
from roomledger.domain.scheduler_digest import StateDigest, digest_of
from roomledger.domain.scheduler_state import SchedulerState
from roomledger.domain.task_rules import DECISIONS, Before, TaskRules
from roomledger_events.envelope import Commit
from roomledger_events.subjects import Kind

STATES: Final = "states"
_KINDS: Final = frozenset({Kind.SCHEDULER, Kind.LOAD})


class Claim(msgspec.Struct, frozen=True):
    """What somebody says that the log leads to.

    Attributes:
        who: Such as ``the active manager``.
        purpose: Of which purpose.
        sequence: The last sequence of the log in it.
        digest: The state's.
    """

    who: str
    purpose: str
    sequence: int
    digest: StateDigest


class _Purpose(msgspec.Struct):
    state: SchedulerState
    claims: list[Claim]
    before: Before
    whole: bool = True


class TaskCheck:
    """Folds the schedulers of all purposes, repeats each decision and compares states with what is claimed.

    Args:
        settings: Returns what counted for a purpose where the log does not say it.
        claims: The states to compare with.
    """

    def __init__(self, settings: Callable[[str], PurposeSettings], claims: Sequence[Claim] = ()) -> None:
        self._settings = settings
        self._claims = sorted(claims, key=lambda claim: claim.sequence)
        self._purposes: dict[str, _Purpose] = {}
        self._rules = TaskRules()
        self._decisions = self._agreeing = self._unknowable = self._states = 0
        self._not_comparable = 0

    def take_in(self, commit: Commit) -> Iterable[Finding]:
        """Check the events of a purpose."""
        if commit.boundary.kind not in _KINDS:
            return ()
        name = commit.boundary.name
        known = self._purposes.get(name) or self._begin(name)
        found: list[Finding] = []
        while known.claims and known.claims[0].sequence < commit.sequence:
            found += self._compared(known.claims.pop(0), known.state)
        for place, event, decision in steps(known.state, commit.events):
            found += self._rules.findings(name, known.state, event, commit.sequence, place)
            if decision is not None:
                found += self._repeated(known, commit.sequence, decision)
        known.before.append(commit)
        return found

    def end(self) -> Iterable[Finding]:
        """Compare with the states that are claimed for the log's end."""
        for known in self._purposes.values():
            for claim in known.claims:
                yield from self._compared(claim, known.state)
        for claim in self._claims:
            if claim.purpose not in self._purposes:
                yield Finding(STATES, 0, 0, claim.purpose, f"{claim.who} knows it, the log does not")

    def figures(self) -> dict[str, int]:
        """Return how many decisions were repeated, and how many agree."""
        return {
            "decisions": self._decisions,
            "decisions that agree": self._agreeing,
            "decisions whose reports have expired": self._unknowable,
            "states compared": self._states,
            "states whose reports have expired": self._not_comparable,
        }

    def _begin(self, name: str) -> _Purpose:
        claims = [claim for claim in self._claims if claim.purpose == name]
        known = self._purposes[name] = _Purpose(SCHEDULER(self._settings(name)).initial(), claims, Before())
        return known

    def _repeated(self, known: _Purpose, sequence: int, decision: Decision) -> Iterator[Finding]:
        self._decisions += 1
        data = decision.data
        yield from known.before.late(decision, sequence)
        again = repeat(known.state, decision, whole=known.whole)
        known.whole = known.whole and not missing_reports(known.state, data)
        if again.agrees:
            self._agreeing += 1
        elif again.agrees is None:
            self._unknowable += 1
        else:
            message = "; ".join(again.differences)
            yield Finding(DECISIONS, sequence, decision.place, data.task, message)

    def _compared(self, claim: Claim, state: SchedulerState) -> Iterator[Finding]:
        self._states += 1
        found = digest_of(state)
        if found == claim.digest:
            return
        if found.lasting == claim.digest.lasting and found.reported < claim.digest.reported:
            self._not_comparable += 1
            return
        what = "loads" if found.lasting == claim.digest.lasting else "workers and tasks"
        message = f"{claim.who} has other {what} at {claim.sequence} than the log leads to"
        yield Finding(STATES, claim.sequence, 0, claim.purpose, message)
