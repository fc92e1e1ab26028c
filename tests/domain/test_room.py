from datetime import datetime, timedelta

import pytest

from roomledger.domain.decider import Fact
from roomledger.domain.errors import Code
from roomledger.domain.room import MAX_DUE, MAX_LOST, ROOM, room_decider
from roomledger.domain.room_commands import (
    ChangeRoom,
    CreateRoom,
    DeleteRoom,
    Drop,
    EndAbsence,
    Leave,
    LoseConnection,
    LosePortal,
    MediaChange,
    PermissionChange,
    ReleaseController,
    Return,
    RevokeToken,
    SendText,
    SetPermission,
    TakeOverController,
)
from roomledger.domain.room_settings import DEFAULT_ROLES
from roomledger.domain.room_state import Controller, RoomState
from roomledger_events.rooms import (
    ControllerReleased,
    Media,
    ParticipantAway,
    ParticipantBack,
    ParticipantLeft,
    Permission,
    PermissionChanged,
    RoomChanged,
    RoomCreated,
    RoomDeleted,
    RoomSettings,
    TextSent,
)
from roomledger_events.tokens import TokenRevoked
from tests.support.deciders import START, scenario, snapshot
from tests.support.rooms import (
    PRESENTER,
    SETTINGS,
    VIEWER,
    created,
    issued,
    join,
    joined,
    room,
    room_with,
    taken_over,
)

CREATE = CreateRoom(room="r1", service="s1", settings=RoomSettings(name="Room one"))
MINUTE = timedelta(minutes=1)


def left(reason: str, number: int = 1, message: str | None = None) -> Fact:
    data = ParticipantLeft(
        participant=f"p{number}", reason=reason, message=message, user=f"user-t{number}", role="presenter"
    )
    return Fact(f"p{number}", data, f"t{number}")


# -- The room itself


def test_a_room_is_created_with_the_default_roles():
    scenario(ROOM).when(CREATE).then(
        Fact("r1", RoomCreated(room="r1", service="s1", settings=SETTINGS))
    ).then_answer(SETTINGS)


def test_creating_the_same_room_again_is_no_second_room():
    scenario(ROOM).given(created()).when(CREATE).then_nothing().then_answer(SETTINGS)


@pytest.mark.parametrize("service", ["s1", "s2"])
def test_another_room_of_the_same_id_is_refused(service: str):
    other = CreateRoom(room="r1", service=service, settings=RoomSettings(name=f"Of {service}"))
    scenario(ROOM).given(created()).when(other).then_refused(Code.ROOM_EXISTS)


def test_a_room_with_bad_settings_is_refused():
    bad = CreateRoom(room="r1", service="s1", settings=RoomSettings(name=""))
    scenario(ROOM).when(bad).then_refused(Code.INVALID_ARGUMENT)
    scenario(ROOM).given(created()).when(ChangeRoom(bad.settings)).then_refused(Code.INVALID_ARGUMENT)


@pytest.mark.parametrize("bad", ["", "a.b", "*", ">", "a b", "a\n", "x" * 65, "x" * 10_000])
def test_a_room_whose_id_cannot_go_into_a_subject_is_refused(bad: str):
    scenario(ROOM).when(CreateRoom(bad, "s1", SETTINGS)).then_refused(Code.INVALID_ARGUMENT)


def test_settings_are_replaced():
    changed = RoomSettings(name="New name", participant_limit=5, roles=DEFAULT_ROLES[:1])
    there = scenario(ROOM).given(created()).when(ChangeRoom(changed))
    there.then(Fact("r1", RoomChanged(room="r1", settings=changed))).then_answer(changed)
    there.when(ChangeRoom(changed)).then_nothing().then_answer(changed)


def test_a_room_that_never_was_cannot_be_changed_deleted_or_run():
    for command in (ChangeRoom(SETTINGS), DeleteRoom(), TakeOverController("w1", "n1")):
        scenario(ROOM).when(command).then_refused(Code.NO_SUCH_ROOM)


