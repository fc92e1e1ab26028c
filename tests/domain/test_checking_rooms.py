from collections.abc import Iterable

import msgspec
import pytest

from roomledger.domain.checking_rooms import RoomCheck
from roomledger.domain.findings import Finding
from roomledger_events.envelope import Commit, Payload
from roomledger_events.rooms import (
    ControllerReleased,
    ControllerTakenOver,
    ParticipantBack,
    ParticipantLeft,
    RoomChanged,
    RoomCreated,
    RoomDeleted,
    RoomSettings,
    TextSent,
)
from roomledger_events.subjects import Boundary, Kind
from roomledger_events.tokens import TokenRevoked
from tests.support.commits import ROOM, START, TOKENS, commit, created, issued, joined

TEXT = Boundary(Kind.TEXT, "r1")
TAKEN = ControllerTakenOver(room="r1", worker="c1", node="n1", epoch=1)
BEGUN = ((ROOM, created()), (ROOM, TAKEN), (TOKENS, issued("t1")), (TOKENS, issued("t2")))
LEFT = ParticipantLeft(participant="p1", reason="logout")


def limited(limit: int) -> RoomCreated:
    return RoomCreated(room="r1", service="s1", settings=RoomSettings(name="r1", participant_limit=limit))


def as_the_node(told: Commit) -> Commit:
    """Return a commit as the node n1 makes it."""
    events = tuple(msgspec.structs.replace(event, source="conference/n1") for event in told.events)
    return msgspec.structs.replace(told, events=events)


def found(*told: tuple[Boundary, Payload]) -> list[Finding]:
    """Check a log of these events."""
    check = RoomCheck()
    commits = [as_the_node(commit(number, *each)) for number, each in enumerate(told, 1)]
    return [finding for each in commits for finding in check.take_in(each)] + [*check.end()]


def messages(findings: Iterable[Finding]) -> list[str]:
    return [finding.message for finding in findings]


def test_a_room_as_it_should_be_is_fine() -> None:
    text = TextSent(sender="p1", to="all", message="hi")
    back = ParticipantBack(participant="p1", portal="w2")
    told = (
        (ROOM, joined("p1")),
        (TEXT, text),
        (ROOM, back),
        (ROOM, LEFT),
        (ROOM, joined("p2", "t2")),
        (ROOM, RoomDeleted(room="r1")),
        (ROOM, msgspec.structs.replace(created(), generation=2)),
    )
    assert found(*BEGUN, *told) == []


def test_a_participant_over_the_limit_is_named() -> None:
    told = (*BEGUN[1:], (ROOM, joined("p1")), (ROOM, joined("p2", "t2")))
    (finding,) = found((ROOM, limited(1)), *told)
    assert (finding.sequence, finding.about) == (6, "p2")
    assert finding.message == "is number 2 in the room r1, whose limit is 1"


def test_a_limit_that_is_none_holds_nobody_off() -> None:
    told = (*BEGUN[1:], (ROOM, joined("p1")), (ROOM, joined("p2", "t2")))
    assert found((ROOM, limited(0)), *told) == []


def test_a_limit_counts_as_it_was_changed() -> None:
    changed = RoomChanged(room="r1", settings=RoomSettings(name="r1", participant_limit=1))
    told = ((ROOM, joined("p1")), (ROOM, changed), (ROOM, joined("p2", "t2")))
    assert len(found(*BEGUN, *told)) == 1


def test_a_token_that_is_used_twice_is_named() -> None:
    told = ((ROOM, joined("p1")), (ROOM, LEFT), (ROOM, joined("p2")))
    assert messages(found(*BEGUN, *told)) == ["p2 joined with the token that p1 had used up"]


@pytest.mark.parametrize(
    ("before", "join", "message"),
    [
        ((), joined("p1", "t9"), "p1 joined with a token that was never issued"),
        (((ROOM, TokenRevoked(token="t1")),), joined("p1"), "p1 joined with it after it was revoked"),
        (
            ((TOKENS, issued("t3", START)),),
            joined("p1", "t3"),
            "p1 joined with it after it had expired",
        ),
    ],
)
def test_a_token_that_opens_nothing_is_named(
    before: tuple[tuple[Boundary, Payload], ...], join: Payload, message: str
) -> None:
    assert messages(found(*BEGUN, *before, (ROOM, join))) == [message]


def test_a_token_of_a_room_that_was_deleted_opens_no_later_one() -> None:
    told = (
        (ROOM, RoomDeleted(room="r1")),
        (ROOM, msgspec.structs.replace(created(), generation=2)),
        (ROOM, msgspec.structs.replace(TAKEN, epoch=2)),
        (ROOM, joined("p1")),
    )
    assert messages(found(*BEGUN, *told)) == ["it was issued for another room than r1, which p1 joined"]


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ((ROOM, LEFT), "left the room r1 without being in it"),
        (
            (ROOM, ParticipantBack(participant="p1", portal="w1")),
            "ParticipantBack in the room r1 of somebody who is not in it",
        ),
        (
            (TEXT, TextSent(sender="p1", to="all", message="hi")),
            "a text in the room r1 from or to somebody who is not in it",
        ),
        ((ROOM, created()), "a room is created that is there already"),
        ((ROOM, TAKEN), "epoch 1 follows 1: there is to be one writer at a time"),
        (
            (ROOM, ControllerReleased(room="r1", node="n2", epoch=1)),
            "the node n2 gives a room up that n1 decides for",
        ),
        ((ROOM, TokenRevoked(token="t9")), "a token was revoked that was never issued"),
        ((TOKENS, issued("t1")), "the token was issued twice"),
    ],
)
def test_what_cannot_be_is_named(told: tuple[Boundary, Payload], message: str) -> None:
    assert message in messages(found(*BEGUN, told))


def test_somebody_who_is_let_in_by_another_than_the_one_who_decides_is_named() -> None:
    check = RoomCheck()
    for number, each in enumerate(BEGUN, 1):
        assert not [*check.take_in(as_the_node(commit(number, *each)))]
    (finding,) = check.take_in(commit(5, ROOM, joined("p1")))
    assert finding.message == "was let in by tests/1, and the node n1 decides for the room r1"


def test_a_room_that_is_not_there_is_named() -> None:
    told = messages(found((TOKENS, issued("t1")), (ROOM, joined("p1"))))
    assert "joined the room r1, which is not there" in told
    assert "joined the room r1, for which no node decides" in told
