import json
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roomledger_events.envelope import (
    MAX_BYTES,
    MAX_EVENTS,
    Address,
    CommitTooLarge,
    Draft,
    Event,
    encode,
    to_json,
)
from roomledger_events.nodes import NodeReady
from roomledger_events.workers import WorkerDrainDeadlineReached
from tests.support.event_samples import events

NOW = datetime(2025, 1, 1, 12, 30, tzinfo=UTC)


def event(node: str = "n1", **changes: str) -> Event:
    named = {"id": "id-1", "source": "conference/w1", "correlation": "c1", "actor": "worker:w1"} | changes
    return Event.of(
        NodeReady(node=node),
        about=node,
        time=NOW,
        id=named["id"],
        source=named["source"],
        correlation=named["correlation"],
        actor=named["actor"],
        causation=named.get("causation"),
        traceparent=named.get("traceparent"),
    )


# -- The envelope


def test_an_event_with_other_data_is_of_their_type_and_differs_in_nothing_else():
    other = event().with_data(WorkerDrainDeadlineReached(worker="w1", tasks_left=2))
    assert (other.type, other.dataversion) == ("WorkerDrainDeadlineReached", 2)
    assert other.with_data(event().data) == event()


def test_an_event_is_written_as_a_cloud_event():
    assert json.loads(encode([event(causation="k1", traceparent="00-a-b-01")])) == [
        {
            "specversion": "1.0",
            "id": "id-1",
            "type": "NodeReady",
            "source": "conference/w1",
            "time": "2025-01-01T12:30:00Z",
            "subject": "n1",
            "correlationid": "c1",
            "causationid": "k1",
            "actor": "worker:w1",
            "dataversion": 1,
            "traceparent": "00-a-b-01",
            "data": {"node": "n1"},
        }
    ]


def test_what_an_event_does_not_have_is_not_written():
    assert {"causationid", "traceparent"}.isdisjoint(json.loads(to_json(event())))


@settings(max_examples=50)
@given(event=events())
def test_names_of_attributes_are_those_that_cloud_events_allow(event: Event):
    assert all(name.isalnum() and name.islower() for name in json.loads(to_json(event)))


# -- The commit


@settings(max_examples=25)
@given(batch=st.lists(events(), min_size=1, max_size=5))
def test_a_draft_is_encoded_as_its_events_are_together(batch: list[Event]):
    draft = Draft()
    assert draft.add(batch[:1])
    assert draft.add(batch[1:])
    assert encode(draft) == encode(batch)
    assert draft.size == len(encode(batch))
    assert (list(draft), draft[-1], draft[:2]) == (batch, batch[-1], batch[:2])


def test_a_draft_has_room_for_as_much_as_a_commit_may_hold():
    many = Draft()
    assert many.add([event()] * (MAX_EVENTS - 1))
    assert not many.add([event()] * 2)
    assert len(many) == MAX_EVENTS - 1
    assert many.add([event()])
    assert len(json.loads(encode(many))) == MAX_EVENTS
    large = Draft()
    assert large.add([event("x" * 100_000)])
    assert large.add([event("x" * 100_000)])
    assert not large.add([event("x" * 100_000)])
    assert large.size == len(encode(large)) <= MAX_BYTES


def test_an_empty_draft_takes_what_is_too_large_for_a_commit_and_leaves_the_refusal_to_encode():
    draft = Draft()
    assert draft.add([event()] * (MAX_EVENTS + 1))
    with pytest.raises(CommitTooLarge):
        encode(draft)


def test_a_commit_holds_256_events_and_no_more():
    assert len(json.loads(encode([event()] * MAX_EVENTS))) == 256
    with pytest.raises(CommitTooLarge) as large:
        encode([event()] * (MAX_EVENTS + 1))
    assert large.value.events == 257
    assert "a commit of 257 events" in str(large.value)


def test_a_commit_holds_512_kib_and_no_more():
    room = MAX_BYTES - len(encode([event("")]))
    just = event("x" * (room // 2))  # the name stands twice: as data and as what the event is about
    assert MAX_BYTES - 1 <= len(encode([just])) <= MAX_BYTES
    with pytest.raises(CommitTooLarge) as large:
        encode([event("x" * (room // 2 + 1))])
    assert large.value.size > MAX_BYTES
    assert "524288 bytes go into one" in str(large.value)


# -- The address


@pytest.mark.parametrize(("text", "address"), [("1042.3", (1042, 3)), ("1042", (1042, 0)), ("0.0", (0, 0))])
def test_an_address_is_read(text: str, address: tuple[int, int]):
    assert Address.parse(text) == address


@given(address=st.builds(Address, st.integers(0, 2**63 - 1), st.integers(0, 255)))
def test_an_address_is_read_as_it_was_written(address: Address):
    assert Address.parse(str(address)) == address


def test_addresses_sort_as_numbers():
    assert sorted([Address(10, 0), Address(9, 11), Address(9, 2)]) == [(9, 2), (9, 11), (10, 0)]


@pytest.mark.parametrize(
    "text", ["", ".", "1.", ".1", "a", "1.2.3", "-1", "1 ", "1\n", "٣", "1.1000", "9" * 20]
)
def test_what_is_no_address_is_refused(text: str):
    with pytest.raises(ValueError, match="is no address"):
        Address.parse(text)
