import pytest
from hypothesis import given

from roomledger_events.catalogue import CATALOGUE
from roomledger_events.envelope import Event, Payload, Unreadable
from roomledger_events.rooms import ParticipantLeft, TextSent
from roomledger_events.sentences import _SENTENCES, sentence
from roomledger_events.subjects import Boundary, Kind
from tests.support.commits import PORTAL, ROOM, START, TOKENS, issued, joined, reserved
from tests.support.event_samples import events

TEXT = Boundary(Kind.TEXT, "r1")


def event(data: Payload) -> Event:
    return Event.of(data, about="x", id="e1", source="s", time=START, correlation="c", actor="a")


def test_there_is_a_sentence_for_every_type_of_event() -> None:
    assert set(_SENTENCES) == {*CATALOGUE.values(), Unreadable}


@pytest.mark.parametrize(
    ("boundary", "data", "expected"),
    [
        (
            TOKENS,
            issued("t1"),
            (
                "token t1 was issued for 'Ada' as 'presenter' in room r1, at portal w1, good until"
                " 2026-01-01 01:00:00Z"
            ),
        ),
        (
            PORTAL,
            reserved("k1"),
            "worker w1 was reserved for portal task k1 until 2026-01-01 01:00:00Z, by last-used among 1 of 1",
        ),
        (
            ROOM,
            joined("p1"),
            "participant p1 joined room r1 as 'Ada', 'presenter', with token t1 at portal w1",
        ),
        (
            ROOM,
            ParticipantLeft(participant="p1", reason="dropped", message="bye"),
            "participant p1 left room r1, was removed: 'bye'",
        ),
        (
            TEXT,
            TextSent(sender="p1", to="all", message="hi"),
            "participant p1 wrote to everybody in room r1: 'hi'",
        ),
    ],
)
def test_it_says_what_happened(boundary: Boundary, data: Payload, expected: str) -> None:
    assert sentence(boundary, event(data)) == expected


@given(events())
def test_it_is_never_empty_and_ends_without_a_full_stop(given_event: Event) -> None:
    said = sentence(Boundary(given_event.data.kind, "r1"), given_event)
    assert said
    assert not said.endswith(".")


def test_what_a_user_wrote_cannot_break_the_line_and_is_cut() -> None:
    said = sentence(TEXT, event(TextSent(sender="p1", to="p2", message="a\nb\x1b" + "c" * 200)))
    assert said.isprintable()
    assert "a\\nb\\x1b" in said
    assert said.endswith("…'")
