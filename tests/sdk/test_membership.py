"""The rules of a worker's membership: what it asks and tells, in every state."""

import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roomledger.domain.errors import Code, Refusal
from roomledger.runtime.calls import RequestMeta
from roomledger.sdk import membership
from roomledger.sdk.cluster import KeptAlive
from roomledger.sdk.deliveries import tasks_of
from roomledger.sdk.membership import BEAT_S, JOIN_AGAIN_S, TRANSITIONS, Membership, State
from roomledger.sdk.membership_effects import (
    BackInReach,
    Beat,
    Deny,
    Drain,
    DrainAsked,
    DrainEnded,
    Effect,
    Join,
    Joined,
    LayDown,
    Lost,
    MoveTasks,
    NotReported,
    OfTasks,
    OutOfReach,
    PickUp,
    Quit,
    Readiness,
    Reject,
    Rejoined,
    Report,
    Request,
    Send,
    TaskReleased,
    Tell,
)

OK = KeptAlive(status="ok", draining=False)
WHO = KeptAlive(status="who_are_you", draining=False)
SILENCE = Refusal(Code.NOT_READY, "nobody answers")
UNKNOWN = Refusal(Code.NO_SUCH_WORKER, "no worker w1 is known")
WRONG = Refusal(Code.INVALID_ARGUMENT, "that is wrong")


def draining(move_in_ms: int | None = None) -> KeptAlive:
    return KeptAlive(status="ok", draining=True, move_in_ms=move_in_ms)


def joined(*tasks: str) -> Membership:
    """Return a membership that joined at 0 and has told all that it runs."""
    member = Membership()
    member.start()
    settle(member, member.replied(Join(0), None, 0.0))
    for task in tasks:
        settle(member, member.pick_up(task))
    return member


def settle(member: Membership, effects: list[Effect], now: float = 0.0) -> None:
    """Answer everything but beats and joins as a cluster does that has nothing against it."""
    while sent := [each.request for each in effects if isinstance(each, Send)]:
        effects = []
        for request in sent:
            if not isinstance(request, Beat | Join):
                effects += member.replied(request, () if isinstance(request, PickUp) else None, now)


def beat(member: Membership, answer: KeptAlive | Refusal, now: float) -> list[Effect]:
    """Let a beat be due, and answer it."""
    (sent,) = member.tick(now)
    assert isinstance(sent, Send)
    if isinstance(answer, Refusal):
        return member.refused(sent.request, answer, now)
    return member.replied(sent.request, answer, now)


def told(effects: list[Effect]) -> list[Any]:
    return [effect.news for effect in effects if isinstance(effect, Tell)]


def asked(effects: list[Effect]) -> list[Any]:
    return [effect.request for effect in effects if isinstance(effect, Send)]


# -- Joining


def test_who_starts_joins() -> None:
    member = Membership()
    assert member.start() == [Send(Join(0))]
    assert member.state is State.JOINING


def test_who_has_joined_says_so_and_reports() -> None:
    member = Membership()
    member.start()
    assert member.replied(Join(0), None, 5.0) == [Tell(Joined()), Send(Report(0))]
    assert (member.state, member.due) == (State.IN_SERVICE, 5.0 + BEAT_S)


def test_a_first_join_that_is_refused_for_good_is_told_to_whoever_waits() -> None:
    member = Membership()
    member.start()
    assert member.refused(Join(0), WRONG, 0.0) == [Deny(Join(0), WRONG)]
    assert (member.state, member.due) == (State.OUT, None)


def test_a_join_that_waiting_may_mend_is_tried_again_and_said_once() -> None:
    member = Membership()
    member.start()
    assert told(member.refused(Join(0), SILENCE, 0.0)) == [OutOfReach("nobody answers")]
    assert member.due == JOIN_AGAIN_S
    assert member.tick(JOIN_AGAIN_S) == [Send(Join(0))]
    assert member.refused(Join(0), SILENCE, 5.0) == []
    member.tick(6.0)
    assert told(member.replied(Join(0), None, 6.0)) == [BackInReach(), Joined()]


