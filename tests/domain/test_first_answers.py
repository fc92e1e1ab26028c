"""What is answered to a command that another manager has carried out is what that one answered."""

import pytest

from roomledger.domain.errors import Code
from roomledger.domain.first_answers import again
from roomledger.domain.membership import Command, Drain, Quit
from roomledger.domain.placement import (
    Extend,
    LayDownTask,
    PickedUp,
    PickUpTasks,
    Schedule,
    Unschedule,
)
from roomledger_events.tasks import Preference
from tests.support.deciders import Scenario
from tests.support.purposes import purpose, ready


def begun() -> Scenario:
    return ready(purpose(), "w1", "w2", isps=("a",)).when(Schedule("held", Preference(isp="a")))


@pytest.mark.parametrize(
    "command",
    [
        Schedule("t1", Preference(isp="a"), 5_000),
        Schedule("held", Preference(isp="a"), 90_000),
        Extend("held", 90_000),
        Unschedule("w1", "held"),
        LayDownTask("w1", "held"),
        PickUpTasks("w1", ("held", "t1", "t2")),
        PickUpTasks("w2", ("held",)),
        Quit("w2"),
    ],
)
def test_the_first_answer_is_given_again(command: Command) -> None:
    scene = begun()
    before = len(scene.events)
    scene.when(command)
    events = scene.events[before:]
    assert events
    told = again(scene.state, command, events)
    assert told is not None
    assert (told.answer, told.facts, told.refusal) == (scene.decision.answer, (), None)


def test_a_refusal_that_waiting_cannot_mend_is_given_again() -> None:
    scene = begun()
    before = len(scene.events)
    command = Schedule("t1", Preference(isp="b"))
    scene.when(command)
    told = again(scene.state, command, scene.events[before:])
    assert told is not None
    assert told.refusal is not None
    assert told.refusal.code is Code.NO_MATCH


def test_one_that_waiting_may_mend_is_decided_anew() -> None:
    scene = ready(purpose(), "w1", load=0.95)
    before = len(scene.events)
    scene.when(Schedule("t1"))
    assert again(scene.state, Schedule("t1"), scene.events[before:]) is None


def test_a_task_whose_worker_has_gone_since_is_placed_anew() -> None:
    scene = begun()
    before = len(scene.events)
    scene.when(Schedule("t1", Preference(isp="a")))
    events = scene.events[before:]
    assert events
    assert again(scene.when(Quit("w1")).state, Schedule("t1", Preference(isp="a")), events) is None


def test_what_was_not_picked_up_and_is_anothers_is_said_again() -> None:
    scene = begun()
    before = len(scene.events)
    scene.when(PickUpTasks("w1", ("t1", "t2")))
    events = scene.events[before:]
    scene.when(PickUpTasks("w2", ("held",)))
    told = again(scene.state, PickUpTasks("w1", ("t1", "t2", "held")), events)
    assert told is not None
    assert told.answer == PickedUp(("held",))


def test_what_has_no_effect_the_second_time_is_decided_anew() -> None:
    scene = begun()
    before = len(scene.events)
    scene.when(Drain("w1"))
    assert again(scene.state, Drain("w1"), scene.events[before:]) is None
