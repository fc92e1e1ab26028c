"""The rules of a session: what follows from what, in every state."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roomledger.domain import ticket as tickets
from roomledger.domain.errors import Code, Refusal
from roomledger.domain.signed_token import Claims, sign
from roomledger.domain.ticket import Ticket
from roomledger.processes.portal.notifications import Moved, News, Permitted, Presence, RoomClosed, Said
from roomledger.processes.portal.recollection import Told
from roomledger.processes.portal.session import TRANSITIONS, Here, Input, Session, State
from roomledger.processes.portal.session_effects import (
    Answer,
    Close,
    CloseCode,
    ComeBack,
    Depart,
    Effect,
    Follow,
    Holding,
    Join,
    LayDown,
    ListParticipants,
    Login,
    Logout,
    Lose,
    Notify,
    Participants,
    PickUp,
    Problem,
    Refreshed,
    RefreshTicket,
    Refuse,
    Relogin,
    Resume,
    Resumption,
    Returned,
    Right,
    Say,
    SendText,
    Sent,
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
HERE = Here("portal-1", "run-1")
RIGHT = Right("t1", "c1", "r1")
TICKET = Ticket(
    participant="me",
    ticket="k1",
    not_before=0,
    not_after=1,
    room="r1",
    token="t1",
    code="c1",
    epoch=1,
    joined="5.0",
    told="7.0",
    count=3,
    protocol="1.2",
)
TICKET_TEXT = tickets.sign(b"k" * 32, TICKET)
RETURNED = Returned(epoch=2, seq=Address(20), since=Address(8), had=3, missed=(), number=4)
FULL = Refusal(Code.ROOM_FULL, "full")
FAILED = Close(CloseCode.POLICY, "the login failed")


def begun() -> Session:
    return Session("me", HERE)


def connecting(*, reconnect: bool = False, protocol: str = "native") -> Session:
    session = begun()
    session.asked(1, Login(TOKEN, reconnect, protocol))
    return session


def connected(*, reconnect: bool = False, protocol: str = "native") -> Session:
    session = connecting(reconnect=reconnect, protocol=protocol)
    session.joined(JOINED)
    return session


def waiting() -> Session:
    session = connected(reconnect=True)
    session.lost()
    return session


def returning() -> Session:
    session = Session("new", HERE)
    session.asked(1, Relogin(TICKET_TEXT))
    return session


def returned() -> Session:
    session = returning()
    session.resumed(RETURNED)
    return session


def text(message: str, sequence: int, to: str = "all") -> News:
    return News(Said(sender="p2", to=to, message=message, address=Address(sequence)))


def moved(*, away: bool, portal: str = "portal-1", run: str = "run-1", epoch: int = 2) -> News:
    return News(
        Moved(
            participant="me",
            away=away,
            portal=portal,
            incarnation="" if away else run,
            epoch=0 if away else epoch,
            address=Address(9),
        )
    )


def left(who: ParticipantView, reason: str = "dropped", message: str | None = None) -> News:
    address = Address(9)
    return News(Presence(action="leave", participant=who, reason=reason, message=message, address=address))


def codes(effects: list[Effect]) -> list[str]:
    return [effect.problem.code for effect in effects if isinstance(effect, Refuse)]


def test_a_login_asks_the_room() -> None:
    session = begun()
    (join,) = session.asked(1, Login(TOKEN))
    assert isinstance(join, Join)
    assert (join.claims, session.state) == (CLAIMS, State.CONNECTING)


def test_who_is_let_in_is_answered_before_the_room_is_followed() -> None:
    session = connecting()
    assert session.joined(JOINED) == [Answer(1, JOINED), PickUp(), Follow(Address(5))]
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
    assert refused[-1] == Depart("disconnected", lay_down=False)


@pytest.mark.parametrize("token", ["", "x", TOKEN[:-4], "ä" * 10, "A" * 10_000])
def test_a_token_that_cannot_be_read_is_a_failed_login(token: str) -> None:
    session = begun()
    effects = session.asked(1, Login(token))
    assert codes(effects) == ["invalid_token"]
    assert effects[-1] == FAILED


def test_a_login_that_the_gateway_could_not_read_is_a_failed_one() -> None:
    session = begun()
    assert session.unfit() == [FAILED]
    assert session.state is State.LEFT


def test_an_unreadable_login_of_who_is_in_changes_nothing() -> None:
    session = connected()
    assert session.unfit() == []
    assert session.state is State.CONNECTED


@pytest.mark.parametrize("session", [connecting(), connected()])
def test_a_second_login_is_refused_and_changes_nothing(session: Session) -> None:
    before = session.state
    assert codes(session.asked(2, Login(TOKEN))) == ["already_logged_in"]
    assert session.state is before


@pytest.mark.parametrize("session", [begun(), connecting()])
@pytest.mark.parametrize("request_", [Logout(), Participants()])
def test_everything_but_a_login_is_refused_before_one_is_in(
    session: Session, request_: Logout | Participants
) -> None:
    assert session.asked(2, request_) == [Refuse(2, Problem("not_logged_in", "log in first"))]


def test_a_logout_is_answered_then_the_room_is_left_then_the_connection_is_closed() -> None:
    session = connected()
    assert session.asked(2, Logout()) == [
        Answer(2, None),
        Depart("logout"),
        Close(CloseCode.LOGOUT, "logged out"),
    ]
    assert session.state is State.LEFT


def test_the_loss_of_the_connection_is_a_leave() -> None:
    assert connected().lost() == [Depart("disconnected")]


def test_who_hangs_up_while_being_let_in_leaves_once_it_is_in() -> None:
    session = connecting()
    assert session.lost() == []
    assert session.joined(JOINED) == [Depart("disconnected")]


def test_who_hangs_up_while_being_refused_leaves_only_if_it_may_be_in() -> None:
    gone = connecting()
    gone.lost()
    assert gone.refused(FULL, unsure=False) == []
    perhaps = connecting()
    perhaps.lost()
    assert perhaps.refused(FULL, unsure=True) == [Depart("disconnected", lay_down=False)]


def test_a_connection_that_does_not_log_in_in_time_is_closed() -> None:
    assert begun().too_late() == [Close(CloseCode.POLICY, "no login in time")]


@pytest.mark.parametrize("session", [connecting(), connected()])
def test_the_time_for_a_login_means_nothing_to_who_has_asked_for_one(session: Session) -> None:
    before = session.state
    assert session.too_late() == []
    assert session.state is before


def test_what_others_do_is_told() -> None:
    news = left(OTHER)
    assert connected().told(news) == [Notify(Told(1, news))]


def test_ones_own_join_is_not_told() -> None:
    assert connected().told(News(Presence(action="join", participant=ME, address=Address(5)))) == []


def test_who_is_dropped_is_told_what_was_said_and_is_out_without_leaving_again() -> None:
    session = connected()
    assert session.told(left(ME, message="be gone")) == [
        TellDropped("be gone"),
        Close(CloseCode.DROPPED, "be gone"),
        LayDown(),
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
    assert session.asked(3, Participants()) == [ListParticipants(3)]
    assert session.answered(3, (ME, OTHER)) == [Answer(3, (ME, OTHER))]
    assert codes(session.answered(4, Refusal(Code.NOT_READY, "no"))) == ["not_ready"]


def test_the_portal_may_end_a_connection() -> None:
    assert connected().ended(CloseCode.RESTART, "stops") == [
        Depart("disconnected"),
        Close(CloseCode.RESTART, "stops"),
    ]
    assert begun().ended(CloseCode.RESTART, "stops") == [Close(CloseCode.RESTART, "stops")]


def test_who_has_left_gets_and_hears_nothing_any_more() -> None:
    session = connected()
    session.asked(2, Logout())
    assert session.asked(3, Login(TOKEN)) == []
    assert session.told(left(OTHER)) == []
    assert session.answered(3, ()) == []
    assert session.lost() == []
    assert session.too_late() == []
    assert session.ended(CloseCode.RESTART, "stops") == []


# -- Texts


def test_a_text_is_passed_on_and_answered_with_where_it_stands() -> None:
    session = connected()
    assert session.asked(3, SendText("all", "hello")) == [Say(3, "all", "hello")]
    assert session.answered(3, Sent("9.0")) == [Answer(3, Sent("9.0"))]


def test_texts_to_all_and_to_oneself_are_told_and_those_to_others_are_not() -> None:
    session = connected()
    assert len(session.told(text("to all", 6))) == 1
    assert len(session.told(text("to me", 7, "me"))) == 1
    assert session.told(text("to another", 8, "p3")) == []


def test_a_changed_permission_is_told_to_the_one_whose_it_is_and_does_not_count() -> None:
    session = connected()
    mine = News(Permitted(participant="me", permission=Permission(), address=Address(6)))
    anothers = News(Permitted(participant="p2", permission=Permission(), address=Address(6)))
    assert session.told(mine) == [Notify(Told(0, mine))]
    assert session.told(anothers) == []


# -- Tickets


def test_who_may_come_back_gets_a_ticket_with_the_login() -> None:
    holding = Holding(RIGHT, "me", 1, Address(5), Address(5), 0, "1.2")
    answer = connecting(reconnect=True, protocol="1.2").joined(JOINED)[0]
    assert answer == Answer(1, JOINED, holding)


def test_a_later_ticket_says_how_far_the_client_has_been_told_by_then() -> None:
    session = connected(reconnect=True)
    session.told(text("one", 6))
    session.told(text("two", 7))
    (answer,) = session.asked(2, RefreshTicket())
    assert answer == Answer(2, Refreshed(), Holding(RIGHT, "me", 1, Address(5), Address(7), 2, "native"))


def test_who_may_not_come_back_gets_no_ticket() -> None:
    session = connected()
    assert codes(session.asked(2, RefreshTicket())) == ["invalid_ticket"]


# -- Losing the connection


@pytest.mark.parametrize("code", [None, CloseCode.RESTART])
def test_the_session_of_who_may_come_back_waits(code: CloseCode | None) -> None:
    session = connected(reconnect=True)
    session.told(text("one", 6))
    effects = session.lost() if code is None else session.ended(code, "stops")
    assert effects[0] == Lose(1, Address(6))
    assert session.state is State.WAITING


def test_who_waits_gets_and_asks_nothing() -> None:
    session = waiting()
    assert session.told(text("one", 6)) == []
    assert session.asked(2, Logout()) == []
    assert session.lost() == []
    assert session.ended(CloseCode.RESTART, "stops") == []


def test_who_waits_and_is_out_leaves_the_task_behind() -> None:
    session = waiting()
    assert session.told(left(ME, reason="not_back")) == [LayDown()]
    assert session.state is State.LEFT


def test_a_client_that_says_nothing_of_what_it_got_is_known_to_have_what_was_sent_before_a_ping() -> None:
    session = connected(reconnect=True, protocol="1.2")
    session.told(text("one", 6))
    session.pinged()
    session.told(text("two", 7))
    session.ponged()
    session.told(text("three", 8))
    assert session.lost() == [Lose(1, Address(6))]


def test_a_client_that_was_never_pinged_is_known_to_have_nothing_but_the_answer() -> None:
    session = connected(reconnect=True, protocol="legacy")
    session.told(text("one", 6))
    assert session.lost() == [Lose(1, Address(5))]


# -- Coming back


def test_a_relogin_asks_the_room_of_the_ticket() -> None:
    session = Session("new", HERE)
    (resume,) = session.asked(1, Relogin(TICKET_TEXT, Address(9)))
    assert isinstance(resume, Resume)
    assert (resume.ticket, resume.after) == (TICKET, Address(9))
    assert (session.participant, session.right) == ("me", RIGHT)


def test_who_is_taken_back_gets_what_was_missed_and_another_ticket() -> None:
    holding = Holding(RIGHT, "me", 2, Address(5), Address(8), 3, "1.2")
    assert returning().resumed(RETURNED) == [
        Answer(1, Resumption("me", "1.2", Address(20), ()), holding),
        PickUp(),
        Follow(Address(20)),
    ]


def test_notifications_are_numbered_on_from_those_that_were_missed() -> None:
    news = text("more", 21)
    assert returned().told(news) == [Notify(Told(5, news))]


def test_what_was_missed_counts_as_got_only_when_a_ping_was_answered() -> None:
    session = returned()
    assert session.surely_told_to == Address(8)
    session.pinged()
    session.ponged()
    assert session.surely_told_to == Address(20)


@pytest.mark.parametrize("ticket", ["", "x", TICKET_TEXT[:-4], "A" * 10_000])
def test_a_ticket_that_cannot_be_read_is_a_failed_login(ticket: str) -> None:
    effects = begun().asked(1, Relogin(ticket))
    assert codes(effects) == ["invalid_ticket"]
    assert effects[-1] == FAILED


def test_a_relogin_that_is_refused_ends_the_connection_and_nothing_else() -> None:
    over = Refusal(Code.SESSION_ENDED, "over")
    assert returning().refused(over, unsure=False) == [Refuse(1, Problem("session_ended", "over")), FAILED]


def test_who_may_be_back_although_the_room_did_not_say_so_is_lost_again() -> None:
    refused = returning().refused(Refusal(Code.NOT_READY, "no answer"), unsure=True)
    assert refused[-1] == Lose(None, None)


def test_who_hangs_up_while_being_taken_back_is_lost_again() -> None:
    session = returning()
    assert session.lost() == []
    assert session.resumed(RETURNED) == [Lose(2, Address(8))]


def test_a_relogin_of_who_is_in_is_refused_and_changes_nothing() -> None:
    session = connected()
    assert codes(session.asked(2, Relogin(TICKET_TEXT))) == ["already_logged_in"]
    assert session.state is State.CONNECTED


# -- Being taken over


def test_the_connection_is_closed_when_another_one_here_has_the_session() -> None:
    session = connected(reconnect=True)
    assert session.taken_over() == [Close(CloseCode.TAKEN_OVER, "a newer connection has the session")]
    assert session.state is State.LEFT


def test_the_connection_is_closed_and_the_task_laid_down_when_another_portal_has_the_session() -> None:
    session = connected(reconnect=True)
    close, lay_down = session.told(moved(away=False, portal="portal-2"))
    assert isinstance(close, Close)
    assert (close.code, lay_down) == (CloseCode.TAKEN_OVER, LayDown())


def test_who_waits_and_is_taken_over_has_no_connection_to_close() -> None:
    assert waiting().taken_over() == []
    assert waiting().told(moved(away=False, portal="portal-2")) == [LayDown()]


def test_another_run_of_this_portal_is_another_portal() -> None:
    assert LayDown() in connected(reconnect=True).told(moved(away=False, run="run-2"))


# -- Being found away by mistake


def test_who_is_found_away_although_the_connection_is_there_says_so() -> None:
    session = connected(reconnect=True)
    assert session.told(moved(away=True)) == [ComeBack()]
    assert session.is_back(2) == []
    assert session.lost() == [Lose(2, Address(5))]


def test_whose_connection_is_lost_while_it_says_that_it_is_there_is_lost_again() -> None:
    session = connected(reconnect=True)
    session.told(moved(away=True))
    session.lost()
    assert session.is_back(2) == [Lose(2, Address(5))]


def test_what_became_of_others_and_of_a_connection_elsewhere_is_no_concern() -> None:
    session = connected(reconnect=True)
    other = Moved(participant="p2", away=False, portal="portal-2", address=Address(9))
    assert session.told(News(other)) == []
    assert session.told(moved(away=True, portal="portal-0")) == []


# -- Whatever happens


STEPS = {
    "login": lambda session: session.asked(1, Login(TOKEN)),
    "bad login": lambda session: session.asked(1, Login("x")),
    "unfit": lambda session: session.unfit(),
    "logout": lambda session: session.asked(2, Logout()),
    "question": lambda session: session.asked(3, Participants()),
    "answer": lambda session: session.answered(3, ()),
    "lost": lambda session: session.lost(),
    "late": lambda session: session.too_late(),
    "stop": lambda session: session.ended(CloseCode.RESTART, "stops"),
    "news": lambda session: session.told(left(OTHER)),
    "dropped": lambda session: session.told(left(ME)),
    "closed": lambda session: session.told(News(RoomClosed(address=Address(9)))),
    "joined": lambda session: session.joined(JOINED),
    "refused": lambda session: session.refused(FULL, unsure=False),
    "unsure": lambda session: session.refused(FULL, unsure=True),
    "taken over": lambda session: session.taken_over(),
    "elsewhere": lambda session: session.told(moved(away=False, portal="portal-2")),
}
OUTCOMES = {"joined", "refused", "unsure"}


@given(st.lists(st.sampled_from(sorted(STEPS)), max_size=20))
def test_whatever_happens_nobody_stays_behind_and_nobody_is_closed_twice(steps: list[str]) -> None:
    session = begun()
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
    departures = [effect for effect in effects if isinstance(effect, Depart | LayDown)]
    assert asked <= 1
    assert len(closes) <= 1
    taken_over = session.state is State.LEFT and not departures
    assert len(departures) <= 1
    assert taken_over or len(departures) == (1 if maybe_in and session.state is State.LEFT else 0)
    assert session.state is State.LEFT or not closes


def test_every_input_is_in_the_table() -> None:
    assert {each for row in TRANSITIONS.values() for each in row} == set(Input)
    assert set(TRANSITIONS) == set(State)
