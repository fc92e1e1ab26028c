from datetime import timedelta

import msgspec
import pytest

from roomledger.domain.admission import Admission, Joined, Present
from roomledger.domain.decider import Fact
from roomledger.domain.errors import Code
from roomledger.domain.room import ROOM
from roomledger.domain.room_commands import Join
from roomledger.domain.room_settings import DEFAULT_ROLES
from roomledger_events.rooms import (
    JoinRefused,
    ParticipantJoined,
    ParticipantLeft,
    RoomChanged,
    RoomDeleted,
    RoomSettings,
    View,
)
from roomledger_events.tasks import Preference
from roomledger_events.tokens import TokenRevoked
from tests.support.deciders import START, scenario
from tests.support.rooms import PRESENTER, VIEWER, created, issued, join, joined, room, room_with, taken_over


def refused(reason: str, number: int = 1, token: str = "t1") -> Fact:
    return Fact(f"p{number}", JoinRefused(participant=f"p{number}", token=token, reason=reason), token)


def shown(admission: object) -> Joined:
    assert isinstance(admission, Admission)
    return admission.shown()


# -- Let in


def test_a_join_is_about_the_participant_and_belongs_to_the_token():
    room().when(join(1)).then(joined(1))


def test_a_join_gets_the_permission_of_its_role():
    scenario(ROOM).given(created(), taken_over(), issued("t1", role="viewer")).when(join(1)).then(
        ParticipantJoined(
            participant="p1",
            user="user-t1",
            role="viewer",
            permission=VIEWER,
            portal="portal-1",
            token="t1",
        )
    )


def test_a_join_is_answered_with_the_room_and_everybody_in_it():
    settings = RoomSettings(name="New name", roles=DEFAULT_ROLES, views=(View(label="common"),))
    there = room_with(1).given(RoomChanged(room="r1", settings=settings))
    answer = shown(there.when(join(2)).decision.answer)
    assert (answer.id, answer.user, answer.role) == ("p2", "user-t2", "presenter")
    assert answer.permission == PRESENTER
    assert msgspec.to_builtins(answer.room) == {
        "id": "r1",
        "name": "New name",
        "views": ["common"],
        "participants": [
            {"id": "p1", "user": "user-t1", "role": "presenter"},
            {"id": "p2", "user": "user-t2", "role": "presenter"},
        ],
        "streams": [],
    }


def test_an_answer_shows_nobody_who_joined_after_it():
    there = room_with(1)
    answer = there.when(join(2)).decision.answer
    there.when(join(3)).then(joined(3))
    assert [present.id for present in shown(answer).room.participants] == ["p1", "p2"]


def test_the_same_join_again_gets_the_same_answer_and_no_second_event():
    there = room()
    first = shown(there.when(join(1)).decision.answer)
    assert shown(there.when(join(1)).then_nothing().decision.answer) == first
    assert first.room.participants == [Present("p1", "user-t1", "presenter")]


def test_a_join_with_its_user_and_role_named_is_the_same():
    named = Join(participant="p1", portal="portal-1", token="t1", user="user-t1", role="presenter")
    room().when(named).then(joined(1))


def test_where_a_participant_comes_from_is_recorded():
    origin = Preference(isp="isp", region="here")
    there = room().when(Join(participant="p1", portal="portal-1", token="t1", origin=origin))
    data = there.decision.facts[0].data
    assert isinstance(data, ParticipantJoined)
    assert data.origin == origin


# -- Refused with a trace


def test_an_unknown_token_is_refused():
    room().when(join(1, token=9)).then_refused(Code.INVALID_TOKEN, refused("invalid_token", token="t9"))


def test_an_expired_token_is_refused():
    there = room().when(join(1), now=START + timedelta(seconds=180))
    there.then_refused(Code.TOKEN_EXPIRED, refused("token_expired"))


def test_a_revoked_token_is_refused():
    there = room().given(TokenRevoked(token="t1")).when(join(1))
    there.then_refused(Code.TOKEN_REVOKED, refused("token_revoked"))


def test_a_second_participant_with_the_same_token_is_refused():
    there = room_with(1).when(join(2, token=1))
    there.then_refused(Code.TOKEN_USED, refused("token_used", 2))


def test_the_same_participant_cannot_come_back_with_a_used_token():
    there = room_with(1).given(ParticipantLeft(participant="p1", reason="logout")).when(join(1))
    there.then_refused(Code.TOKEN_USED, refused("token_used"))


@pytest.mark.parametrize(("user", "role"), [("somebody else", None), (None, "viewer")])
def test_a_claim_to_be_somebody_else_than_the_token_says_is_refused(user: str | None, role: str | None):
    claimed = Join(participant="p1", portal="portal-1", token="t1", user=user, role=role)
    room().when(claimed).then_refused(Code.INVALID_TOKEN, refused("invalid_token"))


