from roomledger.processes.management_api.known_rooms import Gone, KnownRoom, KnownRooms
from roomledger_events.rooms import RoomChanged, RoomDeleted, RoomSettings
from tests.support.commits import ROOM, SETTINGS, TOKENS, commit, created, issued, joined

OTHER = RoomSettings(name="Another name")


def known(sequence: int, settings: RoomSettings = SETTINGS) -> KnownRoom:
    return KnownRoom("r1", "s1", settings, 1, sequence)


def test_what_was_put_is_known() -> None:
    rooms = KnownRooms()
    assert rooms.get("r1") is None
    rooms.put("r1", known(1))
    assert rooms.get("r1") == known(1)


def test_a_created_room_is_known_from_the_log() -> None:
    rooms = KnownRooms()
    rooms.take_in([commit(7, ROOM, created())])
    assert rooms.get("r1") == known(7)


def test_a_changed_room_has_its_new_settings() -> None:
    rooms = KnownRooms()
    rooms.put("r1", known(1))
    rooms.take_in([commit(2, ROOM, RoomChanged(room="r1", settings=OTHER))])
    assert rooms.get("r1") == known(2, OTHER)


def test_a_deleted_room_is_known_to_be_gone() -> None:
    rooms = KnownRooms()
    rooms.put("r1", known(1))
    rooms.take_in([commit(2, ROOM, RoomDeleted(room="r1"))])
    assert rooms.get("r1") == Gone(2)


def test_what_is_older_than_what_is_known_changes_nothing() -> None:
    rooms = KnownRooms()
    rooms.put("r1", Gone(5))
    rooms.put("r1", known(4))
    rooms.take_in([commit(3, ROOM, created())])
    assert rooms.get("r1") == Gone(5)


def test_a_look_up_from_before_a_change_of_an_unknown_room_does_not_make_it_known() -> None:
    rooms = KnownRooms()
    rooms.take_in([commit(5, ROOM, RoomChanged(room="r1", settings=OTHER))])
    assert rooms.get("r1") is None
    rooms.put("r1", known(4))
    assert rooms.get("r1") is None
    rooms.put("r1", known(5, OTHER))
    assert rooms.get("r1") == known(5, OTHER)


def test_participants_and_tokens_change_nothing() -> None:
    rooms = KnownRooms()
    rooms.put("r1", known(1))
    rooms.take_in([commit(2, ROOM, joined("p1")), commit(3, TOKENS, issued("t1"))])
    assert rooms.get("r1") == known(1)


def test_the_room_that_was_not_asked_for_longest_is_forgotten() -> None:
    rooms = KnownRooms(2)
    rooms.put("r1", known(1))
    rooms.put("r2", known(1))
    rooms.get("r1")
    rooms.put("r3", known(1))
    assert (rooms.get("r1") is None, rooms.get("r2") is None) == (False, True)