def test_what_is_picked_up_before_the_join_is_told_after_it() -> None:
    member = Membership()
    meta = RequestMeta(correlation="c1")
    assert member.pick_up("t1", meta) == []
    member.start()
    assert PickUp(0, ("t1",), meta) in asked(member.replied(Join(0), None, 0.0))


# -- Beats


def test_beats_come_a_second_apart_and_are_followed_by_a_report() -> None:
    member = joined()
    assert member.tick(BEAT_S - 0.01) == []
    assert asked(beat(member, OK, BEAT_S)) == [Report(0)]
    assert member.due == 2 * BEAT_S


def test_a_beat_that_is_not_answered_yet_is_followed_by_no_other() -> None:
    member = joined()
    assert len(member.tick(1.0)) == 1
    assert [member.tick(now) for now in (2.0, 3.0, 60.0)] == [[], [], []]
    member.replied(Beat(0), OK, 60.0)
    assert len(member.tick(60.0)) == 1


def test_who_was_asleep_sends_one_beat() -> None:
    member = joined()
    assert member.tick(100.0) == [Send(Beat(0))]
    member.replied(Beat(0), OK, 100.0)
    assert member.tick(100.5) == []


def test_reports_do_not_pile_up() -> None:
    member = joined()
    assert asked(beat(member, OK, 1.0)) == [Report(0)]
    assert asked(beat(member, OK, 2.0)) == []
    assert member.replied(Report(0), None, 2.1) == []
    assert asked(beat(member, OK, 3.0)) == [Report(0)]


# -- Out of reach


def test_silence_is_told_once_and_the_worker_goes_on() -> None:
    member = joined("t1")
    assert beat(member, SILENCE, 1.0) == [Tell(OutOfReach("nobody answers"))]
    assert beat(member, SILENCE, 3.0) == []
    assert (member.state, member.running) == (State.OUT_OF_REACH, ("t1",))


def test_an_answer_after_a_silence_is_told_once() -> None:
    member = joined()
    beat(member, SILENCE, 1.0)
    assert told(beat(member, OK, 2.0)) == [BackInReach()]
    assert told(beat(member, OK, 3.0)) == []
    assert member.state is State.IN_SERVICE


def test_what_is_done_out_of_reach_is_told_when_the_cluster_is_back() -> None:
    member = joined("t1", "t2")
    beat(member, SILENCE, 1.0)
    assert [*member.lay_down("t1"), *member.pick_up("t3"), *member.reject("t4")] == []
    assert set(asked(beat(member, OK, 2.0))) == {
        LayDown(0, "t1"),
        Reject(0, "t4"),
        PickUp(0, ("t3",)),
        Report(0),
    }


def test_only_what_was_wanted_last_is_told() -> None:
    member = joined("t1")
    beat(member, SILENCE, 1.0)
    for _ in range(3):
        member.lay_down("t1")
        member.pick_up("t1")
    assert asked(beat(member, OK, 2.0)) == [PickUp(0, ("t1",)), Report(0)]


def test_a_laying_down_that_was_not_answered_is_sent_again_with_the_next_beat() -> None:
    member = joined("t1")
    (laying_down,) = asked(member.lay_down("t1"))
    assert member.refused(laying_down, Refusal(Code.LOG_UNAVAILABLE, "not now"), 0.5) == []
    (again, report) = asked(beat(member, OK, 1.0))
    assert (again, report) == (LayDown(0, "t1"), Report(0))
    assert member.replied(again, None, 1.1) == []
    assert asked(beat(member, OK, 2.0)) == []
    assert member.undelivered == 0


def test_late_requests_are_sent_a_few_at_a_time() -> None:
    tasks = [f"t{number}" for number in range(300)]
    member = joined(*tasks)
    beat(member, SILENCE, 1.0)
    for task in tasks:
        member.lay_down(task)
    sent = asked(beat(member, OK, 2.0))
    settled = 0
    while laid_down := [each for each in sent if isinstance(each, LayDown)]:
        settled += 1
        sent.remove(laid_down[0])
        assert len(laid_down) <= 64
        sent += asked(member.replied(laid_down[0], None, 2.0))
    assert (settled, member.undelivered) == (300, 0)


