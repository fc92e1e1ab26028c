"""The whole decider against a plain model: any commands, in any order, with restarts in between."""

from dataclasses import replace
from datetime import timedelta

import msgspec
from hypothesis import settings as effort
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from roomledger.domain.decider import Context, Decision
from roomledger.domain.membership import (
    Command,
    Drain,
    Join,
    LoseWorker,
    Quit,
    ReportLoad,
    ReportState,
    TakeOver,
    Undrain,
    WorkerView,
    worker_view,
    workers_in_joining_order,
)
from roomledger.domain.placement import (
    ExpireReservation,
    Extend,
    LayDownTask,
    PickUpTasks,
    Schedule,
    Unschedule,
    scheduled,
    taken_from,
    tasks_of,
)
from roomledger.domain.pools import millionths
from roomledger.domain.purpose import PurposeSettings
from roomledger.domain.scheduler import DUE_AT_ONCE, FOLDS, SCHEDULER, evolve
from roomledger_events.catalogue import CATALOGUE
from roomledger_events.rooms import RoomDeleted
from roomledger_events.subjects import Kind
from roomledger_events.tasks import Basis, Preference, SchedulingRefused, WorkerReserved
from roomledger_events.workers import SchedulerTakenOver, WorkerInfo
from tests.support.deciders import START, scenario
from tests.support.purposes import (
    any_settings,
    draws,
    infos,
    loads,
    parts,
    preferences,
    purpose,
    ready,
)
from tests.support.scheduler_model import SchedulerModel

WORKERS = ("w1", "w2", "w3", "w4", "w5", "w6")
TASKS = ("t1", "t2", "t3", "t4", "t5", "t6", "t7", "t8")
a_worker = st.sampled_from(WORKERS)
a_task = st.sampled_from(TASKS)
a_time = st.sampled_from([1, 5_000, 60_000, 90_000])


