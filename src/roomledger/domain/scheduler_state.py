"""What is known of one purpose: its workers, its tasks, and what moves between them."""

from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import chain
from typing import Final

from roomledger.domain.candidates import Candidates
from roomledger.domain.deadlines import Deadlines
from roomledger.domain.errors import Code, Refusal
from roomledger.domain.pools import millionths
from roomledger.domain.purpose import PurposeSettings
from roomledger.domain.task import Phase, Task
from roomledger.domain.worker import Worker

MAX_CLAIMS: Final = 100_000
"""As many tasks of lost workers are kept in mind for when they come back."""

REFUSAL_PAUSE: Final = timedelta(seconds=1)
"""The same refusal of the same task is recorded once in this time."""

MAX_REFUSALS: Final = 65_536
"""As many refusals are kept in mind."""


@dataclass(slots=True, eq=False)
class SchedulerState:
    """The state of one purpose.

    Attributes:
        settings: The settings that decisions are made by.
        candidates: The index of `workers` to choose from.
        task_load: What a reservation adds to its worker's load, in millionths.
        report_delay: How late reports of loads may be.
        epoch: How many times a cluster manager took over.
        manager: Which one did it last.
        joins: How many times a worker became known.
        workers: Id → worker, in joining order.
        tasks: Id → task.
        lost: The id of a lost worker → what it ran.
        claimed: How many tasks there are in `lost`.
        refusals: Task and reason → when their refusal was last recorded.
        deadlines: When reservations and drains run out.
    """

    settings: PurposeSettings
    candidates: Candidates
    task_load: int = field(init=False)
    report_delay: timedelta = field(init=False)
    epoch: int = 0
    manager: str = ""
    joins: int = 0
    workers: dict[str, Worker] = field(default_factory=dict)
    tasks: dict[str, Task] = field(default_factory=dict)
    lost: OrderedDict[str, tuple[str, ...]] = field(default_factory=OrderedDict)
    claimed: int = 0
    refusals: OrderedDict[tuple[str, str], datetime] = field(default_factory=OrderedDict)
    deadlines: Deadlines[Task | Worker] = field(init=False, compare=False)

    def __post_init__(self) -> None:
        self.deadlines = Deadlines(lambda: chain(self.tasks.values(), self.workers.values()))
        self.task_load = millionths(self.settings.task_load)
        self.report_delay = timedelta(milliseconds=self.settings.report_delay_ms)

    def set(self, settings: PurposeSettings) -> None:
        """Decide by other settings from here on; the loads reckoned with before stay as they are."""
        renewed = settings.strategy != self.settings.strategy
        self.settings = settings
        self.task_load = millionths(settings.task_load)
        self.report_delay = timedelta(milliseconds=settings.report_delay_ms)
        if renewed:
            self.candidates = self.candidates.succeeded_by(Candidates(settings))
            for worker in self.workers.values():
                self.candidates.join(worker)

    def worker(self, worker: str) -> Worker:
        """Return a known worker.

        Raises:
            Refusal: It is not known.
        """
        known = self.workers.get(worker)
        if known is None:
            raise Refusal(Code.NO_SUCH_WORKER, f"no worker {worker[:64]!r} is known here")
        return known

    def add(self, task: Task, worker: Worker) -> None:
        """Take in a task that was not known, which a worker has."""
        self.tasks[task.id] = worker.tasks[task.id] = task

    def hold(self, task: Task, worker: Worker, phase: Phase, due: datetime | None) -> None:
        """Give a known task to a worker, to the one that it has or to another one."""
        if task.worker != worker.id:
            self._part(task)
            task.worker = worker.id
            worker.tasks[task.id] = task
        task.phase = phase
        self.deadlines.move(task, due)

    def free(self, task: Task) -> None:
        """Forget a task."""
        self._part(task)
        del self.tasks[task.id]
        self.deadlines.move(task, None)

    def remove(self, worker: Worker) -> None:
        """Forget a worker and all that it held."""
        for task in list(worker.tasks.values()):
            self.free(task)
        self.deadlines.move(worker, None)
        self.candidates.leave(worker)
        del self.workers[worker.id]

    def remember_lost(self, worker: Worker) -> None:
        """Keep in mind what a worker ran that is lost; who was lost long before is forgotten for it."""
        ran = tuple(task.id for task in worker.tasks.values() if task.running)
        if ran:
            self.lost[worker.id] = ran
            self.claimed += len(ran)
        while self.claimed > MAX_CLAIMS and len(self.lost) > 1:
            self.claimed -= len(self.lost.popitem(last=False)[1])

    def _part(self, task: Task) -> None:
        holder = self.workers.get(task.worker)
        if holder is not None:
            holder.tasks.pop(task.id, None)