def test_a_deletion_empties_the_room_by_itself():
    there = room_with(1, 2).when(DeleteRoom()).then(Fact("r1", RoomDeleted(room="r1")))
    assert there.state.participants == {}
    assert there.state.controller is None
    assert there.deadline is None
    there.when(DeleteRoom()).then_nothing()


def test_a_deleted_room_cannot_be_changed_or_run():
    there = room().given(RoomDeleted(room="r1"))
    there.when(ChangeRoom(SETTINGS)).then_refused(Code.NO_SUCH_ROOM)
    there.when(TakeOverController("w1", "n1")).then_refused(Code.NO_SUCH_ROOM)


def test_a_room_created_anew_starts_clean_in_the_next_generation():
    there = room_with(1, 2).given(
        ParticipantAway(participant="p1", portal="portal-1", back_by=START + MINUTE)
    )
    there.given(RoomDeleted(room="r1")).when(CREATE).then(created(generation=2))
    assert there.due(START + 2 * MINUTE) == []
    fresh = scenario(ROOM).given(created(generation=2)).state
    fresh.epoch = 1
    assert snapshot(there.state) == snapshot(fresh)


# -- Tokens


def test_a_token_is_revoked():
    there = room().when(RevokeToken("t1")).then(Fact("t1", TokenRevoked(token="t1"), "t1"))
    there.when(RevokeToken("t1")).then_nothing()


def test_a_used_token_stays_used_when_it_is_revoked():
    room_with(1).when(RevokeToken("t1")).then_nothing()


def test_an_expired_token_need_not_be_revoked():
    room().when(RevokeToken("t1"), now=START + timedelta(seconds=180)).then_nothing()


def test_an_unknown_token_cannot_be_revoked():
    room().when(RevokeToken("t9")).then_refused(Code.INVALID_TOKEN)


# -- The controller


def test_each_take_over_gets_the_next_epoch():
    there = scenario(ROOM).given(created())
    there.when(TakeOverController("w1", "n1")).then(taken_over()).then_answer(Controller("w1", "n1", 1))
    there.when(TakeOverController("w1", "n2")).then(taken_over("n2", 2))
    there.when(TakeOverController("w1", "n1")).then(taken_over("n1", 3))


def test_a_take_over_leaves_everybody_in():
    there = room_with(1, 2).when(TakeOverController("w1", "n2"))
    assert list(there.state.participants) == ["p1", "p2"]


def test_epochs_go_on_after_the_room_was_deleted():
    there = room().given(RoomDeleted(room="r1"), created(generation=2))
    there.when(TakeOverController("w1", "n1")).then(taken_over("n1", 2))


def test_an_empty_room_is_released_by_its_controller():
    there = room().when(ReleaseController("n1"))
    there.then(Fact("r1", ControllerReleased(room="r1", node="n1", epoch=1))).then_answer(answer=True)
    assert there.state.controller is None


def test_a_room_with_somebody_in_it_is_not_released():
    room_with(1).when(ReleaseController("n1")).then_nothing().then_answer(answer=False)


def test_another_node_releases_nothing():
    room().when(ReleaseController("n2")).then_nothing()


def test_the_controller_of_an_empty_room_is_released_after_30_seconds():
    there = room()
    assert there.deadline == START + timedelta(seconds=30)
    assert there.due(START + timedelta(seconds=29)) == []
    assert there.due(START + timedelta(seconds=30)) == [ReleaseController("n1")]


def test_the_time_of_an_empty_room_begins_when_the_last_one_leaves():
    there = room_with(1)
    assert there.deadline is None
    there.when(Leave("p1", "logout"), now=START + MINUTE)
    assert there.deadline == START + MINUTE + timedelta(seconds=30)


def test_a_room_that_no_node_runs_has_nothing_to_release():
    assert scenario(ROOM).given(created()).deadline is None


