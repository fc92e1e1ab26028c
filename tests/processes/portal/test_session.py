"""The rules of a session: what follows from what, in every state."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roomledger.domain.errors import Code, Refusal
from roomledger.domain.signed_token import Claims, sign
from roomledger.processes.portal.notifications import News, Presence, RoomClosed
from roomledger.processes.portal.session import TRANSITIONS, Input, Session, State
from roomledger.processes.portal.session_effects import (
    Answer,
    Close,
    CloseCode,
    Depart,
    Effect,
    Follow,
    Join,
    ListParticipants,
    Login,
    Logout,
    Notify,
    Participants,
    PickUp,
    Problem,
    Refuse,
    TellDropped,
)
from roomledger.sdk.rooms import JoinedRoom, ParticipantView, RoomView
from roomledger_events.envelope import Address
from roomledger_events.rooms import Permission

CLAIMS = Claims(token="t1", host="h:1", secure=False, room="r1", code="c1", url="ws://h:1/")
TOKEN = sign(b"k" * 32, CLAIMS)
ME = ParticipantView(id="me", user="ann", role="viewer")
OTHER = ParticipantView(id="p2", user="bob", role="viewer")
JOINED = JoinedRoom(
    id="me",
    user="ann",
    role="viewer",
    permission=Permission(),
    room=RoomView(id="r1", name="Room", views=(), participants=(ME,)),
    seq="5.0",
)
FULL = Refusal(Code.ROOM_FULL, "full")
FAILED = Close(CloseCode.POLICY, "the login failed")


def connecting() -> Session:
    session = Session("me")
    session.asked(1, Login(TOKEN))
    return session


def connected() -> Session:
    session = connecting()
    session.joined(JOINED)
    return session


def left(who: ParticipantView, reason: str = "dropped", message: str | None = None) -> News:
    address = Address(9)
    return News(Presence(action="leave", participant=who, reason=reason, message=message, address=address))


def codes(effects: list[Effect]) -> list[str]:
    return [effect.problem.code for effect in effects if isinstance(effect, Refuse)]


def test_a_login_asks_the_room() -> None:
    session = Session("me")
    (join,) = session.asked(1, Login(TOKEN))
    assert isinstance(join, Join)
    assert (join.claims, session.state) == (CLAIMS, State.CONNECTING)


def test_who_is_let_in_is_answered_before_the_room_is_followed() -> None:
    session = connecting()
    assert session.joined(JOINED) == [Answer(1, JOINED), Follow(JOINED), PickUp(CLAIMS)]
    assert session.state is State.CONNECTED


def test_who_is_not_let_in_is_told_why_and_the_connection_is_closed() -> None:
    session = connecting()
    assert session.refused(FULL, unsure=False) == [Refuse(1, Problem("room_full", "full")), FAILED]
    assert session.state is State.LEFT


def test_a_problem_that_may_go_away_says_when_to_ask_again() -> None:
    refused = connecting().refused(Refusal(Code.LOG_UNAVAILABLE, "not now"), unsure=False)
    assert refused[0] == Refuse(1, Problem("log_unavailable", "not now", 500))


def test_who_may_be_in_although_the_room_did_not_say_so_leaves_and_the_token_stays_with_the_portal() -> None:
    refused = connecting().refused(Refusal(Code.NOT_READY, "no answer"), unsure=True)
    assert refused[-1] == Depart(CLAIMS, "disconnected", lay_down=False)


@pytest.mark.parametrize("token", ["", "x", TOKEN[:-4], "ä" * 10, "A" * 10_000])
def test_a_token_that_cannot_be_read_is_a_failed_login(token: str) -> None:
    session = Session("me")
    effects = session.asked(1, Login(token))
    assert codes(effects) == ["invalid_token"]
    assert effects[-1] == FAILED


def test_a_login_that_the_gateway_could_not_read_is_a_failed_one() -> None:
    session = Session("me")
    assert session.login_unfit() == [FAILED]
    assert session.state is State.LEFT


def test_an_unreadable_login_of_who_is_in_changes_nothing() -> None:
    session = connected()
    assert session.login_unfit() == []
    assert session.state is State.CONNECTED


@pytest.mark.parametrize("session", [connecting(), connected()])
def test_a_second_login_is_refused_and_changes_nothing(session: Session) -> None:
    before = session.state
    assert codes(session.asked(2, Login(TOKEN))) == ["already_logged_in"]
    assert session.state is before


@pytest.mark.parametrize("session", [Session("me"), connecting()])
@pytest.mark.parametrize("request_", [Logout(), Participants()])
def test_everything_but_a_login_is_refused_before_one_is_in(
    session: Session, request_: Logout | Participants
) -> None:
    assert session.asked(2, request_) == [Refuse(2, Problem("not_logged_in", "log in first"))]


def test_a_logout_is_answered_then_the_room_is_left_then_the_connection_is_closed() -> None:
    session = connected()
    assert session.asked(2, Logout()) == [
        Answer(2, None),
        Depart(CLAIMS, "logout"),
        Close(CloseCode.LOGOUT, "logged out"),
    ]
    assert session.state is State.LEFT


def test_the_loss_of_the_connection_is_a_leave() -> None:
    assert connected().lost() == [Depart(CLAIMS, "disconnected")]


def test_who_hangs_up_while_being_let_in_leaves_once_it_is_in() -> None:
    session = connecting()
    assert session.lost() == []
    assert session.joined(JOINED) == [Depart(CLAIMS, "disconnected")]


def test_who_hangs_up_while_being_refused_leaves_only_if_it_may_be_in() -> None:
    gone = connecting()
    gone.lost()
    assert gone.refused(FULL, unsure=False) == []
    perhaps = connecting()
    perhaps.lost()
    assert perhaps.refused(FULL, unsure=True) == [Depart(CLAIMS, "disconnected", lay_down=False)]


def test_a_connection_that_does_not_log_in_in_time_is_closed() -> None:
    assert Session("me").too_late() == [Close(CloseCode.POLICY, "no login in time")]


@pytest.mark.parametrize("session", [connecting(), connected()])
def test_the_time_for_a_login_means_nothing_to_who_has_asked_for_one(session: Session) -> None:
    before = session.state
    assert session.too_late() == []
    assert session.state is before


def test_what_others_do_is_told() -> None:
    news = left(OTHER)
    assert connected().told(news) == [Notify(news)]


def test_ones_own_join_is_not_told() -> None:
    assert connected().told(News(Presence(action="join", participant=ME, address=Address(5)))) == []


def test_who_is_dropped_is_told_what_was_said_and_is_out_without_leaving_again() -> None:
    session = connected()
    assert session.told(left(ME, message="be gone")) == [
        TellDropped("be gone"),
        Close(CloseCode.DROPPED, "be gone"),
        Depart(CLAIMS, None),
    ]
    assert session.state is State.LEFT


def test_a_drop_without_a_word_gives_the_reason() -> None:
    assert connected().told(left(ME))[0] == TellDropped("dropped")


def test_the_reason_of_a_close_fits_into_its_frame() -> None:
    close = connected().told(left(ME, message="ä" * 1000))[1]
    assert isinstance(close, Close)
    assert len(close.reason.encode()) <= 123


def test_everybody_is_out_of_a_room_that_is_deleted() -> None:
    told = connected().told(News(RoomClosed(address=Address(9))))
    assert told[:2] == [TellDropped("room_deleted"), Close(CloseCode.DROPPED, "room_deleted")]


def test_a_question_is_passed_on_and_its_answer_handed_back() -> None:
    session = connected()
    assert session.asked(3, Participants()) == [ListParticipants(3, "r1")]
    assert session.listed(3, (ME, OTHER)) == [Answer(3, (ME, OTHER))]
    assert codes(session.listed(4, Refusal(Code.NOT_READY, "no"))) == ["not_ready"]


def test_the_portal_may_end_a_connection() -> None:
    assert connected().ended(CloseCode.RESTART, "stops") == [
        Depart(CLAIMS, "disconnected"),
        Close(CloseCode.RESTART, "stops"),
    ]
    assert Session("me").ended(CloseCode.RESTART, "stops") == [Close(CloseCode.RESTART, "stops")]


def test_who_has_left_gets_and_hears_nothing_any_more() -> None:
    session = connected()
    session.asked(2, Logout())
    assert session.asked(3, Login(TOKEN)) == []
    assert session.told(left(OTHER)) == []
    assert session.listed(3, ()) == []
    assert session.lost() == []
    assert session.too_late() == []
    assert session.ended(CloseCode.RESTART, "stops") == []


STEPS = {
    "login": lambda session: session.asked(1, Login(TOKEN)),
    "bad login": lambda session: session.asked(1, Login("x")),
    "unfit": lambda session: session.login_unfit(),
    "logout": lambda session: session.asked(2, Logout()),
    "question": lambda session: session.asked(3, Participants()),
    "answer": lambda session: session.listed(3, ()),
    "lost": lambda session: session.lost(),
    "late": lambda session: session.too_late(),
    "stop": lambda session: session.ended(CloseCode.RESTART, "stops"),
    "news": lambda session: session.told(left(OTHER)),
    "dropped": lambda session: session.told(left(ME)),
    "closed": lambda session: session.told(News(RoomClosed(address=Address(9)))),
    "joined": lambda session: session.joined(JOINED),
    "refused": lambda session: session.refused(FULL, unsure=False),
    "unsure": lambda session: session.refused(FULL, unsure=True),
}
OUTCOMES = {"joined", "refused", "unsure"}


@given(st.lists(st.sampled_from(sorted(STEPS)), max_size=20))
def test_whatever_happens_nobody_stays_behind_and_nobody_is_closed_twice(steps: list[str]) -> None:
    session = Session("me")
    asked = answered = 0
    effects: list[Effect] = []
    maybe_in = False
    for step in steps:
        if step in OUTCOMES:
            if asked == answered:
                continue  # an outcome comes once, of a join that was asked for
            answered += 1
            maybe_in = step != "refused"
        new = STEPS[step](session)
        asked += sum(isinstance(effect, Join) for effect in new)
        effects += new
    closes = [effect for effect in effects if isinstance(effect, Close)]
    departures = [effect for effect in effects if isinstance(effect, Depart)]
    assert asked <= 1
    assert len(closes) <= 1
    assert len(departures) == (1 if maybe_in and session.state is State.LEFT else 0)
    assert session.state is State.LEFT or not closes


def test_every_input_is_in_the_table() -> None:
    assert {each for row in TRANSITIONS.values() for each in row} == set(Input)
    assert set(TRANSITIONS) == set(State)
