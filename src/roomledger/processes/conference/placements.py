"""Where rooms are run, as the scheduler's events tell: above all those whose worker has gone.

A room that was picked up by a worker that quit or was lost has nobody who decides for it, and its timers
stand still, until somebody asks for it.  So whoever is there takes those in which somebody is.
"""

from collections.abc import Iterable

from roomledger_events.envelope import Event
from roomledger_events.tasks import ReservationCancelled, TaskLaidDown, TaskPickedUp, TaskReleased
from roomledger_events.workers import WorkerLost, WorkerQuit


class Placements:
    """The tasks of one purpose that are run, and those that were and are left.

    Attributes:
        left: Task → the event by which it was left; until it is run again, or nobody wants it to be.
    """

    def __init__(self) -> None:
        self.left: dict[str, Event] = {}
        self._runs: dict[str, str] = {}
        self._tasks: dict[str, set[str]] = {}

    def worker_of(self, task: str) -> str | None:
        """Return who runs a task."""
        return self._runs.get(task)

    def take_in(self, events: Iterable[Event]) -> bool:
        """Take events in, and return whether tasks were left by them."""
        before = len(self.left)
        grown = False
        for event in events:
            match event.data:
                case TaskPickedUp(task=task, worker=worker):
                    self._end(task)
                    self._runs[task] = worker
                    self._tasks.setdefault(worker, set()).add(task)
                    self.left.pop(task, None)
                case TaskLaidDown(task=task):
                    self._end(task)
                case TaskReleased(task=task, worker=worker):
                    if self._runs.get(task) == worker:
                        self._end(task)
                case ReservationCancelled(task=task):
                    self.left.pop(task, None)
                case WorkerQuit(worker=worker) | WorkerLost(worker=worker):
                    for task in sorted(self._tasks.pop(worker, ())):
                        del self._runs[task]
                        self.left[task] = event
                case _:
                    pass
            grown = grown or len(self.left) > before
            before = len(self.left)
        return grown

    def _end(self, task: str) -> None:
        worker = self._runs.pop(task, None)
        if worker is not None:
            tasks = self._tasks[worker]
            tasks.discard(task)
            if not tasks:
                del self._tasks[worker]