def test_how_long_an_empty_room_keeps_its_controller_is_a_setting():
    there = scenario(room_decider(timedelta(seconds=5))).given(created(), taken_over())
    assert there.deadline == START + timedelta(seconds=5)


# -- Leaving


@pytest.mark.parametrize("reason", ["logout", "disconnected", "not_back"])
def test_somebody_leaves(reason: str):
    there = room_with(1, 2).when(Leave("p1", reason)).then(left(reason)).then_answer(answer=True)
    assert list(there.state.participants) == ["p2"]


def test_who_is_not_in_leaves_without_effect():
    room().when(Leave("p1", "logout")).then_nothing().then_answer(answer=False)
    room().when(Drop("p1")).then_nothing().then_answer(answer=False)


def test_a_portal_that_the_session_has_left_lets_nobody_out():
    there = room_with(1).given(ParticipantBack(participant="p1", portal="portal-2"))
    there.when(Leave("p1", "disconnected", portal="portal-1")).then_nothing()
    there.when(Leave("p1", "disconnected", portal="portal-2")).then(left("disconnected"))


def test_nobody_leaves_for_a_reason_that_is_none():
    room_with(1).when(Leave("p1", "because")).then_refused(Code.INVALID_ARGUMENT)


def test_somebody_is_dropped_with_a_message():
    there = room_with(1).when(Drop("p1", "Be kind"))
    there.then(left("dropped", message="Be kind")).then_answer(answer=True)


def test_a_message_that_is_too_long_drops_nobody():
    room_with(1).when(Drop("p1", "x" * 1025)).then_refused(Code.INVALID_ARGUMENT)


# -- Away and back


def test_a_lost_connection_starts_the_grace():
    away = ParticipantAway(participant="p1", portal="portal-1", back_by=START + MINUTE)
    there = room_with(1).when(LoseConnection("p1", "portal-1")).then(Fact("p1", away, "t1"))
    assert there.deadline == START + MINUTE
    there.when(LoseConnection("p1", "portal-1"), now=START + timedelta(seconds=1)).then_nothing()


def test_who_is_away_keeps_the_seat():
    there = room_with(1, limit=1).when(LoseConnection("p1", "portal-1"))
    there.when(join(2))
    assert there.decision.refusal is not None
    assert there.decision.refusal.code is Code.ROOM_FULL


def test_who_is_not_back_in_time_leaves():
    there = room_with(1).when(LoseConnection("p1", "portal-1", grace_ms=5_000))
    in_time = START + timedelta(seconds=5)
    assert there.due(in_time - timedelta(microseconds=1)) == []
    assert there.due(in_time) == [EndAbsence("p1")]
    there.when(EndAbsence("p1"), now=in_time).then(left("not_back"))


def test_the_grace_survives_a_take_over_with_the_time_that_is_left():
    there = room_with(1).when(LoseConnection("p1", "portal-1"))
    there.when(TakeOverController("w2", "n2"), now=START + timedelta(seconds=59))
    assert there.deadline == START + MINUTE


@pytest.mark.parametrize("portal", ["portal-1", "portal-2"])
def test_somebody_comes_back_to_the_same_portal_or_to_another(portal: str):
    there = room_with(1).when(LoseConnection("p1", "portal-1")).when(Return("p1", portal))
    there.then(Fact("p1", ParticipantBack(participant="p1", portal=portal, epoch=2), "t1"))
    assert there.decision.answer.portal == portal
    assert not there.decision.answer.away
    assert there.deadline is None
    assert there.decision.answer == there.state.participants["p1"]


def test_who_came_back_is_not_thrown_out_by_a_timer_that_was_late():
    there = room_with(1).when(LoseConnection("p1", "portal-1")).when(Return("p1", "portal-1"))
    there.when(EndAbsence("p1"), now=START + MINUTE).then_nothing()