class SchedulerMachine(RuleBasedStateMachine):
    """Gives the same commands to the decider and to the model."""

    @initialize(settings=any_settings)
    def begin(self, settings: PurposeSettings) -> None:
        self.decider = SCHEDULER(settings)
        self.scenario = scenario(self.decider).when(TakeOver("m1"))
        self.model = SchedulerModel(settings)
        self.now = START
        self.incarnation = 1

    def send(self, command: Command, draw: float = 0.0) -> Decision:
        self.scenario.when(command, now=self.now, draw=draw)
        return self.scenario.decision

    def agree(self, command: Command, expected: str | None) -> None:
        refusal = self.send(command).refusal
        assert (refusal.code.value if refusal else None) == expected

    @rule(worker=a_worker, info=infos)
    def join(self, worker: str, info: WorkerInfo) -> None:
        self.agree(Join(worker, info), None)
        self.model.join(worker, info, self.now)

    @rule(worker=a_worker, load=loads)
    def join_and_report(self, worker: str, load: float) -> None:
        if worker not in self.model.workers:
            self.join(worker, WorkerInfo(ip="10.0.0.1", max_load=0.9))
        self.report_load(worker, load)

    @rule(worker=a_worker)
    def quit(self, worker: str) -> None:
        self.agree(Quit(worker), None)
        self.model.leave(worker, lost=False)

    @rule(worker=a_worker)
    def lose(self, worker: str) -> None:
        self.agree(LoseWorker(worker, 3_100), None)
        self.model.leave(worker, lost=True)

    @rule(worker=a_worker, state=st.sampled_from([0, 1, 2, 2, 2]))
    def report_state(self, worker: str, state: int) -> None:
        self.agree(ReportState(worker, state), self.model.report_state(worker, state))

    @rule(worker=a_worker, load=loads)
    def report_load(self, worker: str, load: float) -> None:
        self.agree(ReportLoad(worker, load), self.model.report_load(worker, millionths(load), self.now))

    @rule(worker=a_worker, deadline_ms=st.none() | a_time)
    def drain(self, worker: str, deadline_ms: int | None) -> None:
        deadline = None if deadline_ms is None else self.now + timedelta(milliseconds=deadline_ms)
        self.agree(Drain(worker, deadline_ms), self.model.drain(worker, deadline))

    @rule(worker=a_worker)
    def undrain(self, worker: str) -> None:
        self.agree(Undrain(worker), self.model.undrain(worker))

    @rule(task=a_task, preference=preferences, reserve_ms=st.none() | a_time, draw=draws)
    def schedule(self, task: str, preference: Preference, reserve_ms: int | None, draw: float) -> None:
        decision = self.send(Schedule(task, preference, reserve_ms), draw)
        expected, choice = self.model.schedule(task, preference, reserve_ms, draw, self.now)
        answer = decision.refusal.code.value if decision.refusal else decision.answer.worker
        assert answer == expected
        data = decision.facts[-1].data if decision.facts else None
        if choice is None:
            assert not isinstance(data, WorkerReserved | SchedulingRefused)
            return
        if data is None:
            assert decision.refusal
            return
        assert isinstance(data, WorkerReserved | SchedulingRefused)
        assert data.basis.refused == choice.refused
        assert data.basis.candidates == choice.candidates
        if isinstance(data, WorkerReserved):
            assert [data.worker, *(each.worker for each in data.basis.runners_up)] == choice.ranked

    @rule(preference=preferences, draw=draws)
    def schedule_one_more(self, preference: Preference, draw: float) -> None:
        """As a rule has it, but of a task that nobody knows."""
        self.schedule(f"task-{len(self.scenario.events)}", preference, None, draw)

    @rule(task=a_task, reserve_ms=a_time)
    def extend(self, task: str, reserve_ms: int) -> None:
        self.agree(Extend(task, reserve_ms), self.model.extend(task, reserve_ms, self.now))

    @rule(worker=a_worker, task=a_task)
    def unschedule(self, worker: str, task: str) -> None:
        self.agree(Unschedule(worker, task), self.model.unschedule(worker, task))

    @rule(worker=a_worker, tasks=st.lists(a_task, min_size=1, max_size=4).map(tuple))
    def pick_up(self, worker: str, tasks: tuple[str, ...]) -> None:
        decision = self.send(PickUpTasks(worker, tasks))
        expected = self.model.pick_up(worker, tasks, self.now)
        told = decision.refusal.code.value if decision.refusal else decision.answer.released
        assert told == expected

    @precondition(lambda self: self.model.tasks)
    @rule(data=st.data())
    def pick_up_what_is_held(self, data: st.DataObject) -> None:
        task = data.draw(st.sampled_from(sorted(self.model.tasks)))
        self.pick_up(self.model.tasks[task].worker, (task,))

    @rule(worker=a_worker, task=a_task)
    def lay_down(self, worker: str, task: str) -> None:
        self.agree(LayDownTask(worker, task), self.model.lay_down(worker, task, self.now))

    @rule(milliseconds=st.sampled_from([1, 500, 5_000, 61_000]))
    def pass_time(self, milliseconds: int) -> None:
        self.now += timedelta(milliseconds=milliseconds)
        while commands := self.scenario.due(self.now):
            for command in commands:
                assert self.send(command).facts
        self.model.pass_time(self.now)

    @rule()
    def restart(self) -> None:
        state = self.decider.initial()
        for event in self.scenario.events:
            state = self.decider.evolve(state, event)
        assert parts(state) == parts(self.scenario.state)
        self.scenario.state = state
        self.incarnation += 1
        self.agree(TakeOver(f"m{self.incarnation}"), None)

    @invariant()
    def knows_the_same(self) -> None:
        state, model = self.scenario.state, self.model
        assert workers_in_joining_order(state) == list(model.workers)
        assert state.tasks.keys() == model.tasks.keys()
        for name, task in model.tasks.items():
            view = scheduled(state, name)
            phase = "running" if task.running else "reserved"
            assert (view.worker, view.state, view.expires_at) == (task.worker, phase, task.due)
            assert state.tasks[name].reserve_ms == task.reserve_ms
        for name, worker in model.workers.items():
            view_of: WorkerView = worker_view(state, name)
            running = {each for each, task in model.tasks.items() if task.worker == name and task.running}
            assert set(view_of.tasks) == set(tasks_of(state, name)) == running
            assert state.workers[name].effective == model.effective(worker)
            assert view_of.available == (model.unavailable(worker) is None)
            assert view_of.draining == worker.draining
            told = {each for each, at in worker.taken.items() if self.now < at + timedelta(seconds=60)}
            assert set(taken_from(state, name, self.now)) == told
        assert self.scenario.deadline == model.next_deadline()


TestSchedulerMachine = SchedulerMachine.TestCase
SchedulerMachine.TestCase.settings = effort(max_examples=70, stateful_step_count=30, deadline=None)


def test_every_event_of_a_scheduler_is_taken_in() -> None:
    kinds = {Kind.SCHEDULER, Kind.LOAD}
    assert set(FOLDS) == {data for data in CATALOGUE.values() if data.kind in kinds}


