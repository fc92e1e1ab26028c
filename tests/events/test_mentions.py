import msgspec
import pytest
from hypothesis import given

from roomledger_events.catalogue import CATALOGUE
from roomledger_events.envelope import Event, Payload
from roomledger_events.mentions import FIELDS, Mention, Thing, mentions
from roomledger_events.nodes import NodeAssigned
from roomledger_events.rooms import TextSent
from roomledger_events.subjects import Boundary, Kind
from roomledger_events.tasks import TaskPickedUp
from roomledger_events.workers import LoadReported
from tests.support.commits import NODES, PORTAL, PORTAL_LOAD, ROOM, START, TOKENS, issued, joined
from tests.support.event_samples import events

NO_THINGS = {
    *("epoch", "reason", "expires_at", "reserve_ms", "preference", "basis", "service", "role", "origin"),
    *("generation", "manager", "purpose", "info", "silent_ms", "state", "deadline", "tasks_left", "load"),
    *("settings", "node", "permission", "back_by", "message", "incarnation", "told"),
}
"""Fields that name nothing that is looked for."""
CONFERENCE = Boundary(Kind.SCHEDULER, "conference")
TEXT = Boundary(Kind.TEXT, "r1")


def event(data: Payload, *, correlation: str = "e", causation: str | None = "e", actor: str = "x") -> Event:
    return Event.of(
        data,
        about="it",
        id="e1",
        source="s",
        time=START,
        correlation=correlation,
        causation=causation,
        actor=actor,
    )


@pytest.mark.parametrize(
    ("boundary", "named", "expected"),
    [
        (TOKENS, event(issued("t1")), {"token t1", "task code-t1", "room r1", "user Ada", "worker w1"}),
        (ROOM, event(joined("p1")), {"participant p1", "user Ada", "worker w1", "token t1", "room r1"}),
        (PORTAL, event(TaskPickedUp(task="k1", worker="w1")), {"task k1", "worker w1"}),
        (
            PORTAL,
            event(TaskPickedUp(task="k1", worker="w1", reserved_for="w2")),
            {"task k1", "worker w1", "worker w2"},
        ),
        (CONFERENCE, event(TaskPickedUp(task="r1", worker="w1")), {"task r1", "worker w1", "room r1"}),
        (NODES, event(NodeAssigned(node="n1", room="r1")), {"room r1", "worker c1"}),
        (PORTAL_LOAD, event(LoadReported(worker="w1", load=0.5)), {"worker w1"}),
        (
            TEXT,
            event(TextSent(sender="p1", to="p2", message="hi")),
            {"participant p1", "participant p2", "room r1"},
        ),
        (TEXT, event(TextSent(sender="p1", to="all", message="hi")), {"participant p1", "room r1"}),
    ],
)
def test_an_event_names_what_it_is_about(boundary: Boundary, named: Event, expected: set[str]) -> None:
    assert {" ".join(each) for each in mentions(boundary, named)} == expected


@pytest.mark.parametrize(
    ("actor", "expected"),
    [
        ("participant:p1", [Mention(Thing.PARTICIPANT, "p1")]),
        ("portal:w9", [Mention(Thing.WORKER, "w9")]),
        ("worker:w9", [Mention(Thing.WORKER, "w9")]),
        ("service:s1", []),
        ("timer", []),
    ],
)
def test_an_event_names_who_caused_it(actor: str, expected: list[Mention]) -> None:
    named = event(LoadReported(worker="w1", load=0.5), actor=actor)
    assert mentions(PORTAL_LOAD, named)[1:] == expected


def test_an_event_names_what_set_it_off() -> None:
    named = event(TaskPickedUp(task="k1", worker="w1"), correlation="t1")
    assert Mention(Thing.CORRELATION, "t1") in mentions(PORTAL, named)


@pytest.mark.parametrize(("correlation", "causation"), [("c1", "c1"), ("it", None)])
def test_a_correlation_that_leads_nowhere_else_is_left_out(correlation: str, causation: str | None) -> None:
    named = event(TaskPickedUp(task="k1", worker="w1"), correlation=correlation, causation=causation)
    assert Thing.CORRELATION not in {each.thing for each in mentions(PORTAL, named)}


@given(events())
def test_nothing_is_named_twice_whatever_the_event(named: Event) -> None:
    found = mentions(Boundary(named.data.kind, "r1"), named)
    assert len(found) == len(set(found))


def test_of_every_field_of_every_event_it_is_known_whether_it_names_something() -> None:
    fields = {field.name for cls in CATALOGUE.values() for field in msgspec.structs.fields(cls)}
    assert fields == set(FIELDS) | NO_THINGS
