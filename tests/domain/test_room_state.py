from datetime import timedelta

from roomledger.domain.room import ROOM
from roomledger.domain.room_commands import RoomCommand
from roomledger.domain.room_state import RoomState
from roomledger_events.envelope import Payload, Unreadable
from roomledger_events.nodes import NodeReady
from roomledger_events.rooms import (
    JoinRefused,
    ParticipantAway,
    ParticipantBack,
    ParticipantLeft,
    PermissionChanged,
    TextSent,
)
from tests.support.deciders import START, Scenario, scenario, snapshot
from tests.support.rooms import LIFETIME, VIEWER, created, issued, joined, room, room_with, taken_over

BACK_BY = START + timedelta(minutes=1)


def unchanged_by(there: Scenario[RoomState, RoomCommand], *events: Payload) -> bool:
    before = snapshot(there.state)
    there.given(*events)
    return bool(snapshot(there.state) == before)


def test_what_a_room_does_not_know_leaves_it_as_it_is():
    assert unchanged_by(
        room_with(1),
        NodeReady(node="n1"),
        TextSent(sender="p1", to="all", message="hello"),
        Unreadable(reason="newer", body="{}"),
    )


def test_what_happened_to_somebody_who_is_out_is_no_error():
    assert unchanged_by(
        room(),
        ParticipantLeft(participant="p1", reason="logout"),
        ParticipantAway(participant="p1", portal="portal-1", back_by=BACK_BY),
        ParticipantBack(participant="p1", portal="portal-1"),
        PermissionChanged(participant="p1", permission=VIEWER),
    )


def test_somebody_who_joins_twice_is_in_once():
    there = room_with(1).given(
        ParticipantAway(participant="p1", portal="portal-1", back_by=BACK_BY), joined(1)
    )
    assert len(there.state.participants) == 1
    assert there.deadline is None
    assert len(there.state.roster.listing().participants()) == 1


def test_an_absence_without_an_end_is_not_ended_by_the_room():
    there = room_with(1).given(ParticipantAway(participant="p1", portal="portal-1"))
    assert there.state.participants["p1"].away
    assert there.deadline is None


def test_events_of_tokens_may_be_seen_after_the_joins_that_used_them():
    tokens, rest = [issued("t1"), issued("t2")], [joined(1), joined(2)]
    early = scenario(ROOM).given(created(), taken_over()).given(*tokens, *rest)
    late = scenario(ROOM).given(created(), taken_over()).given(*rest, *tokens)
    assert snapshot(early.state) == snapshot(late.state)


def test_a_room_remembers_only_the_tokens_of_the_last_minutes():
    there = room(tokens=0)
    for number in range(500):
        now = START + timedelta(minutes=number)
        there.given(issued(f"t{number}", expires_at=now + LIFETIME), joined(number), at=now)
        there.given(ParticipantLeft(participant=f"p{number}", reason="logout"))
    assert len(there.state.tokens.by_id) <= 14


def test_refusals_are_remembered_for_a_second():
    there = room().given(JoinRefused(participant="p1", token="t1", reason="room_full"))
    assert list(there.state.refused) == [("t1", "room_full")]
    there.given(
        JoinRefused(participant="p2", token="t2", reason="room_full"), at=START + timedelta(seconds=1)
    )
    assert list(there.state.refused) == [("t2", "room_full")]
