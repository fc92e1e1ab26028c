"""Explanations from the log: the state at a decision is what the log led to before it."""

from roomledger.domain.errors import Code, Refusal
from roomledger.domain.explanation import Explanation, explain
from roomledger.domain.purpose import PurposeSettings
from roomledger.domain.scheduler import SCHEDULER
from roomledger.event_store.store import ReadableLog
from roomledger_events.subjects import Boundary, Kind
from roomledger_events.tasks import SchedulingRefused, WorkerReserved


async def explained(log: ReadableLog, settings: PurposeSettings, task: str) -> Explanation:
    """Explain the last decision on a task.

    Args:
        log: The log.
        settings: Of the task's purpose, as they were when it was decided.
        task: Its id.

    Raises:
        Refusal: No decision on such a task is in the log (``no_such_task``).
        LogUnavailable: The log could not be read.
    """
    decider = SCHEDULER(settings)
    state = decider.initial()
    explanation: Explanation | None = None
    boundaries = (Boundary(Kind.SCHEDULER, settings.purpose), Boundary(Kind.LOAD, settings.purpose))
    head = await log.position()
    async for commit in log.read(boundaries, until=head.sequence):
        for event in commit.events:
            data = event.data
            if isinstance(data, WorkerReserved | SchedulingRefused) and data.task == task:
                explanation = explain(state, data, commit.sequence, event.time)
            state = decider.evolve(state, event)
    if explanation is None:
        raise Refusal(Code.NO_SUCH_TASK, f"the log has no decision on the task {task} of {settings.purpose}")
    return explanation
