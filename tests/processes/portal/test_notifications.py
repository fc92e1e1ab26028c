"""What the events of a room mean to those who are in."""

from roomledger.processes.portal.native import notification as written
from roomledger.processes.portal.notifications import (
    Moved,
    News,
    Notification,
    Permitted,
    Presence,
    RoomClosed,
    RoomSet,
    Said,
    is_for,
    take_in,
)
from roomledger.sdk.rooms import ParticipantView
from roomledger_events.envelope import Address, Commit, Event, Payload
from roomledger_events.identifiers import new_id
from roomledger_events.rooms import (
    JoinRefused,
    ParticipantAway,
    ParticipantBack,
    ParticipantJoined,
    ParticipantLeft,
    Permission,
    PermissionChanged,
    RoomChanged,
    RoomDeleted,
    RoomSettings,
    TextSent,
)
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


def told(*facts: Payload) -> list[Notification]:
    return [each.notification for each in take_in(commit(5, *facts))]


def test_a_join_and_a_leave_are_told_with_who_it_is() -> None:
    left = ParticipantLeft(participant="p1", reason="logout", user="user-p1", role="viewer")
    assert told(joined("p1"), left) == [
        Presence(action="join", participant=view("p1"), address=Address(5, 0)),
        Presence(action="leave", participant=view("p1"), reason="logout", address=Address(5, 1)),
    ]


def test_an_address_counts_events_that_nobody_is_told_of() -> None:
    (join,) = told(JoinRefused(participant="p0", token="t", reason="room_full"), joined("p1"))
    assert join.address == Address(5, 1)


def test_the_deletion_of_a_room_closes_it() -> None:
    assert told(RoomDeleted(room="r1")) == [RoomClosed(address=Address(5, 0))]


def test_texts_changed_permissions_and_changed_settings_are_told() -> None:
    settings = RoomSettings(name="Two")
    assert told(
        TextSent(sender="p1", to="all", message="hello"),
        PermissionChanged(participant="p1", permission=Permission()),
        RoomChanged(room="r1", settings=settings),
    ) == [
        Said(sender="p1", to="all", message="hello", address=Address(5, 0)),
        Permitted(participant="p1", permission=Permission(), address=Address(5, 1)),
        RoomSet(settings=settings, address=Address(5, 2)),
    ]


def test_a_session_learns_that_it_lost_its_connection_and_where_it_is_back() -> None:
    assert told(
        ParticipantAway(participant="p1", portal="w1", told="4.2"),
        ParticipantAway(participant="p1", portal="w1"),
        ParticipantBack(participant="p1", portal="w2", incarnation="i2", epoch=3),
    ) == [
        Moved(participant="p1", away=True, portal="w1", told=Address(4, 2), address=Address(5, 0)),
        Moved(participant="p1", away=True, portal="w1", address=Address(5, 1)),
        Moved(participant="p1", away=False, portal="w2", incarnation="i2", epoch=3, address=Address(5, 2)),
    ]


def test_who_is_told_of_what() -> None:
    at = Address(5)
    presence = Presence(action="join", participant=view("p1"), address=at)
    permitted = Permitted(participant="p1", permission=Permission(), address=at)
    texts = [Said(sender="p1", to=to, message="", address=at) for to in ("all", "p1", "p2")]
    notifications = [presence, permitted, *texts, Moved(participant="p1", away=True, portal="w", address=at)]
    assert [is_for(each, "p1") for each in notifications] == [False, True, True, True, False, False]
    assert [is_for(each, "p2") for each in notifications] == [True, False, True, False, True, False]


def test_a_notification_is_written_once_however_many_want_it() -> None:
    calls = 0

    def write(told: Notification) -> bytes:
        nonlocal calls
        calls += 1
        return written(told)

    news = News(Presence(action="join", participant=view("p1"), address=Address(1)))
    assert news.written(write) == news.written(write)
    assert calls == 1
