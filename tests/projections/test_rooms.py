from roomledger_events.envelope import Payload
from roomledger_events.rooms import (
    ControllerReleased,
    ControllerTakenOver,
    JoinRefused,
    ParticipantAway,
    ParticipantBack,
    ParticipantLeft,
    Permission,
    PermissionChanged,
    RoomChanged,
    RoomCreated,
    RoomDeleted,
    RoomSettings,
)
from roomledger_events.subjects import Boundary, Kind
from roomledger_projections import rooms
from roomledger_projections.projection import Row
from roomledger_projections.projection_file import ProjectionFile
from roomledger_projections.rooms import ROOMS
from tests.support.commits import CREATED, LATER, ROOM, created, joined, log_of

ALL_OF_IT = {"audio": True, "video": True}
NONE_OF_IT = {"audio": False, "video": False}


def known_after(*data: Payload) -> ProjectionFile:
    known = ProjectionFile(ROOMS)
    known.take_in(log_of(*((ROOM, each) for each in (created(), *data))), CREATED)
    return known


def room_after(*data: Payload) -> Row:
    found = known_after(*data).ask(rooms.room, "r1")
    assert found is not None
    return found


def participant_after(*data: Payload) -> Row:
    found = known_after(*data).ask(rooms.participant, "r1", "p1")
    assert found is not None
    return found


def test_a_created_room_is_known_with_its_settings_and_roles() -> None:
    assert room_after() == {
        "id": "r1",
        "service": "s1",
        "name": "Room one",
        "participant_limit": 10,
        "views": ["common"],
        "created_at": "2026-01-01T00:00:01.000000Z",
        "created_sequence": 1,
        "generation": 1,
        "changed_at": "2026-01-01T00:00:01.000000Z",
        "deleted_at": None,
        "deleted": False,
        "controller_worker": None,
        "controller_node": None,
        "controller_epoch": None,
        "roles": [
            {"role": "presenter", "publish": ALL_OF_IT, "subscribe": ALL_OF_IT},
            {"role": "viewer", "publish": NONE_OF_IT, "subscribe": ALL_OF_IT},
        ],
    }


def test_a_changed_room_has_its_new_settings_only() -> None:
    room = room_after(RoomChanged(room="r1", settings=RoomSettings(name="Other")))
    assert (room["name"], room["participant_limit"], room["roles"], room["views"]) == ("Other", -1, [], [])
    assert room["service"] == "s1"


def test_a_deleted_room_says_so_and_nobody_is_in_it() -> None:
    known = known_after(joined("p1"), RoomDeleted(room="r1"))
    room = known.ask(rooms.room, "r1")
    assert room is not None
    assert (room["deleted"], room["deleted_at"]) == (True, "2026-01-01T00:00:03.000000Z")
    assert known.ask(rooms.participants_of, "r1") == []


def test_a_deleted_room_is_not_listed_and_not_counted() -> None:
    known = known_after(RoomDeleted(room="r1"))
    assert known.ask(rooms.rooms_of, "s1") == []
    assert known.ask(rooms.room_count, "s1") == 0


def test_a_room_that_is_created_again_is_there_again() -> None:
    room = room_after(
        ControllerTakenOver(room="r1", worker="c1", node="n1", epoch=4),
        RoomDeleted(room="r1"),
        RoomCreated(room="r1", service="s2", settings=RoomSettings(name="New"), generation=2),
    )
    assert (room["deleted"], room["service"], room["generation"]) == (False, "s2", 2)
    assert (room["controller_node"], room["controller_epoch"]) == (None, 4)


def test_a_room_names_the_node_that_decides_for_it() -> None:
    room = room_after(ControllerTakenOver(room="r1", worker="c1", node="n1", epoch=2))
    assert (room["controller_worker"], room["controller_node"], room["controller_epoch"]) == ("c1", "n1", 2)


def test_a_released_controller_leaves_a_room_without_one() -> None:
    room = room_after(
        ControllerTakenOver(room="r1", worker="c1", node="n1", epoch=2),
        ControllerReleased(room="r1", node="n1", epoch=2),
    )
    assert (room["controller_worker"], room["controller_node"], room["controller_epoch"]) == (None, None, 2)