def test_what_the_cluster_does_not_take_of_reports_is_told_once() -> None:
    member = joined()
    beat(member, OK, 1.0)
    full = Refusal(Code.LOG_FULL, "the log is full")
    assert member.refused(Report(0), full, 1.0) == [Tell(NotReported("the log is full"))]
    beat(member, OK, 2.0)
    assert member.refused(Report(0), full, 2.0) == []
    beat(member, OK, 3.0)
    member.replied(Report(0), None, 3.0)
    beat(member, OK, 4.0)
    assert told(member.refused(Report(0), full, 4.0)) == [NotReported("the log is full")]


# -- Lost, and back again


def test_who_is_unknown_joins_again_and_hands_back_what_it_runs() -> None:
    member = joined("t1", "t2")
    assert beat(member, WHO, 6.0) == [Tell(Lost()), Send(Join(1))]
    assert (member.state, member.running) == (State.JOINING, ("t1", "t2"))
    back = member.replied(Join(1), None, 6.1)
    assert back == [Tell(Rejoined(("t1", "t2"))), Send(PickUp(1, ("t1", "t2"))), Send(Report(1))]


@pytest.mark.parametrize("request_", ["pick_up", "report"])
def test_any_request_may_tell_that_it_is_unknown(request_: str) -> None:
    member = joined("t1")
    (sent,) = asked(member.pick_up("t2") if request_ == "pick_up" else beat(member, OK, 1.0))
    assert member.refused(sent, UNKNOWN, 1.1) == [Tell(Lost()), Send(Join(1))]
    handed_back = ("t1", "t2") if request_ == "pick_up" else ("t1",)
    assert PickUp(1, handed_back) in asked(member.replied(Join(1), None, 1.2))


def test_to_be_unknown_is_told_once_however_many_answers_say_so() -> None:
    member = joined()
    sent = [*asked(member.pick_up("t1")), *asked(member.pick_up("t2")), *asked(member.tick(1.0))]
    effects = [effect for each in sent for effect in member.refused(each, UNKNOWN, 1.0)]
    assert effects == [Tell(Lost()), Send(Join(1))]
    member.replied(Join(1), None, 1.1)
    assert member.replied(Beat(0), WHO, 1.2) == []
    assert member.state is State.IN_SERVICE


def test_what_is_anothers_now_is_told_as_released_and_not_run_any_more() -> None:
    member = joined("t1", "t2")
    beat(member, WHO, 6.0)
    member.replied(Join(1), None, 6.1)
    assert member.replied(PickUp(1, ("t1", "t2")), ("t2",), 6.2) == [Tell(TaskReleased("t2"))]
    assert member.running == ("t1",)
    settle(member, beat(member, WHO, 9.0))
    assert PickUp(2, ("t1",)) in asked(member.replied(Join(2), None, 9.1))


def test_what_another_worker_has_picked_up_is_told_as_released_once() -> None:
    member = joined("t1", "t2")
    kept = KeptAlive(status="ok", draining=False, released=("t2", "t9"))
    (sent,) = asked(member.tick(1.0))
    assert Tell(TaskReleased("t2")) in member.replied(sent, kept, 1.1)
    assert member.running == ("t1",)
    (sent,) = asked(member.tick(2.0))
    assert told(member.replied(sent, kept, 2.1)) == []


def test_what_it_picks_up_again_itself_is_not_released_by_an_answer_from_before() -> None:
    member = joined("t1")
    (beat_,) = asked(member.tick(1.0))
    member.lay_down("t1")
    member.pick_up("t1")
    kept = KeptAlive(status="ok", draining=False, released=("t1",))
    assert told(member.replied(beat_, kept, 1.1)) == []
    assert member.running == ("t1",)


def test_what_was_laid_down_before_the_cluster_forgot_the_worker_is_not_handed_back() -> None:
    member = joined("t1", "t2")
    beat(member, SILENCE, 1.0)
    member.lay_down("t1")
    beat(member, WHO, 6.0)
    assert asked(member.replied(Join(1), None, 6.1)) == [PickUp(1, ("t2",)), Report(1)]


