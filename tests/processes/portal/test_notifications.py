"""What the events of a room mean to those who are in."""

from roomledger.processes.portal.native import notification as written
from roomledger.processes.portal.notifications import News, Presence, RoomClosed, Roster, take_in
from roomledger.sdk.rooms import ParticipantView
from roomledger_events.envelope import Address, Commit, Event, Payload
from roomledger_events.identifiers import new_id
from roomledger_events.rooms import JoinRefused, ParticipantJoined, ParticipantLeft, Permission, RoomDeleted
from roomledger_events.subjects import Boundary, Kind
from tests.support.deciders import START


def commit(sequence: int, *facts: Payload) -> Commit:
    events = tuple(
        Event.of(fact, about="x", id=new_id(), source="t", time=START, correlation="c", actor="a")
        for fact in facts
    )
    return Commit(sequence, Boundary(Kind.ROOM, "r1"), START, events)


def joined(id_: str) -> ParticipantJoined:
    return ParticipantJoined(
        participant=id_, user=f"user-{id_}", role="viewer", permission=Permission(), portal="w", token="t"
    )


def view(id_: str) -> ParticipantView:
    return ParticipantView(id=id_, user=f"user-{id_}", role="viewer")


def test_a_join_and_a_leave_are_told_with_who_it_is_though_the_leave_names_an_id_only() -> None:
    roster: Roster = {}
    news = take_in(commit(5, joined("p1"), ParticipantLeft(participant="p1", reason="logout")), roster)
    assert [each.notification for each in news] == [
        Presence(action="join", participant=view("p1"), address=Address(5, 0)),
        Presence(action="leave", participant=view("p1"), reason="logout", address=Address(5, 1)),
    ]
    assert roster == {}


def test_an_address_counts_events_that_nobody_is_told_of() -> None:
    news = take_in(commit(5, JoinRefused(participant="p0", token="t", reason="room_full"), joined("p1")), {})
    assert [each.notification.address for each in news] == [Address(5, 1)]


def test_the_deletion_of_a_room_empties_its_roster() -> None:
    roster = {"p1": view("p1")}
    news = take_in(commit(6, RoomDeleted(room="r1")), roster)
    assert [each.notification for each in news] == [RoomClosed(address=Address(6, 0))]
    assert roster == {}


def test_a_notification_is_written_once_however_many_want_it() -> None:
    calls = 0

    def write(told: Presence | RoomClosed) -> bytes:
        nonlocal calls
        calls += 1
        return written(told)

    news = News(RoomClosed(address=Address(1)))
    assert news.written(write) == news.written(write)
    assert calls == 1
