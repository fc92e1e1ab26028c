"""Explanations from the log: the state at a decision is what the log led to before it."""

from collections.abc import Callable, Sequence
from contextlib import aclosing

import msgspec

from roomledger.domain.errors import Code, Refusal
from roomledger.domain.explanation import Explanation, explain
from roomledger.domain.findings import Finding
from roomledger.domain.purpose import PurposeSettings
from roomledger.domain.repetition import missing_reports, steps
from roomledger.domain.scheduler import SCHEDULER
from roomledger.domain.task_rules import Before, TaskRules
from roomledger.event_store.store import ReadableLog
from roomledger.runtime.errors import NoSuchMoment
from roomledger.runtime.progress import Progress
from roomledger.runtime.slices import in_slices
from roomledger_events.envelope import Commit
from roomledger_events.subjects import Boundary, Kind


async def explained(
    log: ReadableLog,
    settings: PurposeSettings,
    task: str,
    *,
    until: int | None = None,
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> Explanation:
    """Explain the last decision on a task; whoever shares the event loop has turns meanwhile.

    Args:
        log: The log.
        settings: What counted for the task's purpose where the log does not say it.
        task: Its id.
        until: The last sequence to look at; None for the log's end.
        on_progress: Told now and then.

    Raises:
        Refusal: No decision on such a task is in the log (``no_such_task``).
        NoSuchMoment: The log ends before the last sequence that is to be looked at.
        EventStoreError: The log could not be read.
    """
    return (await all_explained(log, settings, task, until=until, last=True, on_progress=on_progress))[-1]


async def all_explained(
    log: ReadableLog,
    settings: PurposeSettings,
    task: str,
    *,
    until: int | None = None,
    last: bool = False,
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> Sequence[Explanation]:
    """Explain every decision on a task, in order; whoever shares the event loop has turns meanwhile.

    Args:
        log: The log.
        settings: What counted for the task's purpose where the log does not say it.
        task: Its id.
        until: The last sequence to look at; None for the log's end.
        last: Whether the last one is enough.
        on_progress: Told now and then.

    Raises:
        Refusal: No decision on such a task is in the log (``no_such_task``).
        NoSuchMoment: The log ends before the last sequence that is to be looked at.
        EventStoreError: The log could not be read.
    """
    retracing = Retracing(settings, task)
    head = await log.position()
    if until is not None and until > head.sequence:
        raise NoSuchMoment(f"the log ends at sequence {head.sequence}, before {until}")
    end = head.sequence if until is None else until
    found: list[Explanation] = []
    read = log.read(boundaries_of(settings.purpose), until=end)
    async with aclosing(in_slices(read, end, on_progress)) as commits:
        async for commit in commits:
            explanations = retracing.take_in(commit)
            if explanations and last:
                found.clear()
            found += explanations
    if not found:
        raise Refusal(Code.NO_SUCH_TASK, f"the log has no decision on the task {task} of {settings.purpose}")
    return retracing.named(found)


def boundaries_of(purpose: str) -> Sequence[Boundary]:
    """Return where everything stands that decisions of a purpose depend on."""
    return Boundary(Kind.SCHEDULER, purpose), Boundary(Kind.LOAD, purpose)


class Retracing:
    """Folds a purpose's commits, and explains the decisions on one task on the way.

    Args:
        settings: What counted for the purpose where the log does not say it.
        task: Whose decisions are explained; None for all.

    Attributes:
        state: What the commits have led to.
        findings: What cannot be of what was taken in about the task.
    """

    def __init__(self, settings: PurposeSettings, task: str | None) -> None:
        self.state = SCHEDULER(settings).initial()
        self.findings: list[Finding] = []
        self._task = task
        self._rules = TaskRules()
        self._before = Before()
        self._whole = True

    def take_in(self, commit: Commit) -> list[Explanation]:
        """Take a commit in and explain what it decided."""
        found = []
        sequence = commit.sequence
        for place, event, decision in steps(self.state, commit.events):
            if self._task is not None and getattr(event.data, "task", None) == self._task:
                purpose = commit.boundary.name
                self.findings += self._rules.findings(purpose, self.state, event, sequence, place)
            if decision is None:
                continue
            if self._task is None or decision.data.task == self._task:
                found.append(explain(self.state, decision, sequence, whole=self._whole))
                self.findings += self._before.late(decision, sequence)
            self._whole = self._whole and not missing_reports(self.state, decision.data)
        self._before.append(commit)
        return found

    def named(self, explanations: Sequence[Explanation]) -> Sequence[Explanation]:
        """Return explanations with all that was found about their task."""
        findings = tuple(self.findings)
        return [msgspec.structs.replace(each, findings=findings) for each in explanations]
