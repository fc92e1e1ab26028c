"""What a command of a scheduler was answered, from the events that it led to.

A caller whose answer was lost asks again, perhaps another manager.  What has been carried out is not carried
out again, though the rules would let it: a task that was picked up again since is not laid down once more.
"""

from collections.abc import Sequence

from roomledger.domain import membership, placement
from roomledger.domain.decider import Decision
from roomledger.domain.errors import RETRYABLE, Code, Refusal
from roomledger.domain.membership import Command
from roomledger.domain.scheduler_state import SchedulerState
from roomledger_events.envelope import Event
from roomledger_events.tasks import ReservationExtended, SchedulingRefused, TaskPickedUp, WorkerReserved


def again(state: SchedulerState, command: Command, events: Sequence[Event]) -> Decision | None:
    """Return what a command was answered; None to have it decided anew.

    That is so where the first answer would help nobody: it was to try again, or named a worker that is gone.
    """
    last = events[-1].data
    match command, last:
        case placement.Schedule(), WorkerReserved() | ReservationExtended():
            return _scheduled(state, last)
        case placement.Schedule(), SchedulingRefused():
            return _refused(last)
        case placement.Extend(), ReservationExtended():
            return Decision(answer=placement.Extended(last.expires_at))
        case placement.PickUpTasks(), _:
            return _picked_up(state, command, events)
        case placement.LayDownTask() | placement.Unschedule() | membership.Quit(), _:
            return Decision(answer=membership.Done())
    return None


def _scheduled(state: SchedulerState, data: WorkerReserved | ReservationExtended) -> Decision | None:
    worker = state.workers.get(data.worker)
    if worker is None:
        return None
    return Decision(answer=placement.Scheduled(worker.id, worker.info, data.expires_at))


def _refused(data: SchedulingRefused) -> Decision | None:
    code = Code(data.reason)
    return None if code in RETRYABLE else Decision(refusal=Refusal(code, "it was refused before"))


def _picked_up(state: SchedulerState, command: placement.PickUpTasks, events: Sequence[Event]) -> Decision:
    picked_up = {event.data.task for event in events if isinstance(event.data, TaskPickedUp)}
    others = [
        name
        for name in dict.fromkeys(command.tasks)
        if name not in picked_up and (task := state.tasks.get(name)) and task.worker != command.worker
    ]
    return Decision(answer=placement.PickedUp(tuple(others)))
