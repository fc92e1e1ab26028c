import pytest
from hypothesis import given
from hypothesis import strategies as st

from roomledger_events.identifiers import InvalidId
from roomledger_events.subjects import EXPIRING, GUARDED, Boundary, Kind, NotASubject, Subjects
from tests.events.test_identifiers import NO_IDS

SUBJECTS = Subjects()
OTHERS = Subjects("east.ledger", "east.feed")
BOUNDARIES = st.builds(Boundary, st.sampled_from(Kind), st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True))


def test_a_boundary_has_one_literal_subject():
    assert SUBJECTS.of(Boundary(Kind.ROOM, "r1")) == "ledger.room.r1"
    assert OTHERS.of(Boundary(Kind.ROOM, "r1")) == "east.ledger.room.r1"


def test_a_boundary_is_read_in_the_log_and_followed_in_the_feed():
    room = Boundary(Kind.ROOM, "r1")
    assert SUBJECTS.pattern(room) == "ledger.room.r1"
    assert SUBJECTS.pattern(room, live=True) == "feed.room.r1"


def test_all_boundaries_of_a_kind_have_a_pattern_but_no_subject():
    rooms = Boundary(Kind.ROOM, "*")
    assert SUBJECTS.pattern(rooms, live=True) == "feed.room.*"
    with pytest.raises(InvalidId):
        SUBJECTS.of(rooms)


def test_everything_has_a_pattern():
    assert (SUBJECTS.all(), SUBJECTS.all(live=True)) == ("ledger.>", "feed.>")


@pytest.mark.parametrize("subjects", [SUBJECTS, OTHERS])
@given(boundary=BOUNDARIES)
def test_a_subject_leads_back_to_its_boundary(subjects: Subjects, boundary: Boundary):
    assert subjects.parse(subjects.of(boundary)) == boundary
    assert subjects.parse(subjects.pattern(boundary, live=True)) == boundary


@pytest.mark.parametrize("name", NO_IDS.values(), ids=NO_IDS)
def test_a_name_that_is_no_id_makes_no_subject(name: str):
    with pytest.raises(InvalidId):
        SUBJECTS.of(Boundary(Kind.ROOM, name))
    if name != "*":
        with pytest.raises(InvalidId):
            SUBJECTS.pattern(Boundary(Kind.ROOM, name))
    with pytest.raises(NotASubject):
        SUBJECTS.parse(f"ledger.room.{name}")


@pytest.mark.parametrize(
    "subject",
    ["", "ledger", "ledger.room", "ledger.room.", "ledger.house.r1", "other.room.r1", "x.ledger.room.r1",
     "ledger.room.r1.x", "ledger.Room.r1", "room.r1", "$JS.API.INFO", "east.ledger.room.r1"],
)  # fmt: skip
def test_what_is_no_subject_of_the_log_is_refused(subject: str):
    with pytest.raises(NotASubject, match="is no subject of this log"):
        SUBJECTS.parse(subject)


def test_what_expires_never_carries_expectations():
    assert EXPIRING.isdisjoint(GUARDED)
    assert set(Kind) == EXPIRING | GUARDED | {Kind.TOKEN}