def test_many_tasks_are_handed_back_in_several_requests() -> None:
    tasks = [f"t{number}" for number in range(500)]
    member = joined(*tasks)
    beat(member, WHO, 6.0)
    handed_back = [
        each.tasks for each in asked(member.replied(Join(1), None, 6.1)) if isinstance(each, PickUp)
    ]
    assert [len(each) for each in handed_back] == [200, 200, 100]
    assert [task for each in handed_back for task in each] == tasks


def test_a_task_whose_laying_down_is_under_way_is_handed_back_after_it() -> None:
    member = joined("t1")
    (laying_down,) = asked(member.lay_down("t1"))
    member.pick_up("t1")
    beat(member, WHO, 1.0)
    assert asked(member.replied(Join(1), None, 1.1)) == [Report(1)]
    assert asked(member.replied(laying_down, None, 1.2)) == [PickUp(1, ("t1",))]


def test_a_join_that_is_refused_later_on_is_tried_for_ever() -> None:
    member = joined("t1")
    beat(member, WHO, 1.0)
    assert member.refused(Join(1), WRONG, 1.1) == [Tell(OutOfReach("that is wrong"))]
    assert member.tick(1.1 + JOIN_AGAIN_S) == [Send(Join(1))]
    assert member.running == ("t1",)


def test_the_state_is_reported_again_to_a_cluster_that_forgot_it() -> None:
    member = joined()
    assert member.report_state(Readiness.INITIALIZING) == [Send(Report(0, Readiness.INITIALIZING))]
    member.replied(Report(0, Readiness.INITIALIZING), None, 0.5)
    assert asked(beat(member, OK, 1.0)) == [Report(0)]
    beat(member, WHO, 2.0)
    assert asked(member.replied(Join(1), None, 2.1)) == [Report(1, Readiness.INITIALIZING)]


def test_a_state_that_changes_while_it_is_reported_is_reported_again() -> None:
    member = joined()
    (first,) = asked(member.report_state(Readiness.NOT_READY))
    assert member.report_state(Readiness.READY) == []
    assert asked(member.replied(first, None, 0.1)) == [Report(0, Readiness.READY)]


# -- Tasks


def test_of_a_task_one_request_is_under_way_at_a_time() -> None:
    member = joined()
    (picking_up,) = asked(member.pick_up("t1"))
    assert member.lay_down("t1") == []
    assert asked(member.replied(picking_up, (), 0.1)) == [LayDown(0, "t1")]


def test_a_picking_up_that_is_refused_for_good_is_undone() -> None:
    member = joined()
    (picking_up,) = asked(member.pick_up("t1"))
    assert member.refused(picking_up, WRONG, 0.1) == [Deny(picking_up, WRONG)]
    assert (member.running, member.undelivered) == ((), 0)


def test_a_handing_back_that_is_refused_for_good_is_tried_again() -> None:
    member = joined("t1", "t2")
    beat(member, WHO, 1.0)
    handing_back = asked(member.replied(Join(1), None, 1.1))[0]
    assert member.refused(handing_back, Refusal(Code.LOG_FULL, "full"), 1.2) == []
    assert PickUp(1, ("t1", "t2")) in asked(beat(member, OK, 2.1))


@pytest.mark.parametrize("task", ["", "a b", "a.b", "*", "x" * 65, "é"])
def test_what_is_no_task_is_refused_before_the_cluster_hears_of_it(task: str) -> None:
    member = joined()
    for want in (member.pick_up, member.lay_down, member.reject):
        with pytest.raises(Refusal) as refused:
            want(task)
        assert refused.value.code is Code.INVALID_ARGUMENT
    assert (member.running, member.undelivered) == ((), 0)


# -- Draining


def test_a_drain_is_told_once_with_its_time() -> None:
    member = joined("t1")
    assert told(beat(member, draining(30_000), 1.0)) == [DrainAsked(30_000)]
    assert (member.state, member.draining) == (State.DRAINING, True)
    assert told(beat(member, draining(29_000), 2.0)) == []


