import json
from collections.abc import Callable
from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roomledger_events.catalogue import CATALOGUE, decode, decode_all
from roomledger_events.envelope import Commit, Event, Payload, Unreadable, encode
from roomledger_events.nodes import NodeReady
from roomledger_events.subjects import Boundary, Kind
from tests.support.event_samples import events

NOW = datetime(2025, 1, 1, tzinfo=UTC)
NODES = Boundary(Kind.NODES, "w1")


def read(body: bytes) -> Commit:
    return decode(7, NODES, NOW, body)


def item(number: int, **changes: object) -> dict[str, object]:
    event = Event.of(
        NodeReady(node=f"n{number}"),
        about=f"n{number}",
        id=f"id-{number}",
        source="tests/1",
        time=NOW,
        correlation="c",
        actor="a",
    )
    return {**json.loads(msgspec.json.encode(event)), **changes}


def read_items(*items: object) -> Commit:
    return read(json.dumps(items).encode())


def reason_of(event: Event) -> str:
    assert isinstance(event.data, Unreadable)
    return event.data.reason


# -- What can be read


@pytest.mark.parametrize("cls", CATALOGUE.values(), ids=CATALOGUE)
def test_events_of_every_type_are_read_as_they_were_written(cls: type[Payload]):
    @settings(max_examples=25)
    @given(event=events(cls))
    def round_trip(event: Event) -> None:
        assert read(encode([event])).events == (event,)

    round_trip()


@settings(max_examples=25)
@given(batch=st.lists(events(), min_size=1, max_size=5))
def test_the_events_of_a_commit_keep_their_order(batch: list[Event]):
    assert read(encode(batch)) == Commit(7, NODES, NOW, tuple(batch))


def test_the_catalogue_knows_every_type_by_its_name():
    assert all(name == cls.__name__ for name, cls in CATALOGUE.items())
    assert {"TokenIssued", "WorkerJoined", "TaskPickedUp", "RoomCreated", "NodeReady"} <= set(CATALOGUE)
    assert {"Payload", "Unreadable"}.isdisjoint(CATALOGUE)


def test_every_kind_of_boundary_has_a_type_of_event():
    assert {cls.kind for cls in CATALOGUE.values()} == set(Kind)


def test_what_a_later_version_added_to_the_data_or_the_envelope_is_passed_over():
    event = read_items(item(1, data={"node": "n1", "colour": "red"}, colour="red")).events[0]
    assert event.data == NodeReady(node="n1")


def test_where_the_type_stands_in_an_event_does_not_matter():
    late = {name: value for name, value in item(1).items() if name != "type"} | {"type": "NodeReady"}
    assert read_items(late) == read_items(item(1))


@pytest.mark.parametrize("others", [[], [b"{"], [json.dumps([item(1, dataversion=2)]).encode()]], ids=repr)
def test_messages_in_columns_are_read_as_they_are_one_by_one(others: list[bytes]):
    bodies = [json.dumps([item(1), item(2)]).encode(), *others, json.dumps([item(3)]).encode()]
    count = len(bodies)
    columns = (range(count), [Boundary(Kind.NODES, f"w{number}") for number in range(count)], [NOW] * count)
    assert decode_all(*columns, bodies) == list(map(decode, *columns, bodies))


# -- What cannot be read


def test_an_unknown_type_keeps_its_place_its_envelope_and_its_data():
    commit = read_items(item(1), item(2, type="NodePainted", data={"colour": "red"}), item(3))
    assert [event.id for event in commit.events] == ["id-1", "id-2", "id-3"]
    unknown = commit.events[1]
    assert unknown.type == "NodePainted"
    assert unknown.data == Unreadable(reason="unknown type 'NodePainted'", body='{"colour": "red"}')
    assert [type(event.data) for event in commit.events] == [NodeReady, Unreadable, NodeReady]


def test_a_newer_version_is_not_guessed_at():
    commit = read_items(item(1), item(2, dataversion=2))
    assert "version 2 is newer than 1" in reason_of(commit.events[1])
    assert commit.events[0].data == NodeReady(node="n1")


def test_another_version_of_the_envelope_is_read_as_far_as_it_is_known():
    event = read_items(item(1, specversion="1.1")).events[0]
    assert (event.specversion, event.data) == ("1.0", NodeReady(node="n1"))


def test_data_of_the_wrong_shape_are_unreadable():
    shapes: list[object] = [{}, {"node": 5}, [], None, "n1"]
    for data in shapes:
        event = read_items(item(1, data=data)).events[0]
        assert (event.id, event.type) == ("id-1", "NodeReady")
        assert reason_of(event)


@pytest.mark.parametrize(
    "broken",
    [None, 1, "text", [], {}, item(2, time="yesterday"), item(2, id=5), item(2, dataversion="1")],
    ids=repr,
)
def test_a_broken_item_in_an_otherwise_good_commit_keeps_its_place(broken: object):
    commit = read_items(item(1), broken, item(3))
    assert [event.id for event in commit.events] == ["id-1", "unreadable-7.1", "id-3"]
    assert commit.events[0].data == NodeReady(node="n1")
    assert reason_of(commit.events[1])
    assert commit.events[1].time == NOW


@pytest.mark.parametrize(
    "body", [b"", b"{", b"null", b"{}", b'"text"', b"[1,", b"\xff\xfe", b"[" * 100_000, b"[]x"]
)
def test_a_body_that_is_no_commit_is_one_unreadable_event(body: bytes):
    (event,) = read(body).events
    assert event.id == "unreadable-7.0"
    assert reason_of(event)


def deep(text: str) -> bytes:
    return text.replace("DEEP", "[" * 100_000 + "]" * 100_000).encode()


@pytest.mark.parametrize(
    "make",
    [
        lambda: deep(json.dumps([item(1, data="DEEP")]).replace('"DEEP"', "DEEP")),
        lambda: deep(json.dumps([item(1, type="NodePainted", data="DEEP")]).replace('"DEEP"', "DEEP")),
        lambda: deep(json.dumps([item(1, dataversion=0, data="DEEP")]).replace('"DEEP"', "DEEP")),
    ],
    ids=["known", "unknown", "older"],
)
def test_what_is_nested_too_deeply_is_unreadable(make: Callable[[], bytes]):
    (event,) = read(make()).events
    assert reason_of(event)


def test_of_what_cannot_be_read_no_more_than_a_thousand_characters_are_kept():
    (event,) = read(b"x" * 5000).events
    assert isinstance(event.data, Unreadable)
    assert event.data.body == "x" * 1000
    (event,) = read_items(item(1, type="N" * 5000)).events
    assert len(reason_of(event)) == 1000


SHREDS = [b"[", b"]", b"{", b"}", b",", b":", b'"', b'"id"', b'"data"', b"1", b"null", b"\xff", b" "]


@given(body=st.binary(max_size=50) | st.lists(st.sampled_from(SHREDS)).map(b"".join))
def test_no_body_whatever_raises(body: bytes):
    assert all(isinstance(event.data, Unreadable) for event in read(body).events)
