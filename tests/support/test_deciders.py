"""The harness finds what it promises to find."""

from collections import deque
from dataclasses import dataclass, field
from datetime import timedelta

import pytest

from roomledger.domain.decider import Context, Decider, Decision, Fact
from roomledger.domain.errors import Code, Refusal
from roomledger_events.envelope import Event, Payload
from roomledger_events.nodes import NodeReady, NodeStarted
from tests.support.deciders import START, Scenario, scenario, snapshot


@dataclass
class Nodes:
    started: list[str] = field(default_factory=list)
    cache: dict[str, int] = field(default_factory=dict, compare=False)


def evolve(state: Nodes, event: Event) -> Nodes:
    if isinstance(event.data, NodeStarted):
        state.started.append(event.data.node)
    return state


def decide(state: Nodes, command: str, context: Context) -> Decision:
    state.cache[command] = len(state.started)
    match command:
        case "careless":
            return Decision([Fact("n1", NodeStarted(node="n1"))], answer="started")
        case "careful" if "n1" not in state.started:
            return Decision([Fact("n1", NodeStarted(node="n1"))], answer=context.now)
        case "meddling":
            state.started.append("n2")
        case "refused":
            raise Refusal(Code.NO_NODE, "there is none")
        case "recorded":
            return Decision([Fact("n1", NodeReady(node="n1"))], refusal=Refusal(Code.BUSY, "not now"))
    return Decision()


def nodes() -> Scenario[Nodes, str]:
    decider = Decider(
        initial=Nodes,
        evolve=evolve,
        decide=decide,
        deadline=lambda state: START if state.started else None,
        due=lambda state, _now: state.started,
    )
    return scenario(decider)


STARTED: Payload = NodeStarted(node="n1")


def test_what_was_given_is_part_of_the_state():
    nodes().given(STARTED).when("careful").then_nothing()


def test_the_facts_of_a_command_are_compared_whole_or_by_their_data():
    nodes().when("careful").then(STARTED).when("careful").then_nothing()
    nodes().when("careful").then(Fact("n1", STARTED))
    with pytest.raises(AssertionError):
        nodes().when("careful").then(Fact("n2", STARTED))


@pytest.mark.parametrize("expected", [(), (STARTED, STARTED), (NodeStarted(node="n2"),)])
def test_too_few_too_many_and_other_facts_are_found(expected: tuple[Payload, ...]):
    with pytest.raises(AssertionError):
        nodes().when("careful").then(*expected)


def test_the_time_of_a_command_stays_until_the_next_one():
    later = START + timedelta(seconds=5)
    nodes().when("refused", now=later).when("careful").then_answer(later)


def test_a_refusal_is_found_whether_it_was_raised_or_recorded():
    nodes().when("refused").then_refused(Code.NO_NODE)
    nodes().when("recorded").then_refused(Code.BUSY, NodeReady(node="n1"))
    with pytest.raises(AssertionError):
        nodes().when("refused").then_refused(Code.BUSY)
    with pytest.raises(AssertionError):
        nodes().when("recorded").then_refused(Code.BUSY)
    with pytest.raises(AssertionError):
        nodes().when("refused").then_nothing()


def test_a_command_that_does_more_when_it_comes_twice_is_found():
    with pytest.raises(AssertionError, match="a second time"):
        nodes().when("careless")


def test_a_decision_that_touches_the_state_is_found():
    with pytest.raises(AssertionError, match="deciding meddling changed"):
        nodes().when("meddling")


def test_what_is_due_and_when_can_be_asked():
    assert nodes().deadline is None
    assert nodes().given(STARTED).deadline == START
    assert nodes().given(STARTED).due(START) == ["n1"]


def test_a_snapshot_sees_into_objects_of_every_kind():
    class Slotted:
        __slots__ = ("inner",)

        def __init__(self, inner: object) -> None:
            self.inner = inner

    assert snapshot(Slotted({"a": deque([Nodes(["n"])])})) == snapshot(Slotted({"a": deque([Nodes(["n"])])}))
    assert snapshot(Slotted({"a": deque([Nodes(["n"])])})) != snapshot(Slotted({"a": deque([Nodes(["m"])])}))
    assert snapshot(Nodes(cache={"a": 1})) == snapshot(Nodes())
