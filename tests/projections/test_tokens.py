from datetime import datetime, timedelta

from roomledger_events.envelope import Payload
from roomledger_events.rooms import JoinRefused, RoomDeleted
from roomledger_events.subjects import Boundary
from roomledger_events.tokens import TokenRevoked
from roomledger_projections import tokens
from roomledger_projections.projection import Row
from roomledger_projections.projection_file import ProjectionFile
from roomledger_projections.tokens import TOKENS as PROJECTION
from tests.support.commits import CREATED, LATER, ROOM, START, TOKENS, issued, joined, log_of

REVOKED = TokenRevoked(token="t1")


def known_after(*told: tuple[Boundary, Payload]) -> ProjectionFile:
    known = ProjectionFile(PROJECTION)
    known.take_in(log_of(*told), CREATED)
    return known


def token_after(*data: Payload, now: datetime = START) -> Row:
    known = known_after((TOKENS, issued("t1")), *((ROOM, each) for each in data))
    found = known.ask(tokens.token, "t1", now)
    assert found is not None
    return found


def test_an_issued_token_is_known_with_what_it_is_good_for() -> None:
    assert token_after() == {
        "id": "t1",
        "room": "r1",
        "service": "s1",
        "user": "Ada",
        "role": "presenter",
        "state": "issued",
        "portal": "w1",
        "code": "code-t1",
        "isp": "isp1",
        "region": "r1",
        "issued_at": "2026-01-01T00:00:01.000000Z",
        "issued_sequence": 1,
        "generation": 1,
        "expires_at": "2026-01-01T01:00:00.000000Z",
        "used_by": None,
        "used_at": None,
        "revoked_by": None,
        "revoked_at": None,
    }


def test_a_token_is_found_by_its_code() -> None:
    known = known_after((TOKENS, issued("t1")), (TOKENS, issued("t2")))
    found = known.ask(tokens.token_of_code, "code-t2", START)
    assert found is not None
    assert found["id"] == "t2"
    assert known.ask(tokens.token_of_code, "code-t3", START) is None


def test_a_token_expires_by_the_clock_of_the_one_who_asks() -> None:
    assert token_after(now=LATER - timedelta(microseconds=1))["state"] == "issued"
    assert token_after(now=LATER)["state"] == "expired"


def test_a_token_that_was_joined_with_is_used() -> None:
    token = token_after(joined("p1"), now=LATER)
    assert (token["state"], token["used_by"], token["used_at"]) == (
        "used",
        "p1",
        "2026-01-01T00:00:02.000000Z",
    )


def test_a_token_of_a_refused_join_is_not_used() -> None:
    refused = JoinRefused(participant="p1", token="t1", reason="room_full")
    assert token_after(refused)["state"] == "issued"


def test_a_revoked_token_says_by_whom() -> None:
    token = token_after(REVOKED)
    assert (token["state"], token["revoked_by"], token["revoked_at"]) == (
        "revoked",
        "service:s1",
        "2026-01-01T00:00:02.000000Z",
    )


def test_a_token_that_was_used_before_it_was_revoked_stays_used() -> None:
    assert token_after(joined("p1"), REVOKED)["state"] == "used"


def test_the_deletion_of_its_room_revokes_a_token() -> None:
    token = token_after(RoomDeleted(room="r1"))
    assert (token["state"], token["revoked_by"]) == ("revoked", "service:s1")


def test_the_deletion_of_its_room_leaves_an_expired_token_expired() -> None:
    known = known_after((TOKENS, issued("t1", START)), (ROOM, RoomDeleted(room="r1")))
    found = known.ask(tokens.token, "t1", LATER)
    assert found is not None
    assert found["state"] == "expired"


def test_the_tokens_of_a_room_come_in_the_order_of_their_issue() -> None:
    known = known_after(*((TOKENS, issued(token)) for token in ("z", "a", "m")))
    assert [row["id"] for row in known.ask(tokens.tokens_of, START, "r1", limit=2)] == ["z", "a"]
    assert [row["id"] for row in known.ask(tokens.tokens_of, START, offset=2)] == ["m"]
    assert known.ask(tokens.tokens_of, START, "r2") == []


def test_a_token_that_never_was_is_not_found() -> None:
    assert known_after().ask(tokens.token, "t1", START) is None
