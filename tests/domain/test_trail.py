import pytest

from roomledger.domain.trail import Trail, is_on
from roomledger_events.envelope import Event, Payload
from roomledger_events.mentions import Thing
from roomledger_events.rooms import JoinRefused, ParticipantLeft
from roomledger_events.subjects import Boundary
from roomledger_events.tasks import ReservationExpired, TaskPickedUp
from roomledger_events.workers import LoadReported
from tests.support.commits import PORTAL, PORTAL_LOAD, ROOM, START, TOKENS, issued, joined, reserved


def told(
    boundary: Boundary, data: Payload, correlation: str = "e", actor: str = "x"
) -> tuple[Boundary, Event]:
    event = Event.of(
        data, about="it", id="e", source="s", time=START, correlation=correlation, causation="e", actor=actor
    )
    return boundary, event


STORY = [
    told(PORTAL, reserved("code-t1"), "t1"),  # 0
    told(TOKENS, issued("t1"), "t1"),  # 1
    told(TOKENS, issued("t2"), "t2"),  # 2
    told(PORTAL_LOAD, LoadReported(worker="w1", load=0.5)),  # 3
    told(ROOM, JoinRefused(participant="p0", token="t1", reason="room_full"), "t1"),  # 4
    told(ROOM, joined("p1", "t1"), "t1"),  # 5
    told(PORTAL, TaskPickedUp(task="code-t1", worker="w1"), "t1", "participant:p1"),  # 6
    told(ROOM, joined("p2", "t2"), "t2"),  # 7
    told(ROOM, ParticipantLeft(participant="p1", reason="dropped"), "command"),  # 8
    told(ROOM, ParticipantLeft(participant="p0", reason="logout"), "command"),  # 9
    told(PORTAL, ReservationExpired(task="code-t1", worker="w1"), "code-t1", "timer"),  # 10
]


@pytest.mark.parametrize(
    ("thing", "id", "expected"),
    [
        (Thing.TOKEN, "t1", [0, 1, 4, 5, 6, 8, 10]),
        (Thing.PARTICIPANT, "p1", [0, 1, 4, 5, 6, 8, 10]),
        (Thing.PARTICIPANT, "p0", [0, 1, 4, 5, 6, 8, 9, 10]),
        (Thing.USER, "Ada", [0, 1, 2, 4, 5, 6, 7, 8, 10]),
        (Thing.ROOM, "r1", [1, 2, 4, 5, 7, 8, 9]),
        (Thing.TASK, "code-t1", [0, 1, 6, 10]),
        (Thing.WORKER, "w1", [0, 1, 2, 3, 5, 6, 7, 10]),
        (Thing.TOKEN, "t9", []),
    ],
)
def test_a_trail_has_the_events_of_its_story(thing: Thing, id: str, expected: list[int]) -> None:  # noqa: A002  - as in events
    trail = Trail(thing, id)
    for boundary, event in STORY:
        if any(each.kind is boundary.kind for each in trail.told_by):
            trail.learn(event)
    found = [place for place, each in enumerate(STORY) if is_on(trail.sought, *each)]
    assert found == expected
