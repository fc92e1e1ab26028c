"""What cannot be of workers and tasks, event by event: on the state that each finds."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from roomledger.domain.findings import Finding
from roomledger.domain.repetition import Decision
from roomledger.domain.scheduler_state import SchedulerState
from roomledger_events import tasks, workers
from roomledger_events.envelope import Commit, Event, Payload

NAME: Final = "tasks"
DECISIONS: Final = "decisions"
_Wrong = Iterator[tuple[str, str]]


class Before:
    """What stands before a commit of a purpose, as far as its decisions must have taken it in."""

    def __init__(self) -> None:
        self._last = 0
        self._before_last = 0
        self._writer = ""

    def append(self, commit: Commit) -> None:
        """Take note of a commit."""
        self._before_last, self._last = self._last, commit.sequence
        self._writer = commit.events[0].source if commit.events else ""

    def late(self, decision: Decision, sequence: int) -> Iterable[Finding]:
        """Return that a decision did not take in all that stands before it, if so.

        Ahead of a commit of its own that is in flight a writer may decide; another's it has to have read.

        Args:
            decision: The decision.
            sequence: Of its commit.
        """
        basis = decision.data.basis.sequence
        needed = self._before_last if decision.event.source == self._writer else self._last
        if needed <= basis < sequence:
            return ()
        message = f"it was decided on what was known up to {basis}, and {needed} stands before it"
        return (Finding(DECISIONS, sequence, decision.place, decision.data.task, message),)


class TaskRules:
    """Looks at the events of all purposes; remembers of which purpose each worker is."""

    def __init__(self) -> None:
        self._purpose_of: dict[str, str] = {}
        self._checks: dict[type[Payload], Callable[[str, SchedulerState, Event, Any], _Wrong]] = {
            workers.SchedulerTakenOver: self._taken_over,
            workers.WorkerJoined: self._joined,
            workers.WorkerLost: self._gone,
            workers.WorkerQuit: self._gone,
            workers.WorkerStateReported: self._known,
            workers.WorkerDraining: self._known,
            workers.WorkerUndrained: self._known,
            workers.LoadReported: self._known,
            tasks.WorkerReserved: self._reserved,
            tasks.TaskPickedUp: self._picked_up,
            tasks.TaskLaidDown: self._laid_down,
            tasks.ReservationExpired: self._given_up,
            tasks.ReservationCancelled: self._given_up,
        }

    def findings(
        self, purpose: str, state: SchedulerState, event: Event, sequence: int, place: int
    ) -> Iterable[Finding]:
        """Return what is wrong with an event.

        Args:
            purpose: Whose boundary it stands in.
            state: With everything taken in that stands before it, and nothing after.
            event: The event.
            sequence: Of its commit.
            place: Where in that commit.
        """
        check = self._checks.get(type(event.data))
        if check is None:
            return ()
        return [
            Finding(NAME, sequence, place, about, message)
            for about, message in check(purpose, state, event, event.data)
        ]

    # -- By type of event: what is wrong, as what it is about and a sentence

    def _taken_over(
        self, name: str, state: SchedulerState, event: Event, data: workers.SchedulerTakenOver
    ) -> _Wrong:
        if data.epoch != state.epoch + 1:
            yield name, f"epoch {data.epoch} follows {state.epoch}: there is to be one writer at a time"
        if event.source != f"cluster-manager/{data.manager}":
            yield name, f"{event.source} says that {data.manager} takes over"

    def _joined(self, name: str, state: SchedulerState, event: Event, data: workers.WorkerJoined) -> _Wrong:
        yield from self._by_the_manager(name, state, event)
        other = self._purpose_of.setdefault(data.worker, name)
        if other != name or data.purpose != name:
            yield data.worker, f"it joins {name} and is one of {other if other != name else data.purpose}"

    def _gone(
        self, name: str, state: SchedulerState, event: Event, data: workers.WorkerLost | workers.WorkerQuit
    ) -> _Wrong:
        yield from self._known(name, state, event, data)
        self._purpose_of.pop(data.worker, None)

    def _known(self, name: str, state: SchedulerState, event: Event, data: Any) -> _Wrong:  # noqa: ANN401  - has a worker
        yield from self._by_the_manager(name, state, event)
        if data.worker not in state.workers:
            yield data.worker, f"{event.type} of a worker that {name} does not know"

    def _reserved(self, name: str, state: SchedulerState, event: Event, data: tasks.WorkerReserved) -> _Wrong:
        yield from self._known(name, state, event, data)
        held = state.tasks.get(data.task)
        if held is not None:
            yield data.task, f"it is given to {data.worker} while {held.worker} has it: two workers at once"

    def _picked_up(self, name: str, state: SchedulerState, event: Event, data: tasks.TaskPickedUp) -> _Wrong:
        yield from self._known(name, state, event, data)
        held = state.tasks.get(data.task)
        if held is not None and held.worker not in {data.worker, data.reserved_for}:
            yield data.task, f"{data.worker} picks it up while {held.worker} has it: two workers at once"

    def _laid_down(self, name: str, state: SchedulerState, event: Event, data: tasks.TaskLaidDown) -> _Wrong:
        yield from self._known(name, state, event, data)
        held = state.tasks.get(data.task)
        if held is None or held.worker != data.worker or not held.running:
            yield data.task, f"{data.worker} lays it down without running it"

    def _given_up(
        self,
        name: str,
        state: SchedulerState,
        event: Event,
        data: tasks.ReservationExpired | tasks.ReservationCancelled,
    ) -> _Wrong:
        yield from self._by_the_manager(name, state, event)
        held = state.tasks.get(data.task)
        if held is None or held.worker != data.worker or held.running:
            yield data.task, f"{event.type}, and there is no reservation of it for {data.worker}"
        elif isinstance(data, tasks.ReservationExpired) and held.due is not None and held.due > event.time:
            yield data.task, f"its reservation ran out before its time, {held.due}"

    @staticmethod
    def _by_the_manager(name: str, state: SchedulerState, event: Event) -> _Wrong:
        manager = state.manager
        if event.source != f"cluster-manager/{manager}":
            yield name, f"{event.type} by {event.source}, and {manager or 'nobody'} decides for the purpose"
