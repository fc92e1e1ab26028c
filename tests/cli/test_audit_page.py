import base64
import hashlib
import re
from html.parser import HTMLParser
from xml.etree import ElementTree as ET

import pytest

from roomledger.cli.audit_page import page
from roomledger.domain.causes import cause_of, chains
from roomledger.runtime.trails import Told
from roomledger_events.envelope import Commit, Event, Payload
from roomledger_events.rooms import ParticipantLeft, TextSent
from roomledger_events.subjects import Boundary, Kind
from tests.support.commits import ROOM, START, TOKENS, issued, joined

EVIL = "</title><script>alert(1)</script>\"'<img src=x onerror=alert(1)>&"
VOID = {"meta", "input", "br", "img", "link"}


def told(
    sequence: int, boundary: Boundary, data: Payload, causation: str | None = None, actor: str = "a"
) -> Told:
    event = Event.of(
        data,
        about="x",
        id=f"e{sequence}",
        source="s",
        time=START,
        correlation="t1",
        causation=causation,
        actor=actor,
    )
    return Told(Commit(sequence, boundary, START, (event,)), 0, event)


EVENTS = [
    told(4, TOKENS, issued("t1")),
    told(5, ROOM, joined("p1"), "join:p1"),
    told(9, ROOM, ParticipantLeft(participant="p1", reason="dropped", message=EVIL), "e5", EVIL),
    told(12, Boundary(Kind.TEXT, "r1"), TextSent(sender="p1", to="all", message=EVIL), EVIL),
]


class Elements(HTMLParser):
    """All elements of a page with their attributes, made sure that each is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture
def text() -> str:
    placed = [(each.address, each.event) for each in EVENTS]
    return page("user", EVIL, EVENTS, cause_of(placed), chains(placed))


def test_nothing_of_it_is_elsewhere(text: str) -> None:
    for tag, attributes in Elements(text).found:
        assert tag not in {"link", "img", "iframe", "object", "base"}
        assert not {"src", "style", "onload", "onclick", "onerror"} & attributes.keys(), tag
        for name in ("href", "action"):
            assert (attributes.get(name) or "#").startswith("#")
    assert re.findall(r"https?://[^\"' <]+", text) == ["http://www.w3.org/2000/svg"]
    assert "url(" not in text
    assert "@import" not in text


def test_what_users_wrote_is_text(text: str) -> None:
    assert [tag for tag, _ in Elements(text).found].count("script") == 1
    assert "<img" not in text
    assert "alert(1)" in text


def test_only_its_own_script_and_style_count(text: str) -> None:
    policy = next(
        attributes["content"] or ""
        for _, attributes in Elements(text).found
        if attributes.get("http-equiv") == "Content-Security-Policy"
    )
    for tag in ("script", "style"):
        inner = text.split(f"<{tag}>")[1].split(f"</{tag}>", maxsplit=1)[0]
        digest = base64.b64encode(hashlib.sha256(inner.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none';")


def drawing(text: str) -> ET.Element:
    return ET.fromstring(re.findall(r"<svg.*?</svg>", text, re.DOTALL)[0])  # noqa: S314  - it was made just now


def of(element: ET.Element, tag: str, name: str | None = None) -> list[ET.Element]:
    found = element.iter(f"{{http://www.w3.org/2000/svg}}{tag}")
    return [each for each in found if name is None or each.get("class") == name]


def test_every_event_is_a_mark_in_its_lane_in_log_order(text: str) -> None:
    marks = of(drawing(text), "circle")
    assert [mark.get("class") for mark in marks] == ["token", "room", "room", "text"]
    places = [float(mark.get("cx") or 0) for mark in marks]
    assert places == sorted(places)
    heights = [mark.get("cy") for mark in marks]
    assert heights[1] == heights[2]
    assert len(set(heights)) == len(of(drawing(text), "line", "lane")) == 3


def test_a_mark_tells_what_happened_and_leads_to_its_row(text: str) -> None:
    mark = of(drawing(text), "a")[1]
    assert mark.get("href") == "#e5-0"
    assert "participant p1 joined room r1" in "".join(mark.itertext())
    assert any(attributes.get("id") == "e5-0" for tag, attributes in Elements(text).found if tag == "tr")


def test_an_arc_leads_from_an_event_to_what_it_caused(text: str) -> None:
    (arc,) = of(drawing(text), "path", "arc")
    marks = of(drawing(text), "circle")
    numbers = [float(each) for each in re.findall(r"[\d.]+", arc.get("d") or "")]
    assert numbers[:2] == [float(marks[1].get(name) or 0) for name in ("cx", "cy")]
    assert numbers[-2:] == [float(marks[2].get(name) or 0) for name in ("cx", "cy")]


def test_the_tree_and_the_table_have_every_event(text: str) -> None:
    links = [attributes.get("href") for tag, attributes in Elements(text).found if tag == "a"]
    for each in EVENTS:
        assert links.count(f"#e{each.address.sequence}-0") >= 2  # its mark, and its place in the tree
    assert text.count("<tr id=") == len(EVENTS)


def test_the_table_can_be_limited_to_a_boundary(text: str) -> None:
    assert "<option>room.r1</option>" in text
    assert 'data-lane="room.r1"' in text