def test_a_role_that_is_no_longer_there_is_refused_and_may_come_back():
    there = room().given(RoomChanged(room="r1", settings=RoomSettings(name="r", roles=DEFAULT_ROLES[1:])))
    there.when(join(1)).then_refused(Code.INVALID_ROLE, refused("invalid_role"))
    there.given(RoomChanged(room="r1", settings=RoomSettings(name="r", roles=DEFAULT_ROLES)))
    there.when(join(1)).then(joined(1))


def test_a_full_room_refuses_and_leaves_the_token_usable():
    there = room_with(1, 2, limit=2).when(join(3))
    there.then_refused(Code.ROOM_FULL, refused("room_full", 3, "t3"))
    there.given(ParticipantLeft(participant="p1", reason="logout")).when(join(3)).then(joined(3))


@pytest.mark.parametrize("limit", [0, -1, -5])
def test_a_limit_of_nothing_is_none(limit: int):
    room_with(1, 2, limit=limit).when(join(3)).then(joined(3))


def test_a_lowered_limit_drops_nobody_and_lets_nobody_in():
    there = room_with(1, 2)
    there.given(RoomChanged(room="r1", settings=RoomSettings(name="r", participant_limit=1)))
    assert len(there.state.participants) == 2
    changed = RoomSettings(name="r", participant_limit=1, roles=DEFAULT_ROLES)
    there.given(RoomChanged(room="r1", settings=changed))
    there.when(join(3)).then_refused(Code.ROOM_FULL, refused("room_full", 3, "t3"))


def test_a_deleted_room_refuses_whoever_has_a_token():
    there = room().given(RoomDeleted(room="r1")).when(join(1))
    there.then_refused(Code.NO_SUCH_ROOM, refused("no_such_room"))


def test_a_token_for_a_deleted_room_does_not_open_the_next_one():
    there = room().given(RoomDeleted(room="r1"), created(generation=2), taken_over(epoch=2))
    there.given(issued("late", generation=1))
    there.when(join(1)).then_refused(Code.INVALID_TOKEN, refused("invalid_token"))
    late = Join(participant="p1", portal="portal-1", token="late")
    there.when(late).then_refused(Code.INVALID_TOKEN, refused("invalid_token", token="late"))


def test_a_token_for_the_next_room_opens_it_even_if_it_is_seen_before_the_room():
    there = room().given(RoomDeleted(room="r1"), issued("t1", generation=2))
    there.given(created(generation=2), taken_over(epoch=2)).when(join(1)).then(joined(1))


def test_the_same_refusal_is_recorded_once_a_second():
    there = room()
    there.when(join(1, token=9)).then_refused(Code.INVALID_TOKEN, refused("invalid_token", token="t9"))
    for milliseconds in (1, 999):
        there.when(join(2, token=9), now=START + timedelta(milliseconds=milliseconds))
        there.then_refused(Code.INVALID_TOKEN)
    there.when(join(3, token=9), now=START + timedelta(seconds=1))
    there.then_refused(Code.INVALID_TOKEN, refused("invalid_token", 3, "t9"))


def test_other_reasons_and_other_tokens_are_recorded_on_their_own():
    there = room_with(1, limit=1)
    there.when(join(2)).then_refused(Code.ROOM_FULL, refused("room_full", 2, "t2"))
    there.when(join(3)).then_refused(Code.ROOM_FULL, refused("room_full", 3, "t3"))
    there.given(TokenRevoked(token="t2"))
    there.when(join(2)).then_refused(Code.TOKEN_REVOKED, refused("token_revoked", 2, "t2"))


def test_refusals_are_not_remembered_longer_than_that():
    there = room()
    for number in range(100):
        there.when(join(1, token=100 + number), now=START + timedelta(seconds=number))
    assert len(there.state.refused) == 1


# -- Refused without a trace


def test_a_room_that_never_was_leaves_no_trace():
    scenario(ROOM).given(issued("t1")).when(join(1)).then_refused(Code.NO_SUCH_ROOM)


def test_nobody_joins_a_room_that_no_node_runs():
    scenario(ROOM).given(created(), issued("t1")).when(join(1)).then_refused(Code.WRONG_CONTROLLER)


@pytest.mark.parametrize("bad", ["", "a.b", "*", "a b", "a\n", "x" * 65, "x" * 10_000, "é"])
def test_what_is_no_id_is_refused(bad: str):
    room().when(Join(participant=bad, portal="portal-1", token="t1")).then_refused(Code.INVALID_ARGUMENT)
    room().when(Join(participant="p1", portal="portal-1", token=bad)).then_refused(Code.INVALID_ARGUMENT)


def test_nobody_can_be_called_all():
    room().when(Join(participant="all", portal="portal-1", token="t1")).then_refused(Code.INVALID_ARGUMENT)


def test_the_id_of_somebody_who_is_in_is_taken():
    room_with(1).when(join(1, token=2)).then_refused(Code.INVALID_ARGUMENT)