def test_the_tasks_that_are_left_at_the_deadline_are_told_once() -> None:
    member = joined("t1", "t2")
    beat(member, draining(1500), 1.0)
    settle(member, member.lay_down("t1"))
    assert told(beat(member, draining(500), 2.0)) == []
    assert told(beat(member, draining(0), 3.0)) == [MoveTasks(("t2",))]
    assert told(beat(member, draining(0), 4.0)) == []


def test_a_deadline_that_is_set_anew_is_told() -> None:
    member = joined("t1")
    beat(member, draining(), 1.0)
    assert told(beat(member, draining(5000), 2.0)) == [DrainAsked(5000)]
    assert told(beat(member, draining(0), 3.0)) == [MoveTasks(("t1",))]
    assert told(beat(member, draining(60_000), 4.0)) == [DrainAsked(60_000)]
    assert told(beat(member, draining(0), 70.0)) == [MoveTasks(("t1",))]


def test_a_drain_that_is_taken_back_is_told() -> None:
    member = joined("t1")
    beat(member, draining(), 1.0)
    assert told(beat(member, OK, 2.0)) == [DrainEnded()]
    assert (member.state, member.draining) == (State.IN_SERVICE, False)


def test_a_drain_outlives_a_loss_with_the_time_that_is_left() -> None:
    member = joined("t1")
    beat(member, draining(30_000), 1.0)
    beat(member, WHO, 11.0)
    assert Drain(1, 20_000) in asked(member.replied(Join(1), None, 11.0))
    assert told(beat(member, OK, 12.0)) == [], "the cluster has not been told yet: that is no end of it"
    assert told(member.replied(Drain(1, 20_000), None, 12.1)) == [], "the user knows"
    assert member.draining


def test_a_drain_that_could_not_be_told_is_told_later() -> None:
    member = joined()
    (drain,) = asked(member.drain(0.0, 10_000))
    assert member.refused(drain, SILENCE, 0.5) == []
    assert Drain(0, 9000) in asked(beat(member, OK, 1.0))


def test_a_drain_that_the_cluster_refuses_is_told_to_whoever_waits() -> None:
    member = joined()
    (drain,) = asked(member.drain(0.0, 10_000))
    assert member.refused(drain, WRONG, 0.5) == [Deny(drain, WRONG)]
    assert asked(beat(member, OK, 1.0)) == [Report(0)]


# -- Quitting


@pytest.mark.parametrize("refused", [False, True])
def test_who_quits_is_gone_whether_the_cluster_hears_it_or_not(refused: bool) -> None:  # noqa: FBT001  - a case
    member = joined("t1")
    assert member.quit() == [Send(Quit(0))]
    assert (member.state, member.due) == (State.QUITTING, None)
    assert (member.refused(Quit(0), SILENCE, 1.0) if refused else member.replied(Quit(0), None, 1.0)) == []
    assert member.state is State.GONE


def test_who_never_joined_is_gone_at_once() -> None:
    member = Membership()
    assert member.quit() == []
    assert member.state is State.GONE


def test_who_has_quit_asks_and_is_told_nothing_any_more() -> None:
    member = joined("t1")
    member.tick(1.0)
    member.quit()
    assert member.replied(Beat(0), WHO, 1.1) == []
    assert member.refused(Report(0), UNKNOWN, 1.1) == []
    assert [*member.pick_up("t2"), *member.lay_down("t1"), *member.tick(9.0), *member.quit()] == []


def test_every_transition_of_the_table_is_in_its_description() -> None:
    lines = (membership.__doc__ or "").split("Rules beside")[0].splitlines()
    rows = [re.split(r"\s{2,}", line.strip()) for line in lines if re.match(r"    \w", line)][1:]
    described = {
        (state.replace(" ", "_").upper(), input_.upper(), target.replace(" ", "_").upper())
        for before, input_, target in (row[:3] for row in rows)
        for state in states(before)
    }
    assert described == {
        (state.name, input_.name, target.name)
        for state, row in TRANSITIONS.items()
        for input_, target in row.items()
    }


def states(row: str) -> list[str]:
    members = ["in service", "draining", "out of reach"]
    return {"any of three": members, "all but out": ["joining", *members]}.get(row, [row])


# -- All of it, in any order


