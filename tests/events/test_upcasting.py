import json
from datetime import UTC, datetime

import pytest

from roomledger_events.catalogue import decode
from roomledger_events.envelope import Event, Unreadable, encode
from roomledger_events.nodes import NodeReady
from roomledger_events.subjects import Boundary, Kind
from roomledger_events.upcasting import UPCASTERS, upcast

NOW = datetime(2025, 1, 1, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _older_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once, a node was called a process, and before that a pid."""
    monkeypatch.setitem(UPCASTERS, ("NodeReady", -1), lambda data: {"process": str(data["pid"])})
    monkeypatch.setitem(UPCASTERS, ("NodeReady", 0), lambda data: {"node": f"n-{data['process']}"})


def read(version: int, data: object) -> Event:
    event = Event.of(
        NodeReady(node=""), about="n1", id="id-1", source="s", time=NOW, correlation="c", actor="a"
    )
    (written,) = json.loads(encode([event]))
    body = json.dumps([{**written, "dataversion": version, "data": data}]).encode()
    (found,) = decode(7, Boundary(Kind.NODES, "w1"), NOW, body).events
    return found


def test_an_older_version_is_read_as_the_current_one():
    event = read(0, {"process": "17"})
    assert event.data == NodeReady(node="n-17")
    assert event.dataversion == 0


def test_steps_are_chained():
    assert read(-1, {"pid": 17}).data == NodeReady(node="n-17")
    assert upcast("NodeReady", -1, 1, {"pid": 17}) == {"node": "n-17"}


def test_the_current_version_takes_no_step():
    assert upcast("NodeReady", 1, 1, {"node": "n1"}) == {"node": "n1"}


def test_a_step_that_is_missing_makes_the_event_unreadable():
    with pytest.raises(LookupError, match="version -2 has no upcaster"):
        upcast("NodeReady", -2, 1, {})
    event = read(-2, {"pid": 17})
    assert isinstance(event.data, Unreadable)
    assert "version -2 has no upcaster" in event.data.reason


@pytest.mark.parametrize("data", [{}, {"pid": 1}, [], None, "text", 5])
def test_data_that_a_step_cannot_take_make_the_event_unreadable(data: object):
    event = read(0, data)
    assert isinstance(event.data, Unreadable)
    assert event.id == "id-1"


def test_a_step_that_leads_to_the_wrong_shape_makes_the_event_unreadable(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(UPCASTERS, ("NodeReady", 0), lambda _: {"node": 5})
    assert isinstance(read(0, {"process": "17"}).data, Unreadable)