def test_an_event_of_another_kind_changes_nothing() -> None:
    begun = ready(purpose(), "w1")
    before = parts(begun.state)
    begun.given(RoomDeleted(room="r1"))
    assert parts(begun.state) == before


def test_taking_over_begins_the_next_epoch() -> None:
    begun = purpose()
    begun.when(TakeOver("m2")).then(SchedulerTakenOver(manager="m2", epoch=2))


def test_settings_count_from_the_take_over_that_names_them() -> None:
    begun = ready(purpose(strategy="last-used", task_load=0.1), "w1", "w2", "w3").when(Schedule("t1"))
    settings = replace(PurposeSettings.default("portal"), strategy="round-robin", task_load=0.2)
    begun.when(TakeOver("m2", settings)).then(
        SchedulerTakenOver(manager="m2", epoch=2, settings=settings.recorded())
    )
    begun.when(Schedule("t2"))
    view = worker_view(begun.state, "w2")  # the one after the one that was used last
    assert (begun.state.settings, view.reservations, view.effective_load) == (settings, ["t2"], 0.2)
    assert worker_view(begun.state, "w1").effective_load == 0.1


def test_settings_of_the_log_count_more_than_those_that_a_state_begins_with() -> None:
    begun = ready(purpose(strategy="least-used"), "w1")
    begun.when(TakeOver("m2", replace(PurposeSettings.default("portal"), strategy="weight-robin")))
    folded = SCHEDULER(PurposeSettings.default("portal")).initial()
    for event in begun.events:
        folded = evolve(folded, event)
    assert parts(folded) == parts(begun.state)


def test_recorded_settings_that_mean_nothing_here_change_nothing() -> None:
    begun = ready(purpose(strategy="least-used"), "w1")
    settings = begun.state.settings
    strange = msgspec.structs.replace(settings.recorded(), strategy="by-the-stars")
    begun.given(SchedulerTakenOver(manager="m2", epoch=2, settings=strange))
    assert (begun.state.settings, begun.state.epoch) == (settings, 2)


def test_taking_over_twice_begins_one_epoch() -> None:
    purpose().when(TakeOver("m1")).then_nothing()


def test_what_is_due_is_handed_out_in_order_and_in_bounded_numbers() -> None:
    begun = ready(purpose(task_load=0.0), "w1")
    state, decider = begun.state, SCHEDULER(begun.state.settings)
    for number in range(300):
        command = Schedule(f"t{number}", reserve_ms=1_000 - number)
        decision = decider.decide(state, command, Context(START))
        begun.given(*decision.facts)
    handed = begun.due(START + timedelta(seconds=2))
    assert handed == [ExpireReservation(f"t{number}") for number in range(299, 299 - DUE_AT_ONCE, -1)]


def test_a_decision_repeats_from_the_state_that_it_was_made_on() -> None:
    begun = ready(purpose(strategy="randomly-pick"), "w1", "w2", "w3")
    first = begun.when(Schedule("t1"), draw=0.4).decision.facts[0].data
    assert isinstance(first, WorkerReserved)
    assert first.basis.draw == 0.4
    decider, state = SCHEDULER(begun.state.settings), begun.state
    again = SCHEDULER(begun.state.settings).initial()
    for event in begun.events[: first.basis.sequence]:
        again = decider.evolve(again, event)
    assert state is not again
    repeated = decider.decide(again, Schedule("t1"), Context(START, first.basis.sequence, first.basis.draw))
    assert repeated.facts[0].data == first


def test_a_basis_names_the_figures_of_the_choice() -> None:
    begun = ready(purpose("conference", strategy="least-used"), "w1", load=0.3)
    ready(begun, "w2", load=0.2)
    ready(begun, "w3", load=0.95)
    begun.when(Schedule("t1"))
    data = begun.decision.facts[0].data
    assert isinstance(data, WorkerReserved)
    assert replace_sequence(data.basis) == Basis(
        sequence=0,
        strategy="least-used",
        workers=3,
        candidates=2,
        refused={"full_load": 1},
        load=0.2,
        runners_up=data.basis.runners_up,
    )
    assert [(each.worker, each.load) for each in data.basis.runners_up] == [("w1", 0.3)]


def replace_sequence(basis: Basis) -> Basis:
    fields = {name: getattr(basis, name) for name in basis.__struct_fields__}
    return Basis(**{**fields, "sequence": 0})


def test_settings_are_the_purposes_own() -> None:
    assert replace(PurposeSettings.default("sip"), reserve_ms=5).strategy == "round-robin"