def test_who_is_away_again_has_the_full_grace_again():
    there = room_with(1).when(LoseConnection("p1", "portal-1")).when(Return("p1", "portal-1"))
    there.when(LoseConnection("p1", "portal-1"), now=START + timedelta(seconds=59))
    there.when(EndAbsence("p1"), now=START + MINUTE).then_nothing()
    assert there.deadline == START + MINUTE + timedelta(seconds=59)


def test_a_session_can_be_taken_over_by_another_portal_while_it_is_connected():
    there = room_with(1).when(Return("p1", "portal-2"))
    there.then(ParticipantBack(participant="p1", portal="portal-2", epoch=2))
    there.when(LoseConnection("p1", "portal-1")).then_nothing()


def test_who_is_connected_already_comes_back_without_effect():
    room_with(1).when(Return("p1", "portal-1")).then_nothing()


def test_who_has_left_cannot_come_back():
    room().when(Return("p1", "portal-1")).then_refused(Code.NO_SUCH_PARTICIPANT)
    room().when(LoseConnection("p1", "portal-1")).then_nothing()


@pytest.mark.parametrize("grace_ms", [0, -1, 24 * 60 * 60 * 1000 + 1])
def test_a_grace_out_of_bounds_is_refused(grace_ms: int):
    room_with(1).when(LoseConnection("p1", "portal-1", grace_ms)).then_refused(Code.INVALID_ARGUMENT)


def test_absences_end_in_the_order_of_their_deadlines_a_hundred_at_a_time():
    def back_by(number: int) -> datetime:
        return START + timedelta(milliseconds=number * 7 % 150)

    there = room_with(*range(150), tokens=150)
    for each in range(150):
        there.given(ParticipantAway(participant=f"p{each}", portal="portal-1", back_by=back_by(each)))
    due = there.due(START + MINUTE)
    assert due == [EndAbsence(f"p{each}") for each in sorted(range(150), key=back_by)][:MAX_DUE]
    there.given(*(ParticipantLeft(participant=f"p{each}", reason="not_back") for each in range(100)))
    assert len(there.due(START + MINUTE)) == 50


# -- A portal that is gone

EVERYBODY = ("p1", "p2", "p3")


def at(portal: str, incarnation: str, number: int = 1) -> ParticipantBack:
    """Participant p1, and so on, is at a run of a portal."""
    return ParticipantBack(participant=f"p{number}", portal=portal, incarnation=incarnation, epoch=2)


def lost(number: int = 1) -> ParticipantAway:
    return ParticipantAway(participant=f"p{number}", portal="portal-1", back_by=START + MINUTE)


def test_whoever_was_at_a_run_of_a_portal_that_is_over_is_away():
    there = room_with(1, 2, 3).given(at("portal-1", "run-1"), at("portal-2", "run-1", 2))
    there.when(LosePortal("portal-1", None, EVERYBODY)).then(Fact("p1", lost(), "t1"))


def test_whoever_is_at_the_run_of_a_portal_that_goes_on_stays():
    there = room_with(1, 2).given(at("portal-1", "run-1"), at("portal-1", "run-2", 2))
    there.when(LosePortal("portal-1", "run-2", EVERYBODY)).then(lost())


def test_whoever_named_no_run_of_the_portal_does_not_end_with_it():
    room_with(1).when(LosePortal("portal-1", None, EVERYBODY)).then_nothing()


def test_a_portal_is_lost_once_only():
    there = room_with(1).given(at("portal-1", "run-1")).when(LosePortal("portal-1", None, EVERYBODY))
    there.when(LosePortal("portal-1", None, EVERYBODY), now=START + timedelta(seconds=1)).then_nothing()


def test_no_more_are_lost_with_a_portal_at_once_than_go_into_a_commit():
    many = tuple(f"p{each}" for each in range(MAX_LOST + 1))
    room_with(1).when(LosePortal("portal-1", None, many)).then_refused(Code.INVALID_ARGUMENT)


def test_who_does_not_come_back_from_a_portal_that_is_gone_leaves():
    there = room_with(1).given(at("portal-1", "run-1")).when(LosePortal("portal-1", None, EVERYBODY))
    assert there.due(START + MINUTE) == [EndAbsence("p1")]