def test_a_participant_who_joined_is_in_with_what_came_with_the_token() -> None:
    assert participant_after(joined("p1")) == {
        "room": "r1",
        "id": "p1",
        "user": "Ada",
        "role": "presenter",
        "portal": "w1",
        "token": "t1",
        "isp": None,
        "region": None,
        "joined_at": "2026-01-01T00:00:02.000000Z",
        "joined_sequence": 2,
        "away": False,
        "away_since": None,
        "back_by": None,
        "permission": {"publish": ALL_OF_IT, "subscribe": ALL_OF_IT},
    }


def test_a_participant_who_was_refused_is_not_in() -> None:
    known = known_after(JoinRefused(participant="p1", token="t1", reason="room_full"))
    assert known.ask(rooms.participants_of, "r1") == []


def test_a_participant_who_left_is_out() -> None:
    known = known_after(joined("p1"), joined("p2"), ParticipantLeft(participant="p1", reason="logout"))
    assert [row["id"] for row in known.ask(rooms.participants_of, "r1")] == ["p2"]


def test_a_participant_whose_connection_was_lost_is_away_and_waited_for() -> None:
    row = participant_after(joined("p1"), ParticipantAway(participant="p1", portal="w1", back_by=LATER))
    assert (row["away"], row["away_since"], row["back_by"]) == (
        True,
        "2026-01-01T00:00:03.000000Z",
        "2026-01-01T01:00:00.000000Z",
    )


def test_a_participant_who_came_back_is_at_the_new_portal() -> None:
    row = participant_after(
        joined("p1"),
        ParticipantAway(participant="p1", portal="w1", back_by=LATER),
        ParticipantBack(participant="p1", portal="w2"),
    )
    assert (row["portal"], row["away"], row["back_by"]) == ("w2", False, None)


def test_a_participant_has_the_permission_that_was_set_last() -> None:
    row = participant_after(joined("p1"), PermissionChanged(participant="p1", permission=Permission()))
    assert row["permission"] == {"publish": NONE_OF_IT, "subscribe": NONE_OF_IT}


def test_participants_of_one_id_in_two_rooms_are_two() -> None:
    other = Boundary(Kind.ROOM, "r2")
    known = ProjectionFile(ROOMS)
    left = ParticipantLeft(participant="p1", reason="logout")
    known.take_in(log_of((ROOM, joined("p1")), (other, joined("p1")), (other, left)), CREATED)
    assert [len(known.ask(rooms.participants_of, room)) for room in ("r1", "r2")] == [1, 0]


def test_participants_are_paged_and_counted() -> None:
    known = known_after(created(), *(joined(f"p{number}") for number in range(5)))
    pages = [
        [row["id"] for row in known.ask(rooms.participants_of, "r1", limit=2, offset=offset)]
        for offset in (0, 2, 4)
    ]
    assert pages == [["p0", "p1"], ["p2", "p3"], ["p4"]]
    assert known.ask(rooms.participant_count, "r1") == 5


def test_the_rooms_of_a_service_are_paged_oldest_first() -> None:
    known = ProjectionFile(ROOMS)
    told = [
        (Boundary(Kind.ROOM, name), RoomCreated(room=name, service="s1", settings=RoomSettings(name=name)))
        for name in ("z", "b", "m")
    ]
    known.take_in(log_of(*told), CREATED)
    assert [row["id"] for row in known.ask(rooms.rooms_of, "s1", limit=2)] == ["z", "b"]
    assert [row["id"] for row in known.ask(rooms.rooms_of, "s1", limit=2, offset=2)] == ["m"]
    assert known.ask(rooms.room_count, "s1") == 3


def test_a_service_does_not_see_the_rooms_of_another_one() -> None:
    assert known_after().ask(rooms.rooms_of, "s2") == []


def test_a_room_that_never_was_is_not_found() -> None:
    assert known_after().ask(rooms.room, "r2") is None