class OneCluster:
    """A cluster as far as one worker is concerned: it forgets, loses requests and answers, and gives away."""

    def __init__(self) -> None:
        self.known = False
        self.runs: set[str] = set()
        self.others: set[str] = set()

    def forget(self) -> None:
        self.known, self.runs = False, set()

    def answer(self, request: Request) -> Any:  # noqa: ANN401  - a reply or a refusal
        match request:
            case Join():
                self.known = True
            case Quit():
                self.forget()
            case Beat():
                return OK if self.known else WHO
            case LayDown(task=task) | Reject(task=task) if not self.known:
                del task
            case _ if not self.known:
                return UNKNOWN
            case PickUp(tasks=tasks):
                self.runs |= set(tasks) - self.others
                return tuple(self.others & set(tasks))
            case LayDown(task=task) | Reject(task=task):
                self.runs.discard(task)
        return None


class Story:
    """A worker, its cluster, and what is under way between them."""

    def __init__(self) -> None:
        self.member = Membership()
        self.cluster = OneCluster()
        self.now = 0.0
        self.wanted: set[str] = set()
        self.under_way: list[Request] = asked(self.member.start())

    def go_on(self, what: str, figure: Any) -> None:  # noqa: ANN401  - a task, a time, which request
        match what:
            case "pick up":
                self.wanted.add(figure)
                self.take(self.member.pick_up(figure))
            case "lay down":
                self.wanted.discard(figure)
                self.take(self.member.lay_down(figure))
            case "time":
                self.now += figure
                self.take(self.member.tick(self.now))
            case "forget":
                self.cluster.forget()
            case "give away" if not self.cluster.known:
                self.cluster.others = {figure}
            case "answer" | "lose request" | "lose answer" if self.under_way:
                self.answer(figure % len(self.under_way), what)
            case "answer all":
                self.answer_all()

    def answer(self, number: int, what: str = "answer") -> None:
        request = self.under_way.pop(number)
        reply = SILENCE if what == "lose request" else self.cluster.answer(request)
        if what == "lose answer" or isinstance(reply, Refusal):
            refusal = SILENCE if what == "lose answer" else reply
            self.take(self.member.refused(request, refusal, self.now))
        else:
            self.take(self.member.replied(request, reply, self.now))

    def answer_all(self) -> None:
        while self.under_way:
            self.answer(0)

    def take(self, effects: list[Effect]) -> None:
        self.under_way.extend(asked(effects))
        self.wanted.difference_update(news.task for news in told(effects) if isinstance(news, TaskReleased))

    def check(self) -> None:
        tasks = [task for each in self.under_way if isinstance(each, OfTasks) for task in tasks_of(each)]
        assert len(tasks) == len(set(tasks)), "of a task one request at a time"
        beats = [each for each in self.under_way if isinstance(each, Beat)]
        assert len(beats) == len({each.term for each in beats}), "one beat at a time"
        assert set(self.member.running) == self.wanted


TASKS = st.sampled_from(["a", "b"])
FIGURES: dict[str, st.SearchStrategy[Any]] = {
    "pick up": TASKS,
    "lay down": TASKS,
    "give away": TASKS,
    "time": st.sampled_from([0.5, 1.0, 5.0]),
    "forget": st.none(),
    "answer": st.integers(0, 3),
    "answer all": st.none(),
    "lose request": st.integers(0, 3),
    "lose answer": st.integers(0, 3),
}
STEPS = st.sampled_from(sorted(FIGURES)).flatmap(lambda what: st.tuples(st.just(what), FIGURES[what]))


@given(st.lists(STEPS, min_size=10, max_size=50))
@settings(max_examples=150, deadline=None)
def test_whatever_is_lost_on_the_way_the_cluster_knows_in_the_end_what_is_run(
    steps: list[tuple[str, Any]],
) -> None:
    story = Story()
    for what, figure in steps:
        story.go_on(what, figure)
        story.check()
    for _ in range(4):
        story.answer_all()
        story.go_on("time", 2 * BEAT_S)
    story.answer_all()
    assert story.cluster.runs == set(story.member.running) == story.wanted
    assert story.member.undelivered == 0
    assert story.member.state is State.IN_SERVICE