def test_the_grace_for_a_portal_that_is_gone_has_its_limits():
    room_with(1).when(LosePortal("portal-1", None, EVERYBODY, 0)).then_refused(Code.INVALID_ARGUMENT)


def test_a_return_to_another_run_of_the_same_portal_is_one():
    there = room_with(1).given(at("portal-1", "run-1")).when(Return("p1", "portal-1", "run-2"))
    back = ParticipantBack(participant="p1", portal="portal-1", incarnation="run-2", epoch=3)
    there.then(Fact("p1", back, "t1"))


def test_the_loss_of_a_connection_that_was_followed_by_another_has_no_effect():
    there = room_with(1).given(at("portal-1", "run-1"))
    there.when(LoseConnection("p1", "portal-1", epoch=1)).then_nothing()
    there.when(LoseConnection("p1", "portal-1", epoch=2)).then(lost())


def test_it_is_told_how_far_the_lost_connection_had_come():
    there = room_with(1).when(LoseConnection("p1", "portal-1", told="7.1"))
    there.then(ParticipantAway(participant="p1", portal="portal-1", back_by=START + MINUTE, told="7.1"))


# -- Permissions and texts


def test_a_permission_is_changed():
    fact = Fact("p1", PermissionChanged(participant="p1", permission=VIEWER), "t1")
    there = room_with(1).when(SetPermission("p1", VIEWER)).then(fact)
    assert there.decision.answer == there.state.participants["p1"]
    assert there.decision.answer.permission == VIEWER
    there.when(SetPermission("p1", VIEWER)).then_nothing()


def test_a_permission_as_it_is_changes_nothing():
    room_with(1).when(SetPermission("p1", PRESENTER)).then_nothing()


def test_a_part_of_a_permission_is_changed_and_the_rest_stays():
    change = PermissionChange(publish=MediaChange(audio=False))
    there = room_with(1).when(SetPermission("p1", change))
    publish = Media(audio=False, video=PRESENTER.publish.video)
    permission = Permission(publish=publish, subscribe=PRESENTER.subscribe)
    there.then(Fact("p1", PermissionChanged(participant="p1", permission=permission), "t1"))
    there.when(SetPermission("p1", change)).then_nothing()


def test_the_same_join_again_is_answered_with_the_changed_permission():
    there = room_with(1).when(SetPermission("p1", VIEWER)).when(join(1)).then_nothing()
    assert there.decision.answer.shown().permission == VIEWER


@pytest.mark.parametrize("to", ["all", "p2", "p1"])
def test_a_text_goes_to_all_or_to_one(to: str):
    text = Fact("p1", TextSent(sender="p1", to=to, message="hello"), "t1")
    room_with(1, 2).when(SendText("p1", to, "hello")).then(text)


def test_nobody_can_talk_who_is_not_in_or_to_somebody_who_is_not():
    room_with(1).when(SendText("p2", "all", "hello")).then_refused(Code.NO_SUCH_PARTICIPANT)
    room_with(1).when(SendText("p1", "p2", "hello")).then_refused(Code.NO_SUCH_PARTICIPANT)
    room_with(1).when(SetPermission("p2", VIEWER)).then_refused(Code.NO_SUCH_PARTICIPANT)


def test_a_text_that_is_too_long_is_refused():
    room_with(1).when(SendText("p1", "all", "x" * 65_537)).then_refused(Code.INVALID_ARGUMENT)


def test_a_room_that_was_rebuilt_from_its_events_is_the_same():
    there = room_with(1, 2).when(LoseConnection("p1", "portal-1")).when(SetPermission("p2", VIEWER))
    there.given(issued("t9"), joined(3)).when(Drop("p2"))
    again = RoomState()
    for event in there.events:
        again = ROOM.evolve(again, event)
    assert snapshot(again) == snapshot(there.state)
