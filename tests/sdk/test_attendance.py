"""A client's attendance: every state, what moves it on, and what is wanted then."""

import base64
import json
from typing import Any

import pytest

from roomledger.sdk.attendance import ATTEMPT_S, DOUBT_S, REFRESH_AGAIN_S, REFRESH_AT, Attendance, State
from roomledger.sdk.attendance_effects import (
    ConnectionBack,
    ConnectionLost,
    Deliver,
    Effect,
    Find,
    Finish,
    HangUp,
    Moment,
    Open,
    Settle,
    Write,
)
from roomledger.sdk.errors import (
    ConnectionEnded,
    PortalUnreachable,
    RequestRefused,
    ReturnFailed,
    ReturnRefused,
)
from roomledger.sdk.portal_messages import Notification

A, B = "ws://a/", "ws://b/"
LIFE_S = 600.0


def at(now: float, chance: float = 1.0) -> Moment:
    return Moment(now, chance)


def ticket(name: str = "k1", life_s: float = LIFE_S) -> str:
    text = json.dumps({"ticketId": name, "notBefore": 0, "notAfter": life_s * 1000})
    return base64.b64encode(text.encode()).decode()


def said(effects: list[Effect]) -> list[dict[str, Any]]:
    """Return what is asked."""
    return [json.loads(effect.frame) for effect in effects if isinstance(effect, Write)]


def result(question: dict[str, Any], value: object) -> str:
    return json.dumps({"jsonrpc": "2.0", "id": question["id"], "result": value})


def error(question: dict[str, Any], code: str, retry_after_ms: int | None = None) -> str:
    data = {"code": code, "retry_after_ms": retry_after_ms}
    said_ = {"code": -32000, "message": f"it is {code}", "data": data}
    return json.dumps({"jsonrpc": "2.0", "id": question["id"], "error": said_})


def text(seq: str, message: str = "hi") -> dict[str, Any]:
    return {"method": "text", "params": {"from": "p2", "to": "all", "message": message, "seq": seq}}


def delivered(effects: list[Effect]) -> list[str]:
    """Return the places in the log of the notifications that are delivered."""
    return [
        effect.told.params["seq"]
        for effect in effects
        if isinstance(effect, Deliver) and isinstance(effect.told, Notification)
    ]


LOGIN = {
    "id": "p1",
    "user": "ada",
    "role": "presenter",
    "permission": {"publish": {}, "subscribe": {}},
    "room": {"id": "r1", "name": "Room", "views": [], "participants": []},
    "seq": "5.0",
}


def connected() -> Attendance:
    attendance = Attendance(A)
    assert attendance.connect("connect") == [Open(A)]
    assert attendance.opened() == [Settle("connect", None)]
    return attendance


def inside(life_s: float = LIFE_S, patience_s: float | None = None, *, tickets: bool = True) -> Attendance:
    attendance = Attendance(A, patience_s=patience_s)
    attendance.connect("connect")
    attendance.opened()
    (question,) = said(attendance.asked("login", "login", {"token": "t"}))
    answer = LOGIN | ({"ticket": ticket(life_s=life_s)} if tickets else {})
    (settled,) = attendance.received(result(question, answer), at(0))
    assert isinstance(settled, Settle)
    assert attendance.state is State.INSIDE
    return attendance


def lost(**options: Any) -> Attendance:  # noqa: ANN401  - of `inside`
    """Return one that lost its connection at the 100th second."""
    attendance = inside(**options)
    attendance.closed(1006, "", at(100))
    assert attendance.state is State.AWAY
    return attendance


def returning(**options: Any) -> tuple[Attendance, dict[str, Any]]:  # noqa: ANN401  - as above
    """Return one that has asked for its session at the 101st second, and the question."""
    attendance = lost(**options)
    assert attendance.tick(at(101)) == [Open(A)]
    (question,) = said(attendance.opened())
    return attendance, question


def come_back(
    attendance: Attendance, question: dict[str, Any], now: float = 102, *missed: str
) -> list[Effect]:
    back = {"id": "p1", "ticket": ticket("k2"), "seq": "5.0", "missed": [text(seq) for seq in missed]}
    effects = attendance.received(result(question, back), at(now))
    assert attendance.state is State.INSIDE
    return effects


# -- Connecting for the first time


def test_a_portal_that_is_not_there_is_made_up_for_by_another_one() -> None:
    attendance = Attendance(A)
    attendance.connect("connect")
    assert attendance.unopened("refused", at(0)) == [Find()]
    assert attendance.found([A, B], at(0)) == [Open(B)]
    assert attendance.opened() == [Settle("connect", None)]
    assert attendance.url == B


def test_if_none_is_there_it_is_said_of_the_first_one() -> None:
    attendance = Attendance(A)
    attendance.connect("connect")
    attendance.unopened("refused", at(0))
    attendance.found([B], at(0))
    (settled,) = attendance.unopened("no such host", at(0))
    assert isinstance(settled, Settle)
    assert isinstance(settled.outcome, PortalUnreachable)
    assert (settled.outcome.url, settled.outcome.reason) == (A, "refused")
    assert attendance.state is State.OUTSIDE


def test_nothing_is_asked_before_there_is_a_connection() -> None:
    with pytest.raises(RuntimeError, match="not connected"):
        Attendance(A).asked("q", "participants", {})


def test_it_connects_once() -> None:
    with pytest.raises(RuntimeError, match="once"):
        connected().connect("again")


def test_a_connection_that_ends_before_the_login_is_answered_is_the_end() -> None:
    attendance = connected()
    attendance.asked("login", "login", {})
    settled, finish = attendance.closed(1012, "the portal stops", at(0))
    assert isinstance(settled, Settle)
    assert isinstance(finish, Finish)
    for failure in (settled.outcome, finish.failure):
        assert isinstance(failure, ConnectionEnded)
        assert (failure.code, failure.reason) == (1012, "the portal stops")


def test_a_refused_login_is_told_to_whoever_asked() -> None:
    attendance = connected()
    (question,) = said(attendance.asked("login", "login", {}))
    (settled,) = attendance.received(error(question, "room_full"), at(0))
    assert isinstance(settled, Settle)
    assert isinstance(settled.outcome, RequestRefused)
    assert (settled.outcome.method, settled.outcome.code) == ("login", "room_full")


# -- Inside


def test_notifications_are_handed_out_once_and_in_order() -> None:
    attendance = inside()
    seqs = ["5.0", "6.0", "6.1", "6.1", "6.0", "10.0", "9.9"]
    effects = [each for seq in seqs for each in attendance.received(json.dumps(text(seq)), at(1))]
    assert delivered(effects) == ["6.0", "6.1", "10.0"]


def test_a_notification_that_is_no_event_is_handed_out_as_it_comes() -> None:
    attendance = inside()
    frame = '{"method": "drop", "params": {"reason": "x"}}'
    assert attendance.received(frame, at(1)) == [Deliver(Notification("drop", {"reason": "x"}))]


def test_an_answer_that_nobody_waits_for_is_nothing() -> None:
    attendance = inside()
    (question,) = said(attendance.asked("q", "participants", {}))
    attendance.forget("q")
    assert attendance.received(result(question, {"participants": []}), at(1)) == []


@pytest.mark.parametrize(
    "frame",
    [
        "hello",
        '{"method": "text", "params": {"seq": "later"}}',
        '{"id": 2, "result": "nobody"}',
    ],
)
def test_who_talks_nonsense_is_hung_up_on_and_the_client_comes_back(frame: str) -> None:
    attendance = inside()
    attendance.asked("q", "text", {})
    hang_up, told, settled = attendance.received(frame, at(1))
    assert isinstance(hang_up, HangUp)
    assert isinstance(told, Deliver)
    assert isinstance(settled, Settle)
    assert hang_up.code == 1002
    assert attendance.state is State.AWAY


# -- Tickets


def test_a_new_ticket_is_asked_for_at_half_of_the_tickets_life() -> None:
    attendance = inside()
    assert attendance.due == LIFE_S * REFRESH_AT
    assert attendance.tick(at(attendance.due - 1)) == []
    (question,) = said(attendance.tick(at(300)))
    assert question["method"] == "refresh_ticket"
    assert attendance.received(result(question, {"ticket": ticket("k2")}), at(301)) == []
    assert attendance.due == 301 + LIFE_S * REFRESH_AT
    attendance.closed(1006, "", at(302))
    attendance.tick(at(303))
    (relogin,) = said(attendance.opened())
    assert relogin["params"]["ticket"] == ticket("k2")


def test_a_ticket_that_is_refused_is_asked_for_again() -> None:
    attendance = inside()
    (question,) = said(attendance.tick(at(300)))
    assert attendance.received(error(question, "log_unavailable", 500), at(301)) == []
    assert attendance.due == 300 + REFRESH_AGAIN_S
    assert said(attendance.tick(at(310)))[0]["method"] == "refresh_ticket"


def test_one_that_is_not_answered_is_not_asked_for_twice_on_one_connection() -> None:
    attendance = inside()
    attendance.tick(at(300))
    assert attendance.tick(at(310)) == []


def test_a_short_life_makes_for_a_short_wait() -> None:
    attendance = inside(life_s=10)
    (question,) = said(attendance.tick(at(5)))
    attendance.received(error(question, "log_unavailable", 500), at(5))
    assert attendance.due == 6


def test_a_ticket_that_is_no_good_any_more_gets_nothing_back() -> None:
    attendance = inside()
    (finish,) = attendance.closed(1006, "", at(LIFE_S))
    assert isinstance(finish, Finish)


# -- Away and back


def test_a_lost_connection_is_told_and_the_portal_is_tried_soon() -> None:
    attendance = inside()
    assert attendance.closed(1012, "the portal stops", at(100, 0.5)) == [
        Deliver(ConnectionLost(1012, "the portal stops"))
    ]
    assert attendance.due == pytest.approx(100.125)
    assert attendance.is_in


def test_a_relogin_says_what_the_client_has_had() -> None:
    attendance = inside()
    attendance.received(json.dumps(text("9.1")), at(1))
    attendance.closed(1006, "", at(100))
    assert attendance.tick(at(101)) == [Open(A)]
    (question,) = said(attendance.opened())
    assert question["method"] == "relogin"
    assert question["params"] == {"ticket": ticket(), "after": "9.1"}


def test_who_told_nothing_yet_says_where_the_login_stands() -> None:
    _, question = returning()
    assert question["params"]["after"] == "5.0"


def test_what_was_missed_comes_after_the_news_of_being_back_and_once() -> None:
    attendance, question = returning()
    effects = come_back(attendance, question, 102, "5.0", "6.0", "7.0")
    assert effects[0] == Deliver(ConnectionBack(A, 2, 2.0))
    assert delivered(effects) == ["6.0", "7.0"]
    late = attendance.received(json.dumps(text("7.0")), at(103))
    assert late == []
    assert delivered(attendance.received(json.dumps(text("8.0")), at(103))) == ["8.0"]


def test_the_new_ticket_is_refreshed_in_its_time() -> None:
    attendance, question = returning()
    come_back(attendance, question, 102)
    assert attendance.due == 102 + LIFE_S * REFRESH_AT


def test_the_others_are_tried_when_the_own_portal_is_gone() -> None:
    attendance = lost()
    attendance.tick(at(101))
    assert attendance.unopened("refused", at(101)) == [Find()]
    assert attendance.found([B], at(101, 0.0)) == []
    assert attendance.tick(at(101)) == [Open(B)]
    (question,) = said(attendance.opened())
    effects = come_back(attendance, question)
    assert effects[0] == Deliver(ConnectionBack(B, 0, 2.0))
    assert attendance.url == B


def test_a_client_without_others_tries_its_portal_again_and_again() -> None:
    attendance = lost()
    tried = []
    while attendance.due is not None and attendance.due < 130:
        now = attendance.due
        (open_,) = attendance.tick(at(now))
        tried.append((now, open_))
        assert attendance.unopened("refused", at(now)) == [Find()]
        assert attendance.found([], at(now)) == []
    assert {open_ for _, open_ in tried} == {Open(A)}
    assert 10 < len(tried) < 15


@pytest.mark.parametrize("code", [1000, 1001, 1006, 1008, 1009, 1011, 1012])
def test_however_a_portal_ends_the_connection_the_client_comes_back(code: int) -> None:
    attendance = inside()
    attendance.closed(code, "", at(1))
    assert attendance.state is State.AWAY


@pytest.mark.parametrize(("code", "reason"), [(4001, "be gone"), (4002, "taken over")])
def test_but_not_after_a_drop_or_when_another_connection_has_the_session(code: int, reason: str) -> None:
    attendance = inside()
    (finish,) = attendance.closed(code, reason, at(1))
    assert isinstance(finish, Finish)
    assert isinstance(finish.failure, ConnectionEnded)
    assert (finish.failure.code, finish.failure.reason) == (code, reason)
    assert attendance.tick(at(1000)) == []


def test_a_drop_is_one_even_if_the_connection_is_lost_before_it_is_closed() -> None:
    attendance = inside()
    attendance.received('{"method": "drop", "params": {"reason": "be gone"}}', at(1))
    (finish,) = attendance.closed(1006, "", at(1))
    assert isinstance(finish, Finish)
    assert isinstance(finish.failure, ConnectionEnded)
    assert (finish.failure.code, finish.failure.reason) == (4001, "be gone")


def test_without_a_ticket_a_lost_connection_is_the_end() -> None:
    (finish,) = inside(tickets=False).closed(1006, "", at(1))
    assert isinstance(finish, Finish)
    assert isinstance(finish.failure, ConnectionEnded)


@pytest.mark.parametrize("code", ["session_ended", "ticket_expired", "invalid_ticket"])
def test_who_does_not_get_the_session_back_is_told_why(code: str) -> None:
    attendance, question = returning()
    hang_up, finish = attendance.received(error(question, code), at(102))
    assert isinstance(hang_up, HangUp)
    assert isinstance(finish, Finish)
    assert isinstance(finish.failure, ReturnRefused)
    assert finish.failure.code == code
    assert attendance.state is State.OVER


def test_a_refusal_that_may_go_away_is_no_end_and_the_portals_wish_is_kept() -> None:
    attendance, question = returning()
    hang_up, find = attendance.received(error(question, "log_unavailable", 4_000), at(102))
    assert isinstance(hang_up, HangUp)
    assert find == Find()
    attendance.found([], at(102, 0.0))
    assert attendance.due is not None
    assert attendance.tick(at(attendance.due)) == [Open(A)]


def test_a_portal_that_does_not_answer_is_given_up() -> None:
    attendance, _ = returning()
    hang_up, find = attendance.tick(at(101 + ATTEMPT_S))
    assert isinstance(hang_up, HangUp)
    assert find == Find()


def test_a_connection_that_is_lost_again_during_the_relogin_is_tried_again() -> None:
    attendance, _ = returning()
    assert attendance.closed(1006, "", at(101.5)) == [Find()]
    attendance.found([], at(101.5, 0.0))
    assert attendance.due is not None
    assert attendance.tick(at(attendance.due)) == [Open(A)]
    (question,) = said(attendance.opened())
    come_back(attendance, question)


def test_after_the_tickets_life_it_is_given_up() -> None:
    attendance = lost()
    attendance.tick(at(101))
    attendance.unopened("refused", at(101))
    assert attendance.found([], at(LIFE_S - 0.001)) == []
    assert attendance.due == LIFE_S
    hang_up, finish = attendance.tick(at(LIFE_S))
    assert isinstance(hang_up, HangUp)
    assert isinstance(finish, Finish)
    assert isinstance(finish.failure, ReturnFailed)
    assert (finish.failure.seconds, finish.failure.reason) == (500.0, "refused")


def test_the_users_patience_may_be_shorter() -> None:
    attendance = lost(patience_s=10)
    assert attendance.tick(at(109)) == [Open(A)]
    hang_up, finish = attendance.tick(at(110))
    assert isinstance(hang_up, HangUp)
    assert isinstance(finish, Finish)
    assert isinstance(finish.failure, ReturnFailed)


def test_who_answers_the_search_for_portals_too_late_changes_nothing() -> None:
    attendance = lost(patience_s=10)
    attendance.tick(at(101))
    attendance.unopened("refused", at(101))
    attendance.tick(at(110))
    assert attendance.state is State.OVER
    assert attendance.found([B], at(111)) == []


def test_taken_over_by_its_own_forgotten_relogin_it_takes_its_session_back() -> None:
    attendance, _ = returning()
    attendance.tick(at(113))  # it is not answered, but may be carried out
    attendance.found([B], at(113, 0.0))
    attendance.tick(at(113))
    (question,) = said(attendance.opened())
    come_back(attendance, question, 114)
    attendance.closed(4002, "taken over", at(115))
    assert attendance.state is State.AWAY
    attendance.tick(at(116))
    (question,) = said(attendance.opened())
    come_back(attendance, question, 117)
    (finish,) = attendance.closed(4002, "taken over", at(113 + DOUBT_S))
    assert isinstance(finish, Finish)


# -- What is asked meanwhile


def test_what_is_asked_while_it_is_away_is_asked_when_it_is_back() -> None:
    attendance = lost()
    assert attendance.asked("q", "text", {"to": "all", "message": "hi"}) == []
    attendance.tick(at(101))
    (question,) = said(attendance.opened())
    assert question["method"] == "relogin"
    (asked,) = said(come_back(attendance, question))
    assert asked["method"] == "text"
    assert attendance.received(result(asked, {}), at(103)) != []


def test_what_nobody_waits_for_any_more_is_not() -> None:
    attendance = lost()
    attendance.asked("q", "text", {})
    attendance.forget("q")
    attendance.tick(at(101))
    (question,) = said(attendance.opened())
    assert said(come_back(attendance, question)) == []


def test_a_text_that_was_not_answered_fails_and_is_not_sent_twice() -> None:
    attendance = inside()
    attendance.asked("q", "text", {})
    _, settled = attendance.closed(1006, "", at(100))
    assert isinstance(settled, Settle)
    assert (settled.asked, type(settled.outcome)) == ("q", ConnectionEnded)
    attendance.tick(at(101))
    (question,) = said(attendance.opened())
    assert said(come_back(attendance, question)) == []


def test_who_is_in_and_a_logout_are_asked_for_again() -> None:
    attendance = inside()
    attendance.asked("q1", "participants", {})
    attendance.asked("q2", "logout", {})
    assert len(attendance.closed(1006, "", at(100))) == 1
    attendance.tick(at(101))
    (question,) = said(attendance.opened())
    assert [each["method"] for each in said(come_back(attendance, question))] == ["participants", "logout"]


def test_a_logout_is_done_if_the_session_has_ended_meanwhile() -> None:
    attendance, question = returning()
    attendance.asked("q", "logout", {})
    _, settled, finish = attendance.received(error(question, "session_ended"), at(102))
    assert isinstance(settled, Settle)
    assert settled.asked == "q"
    assert not isinstance(settled.outcome, Exception)
    assert finish == Finish(None)


def test_what_waits_fails_when_there_is_no_way_back() -> None:
    attendance, question = returning()
    attendance.asked("q", "text", {})
    _, settled, _ = attendance.received(error(question, "session_ended"), at(102))
    assert isinstance(settled, Settle)
    assert isinstance(settled.outcome, ReturnRefused)
    (late,) = attendance.asked("late", "text", {})
    assert isinstance(late, Settle)
    assert isinstance(late.outcome, ReturnRefused)


# -- The end


@pytest.mark.parametrize("code", [1000, 1006, 1012])
def test_after_a_logout_it_is_over_however_the_connection_ends(code: int) -> None:
    attendance = inside()
    (question,) = said(attendance.asked("q", "logout", {}))
    (settled,) = attendance.received(result(question, {}), at(1))
    assert isinstance(settled, Settle)
    assert attendance.state is State.LEAVING
    assert attendance.due is None
    assert attendance.closed(code, "", at(2)) == [Finish(None)]


def test_a_logout_that_is_refused_changes_nothing() -> None:
    attendance = inside()
    (question,) = said(attendance.asked("q", "logout", {}))
    (settled,) = attendance.received(error(question, "log_unavailable", 500), at(1))
    assert isinstance(settled, Settle)
    assert attendance.state is State.INSIDE


@pytest.mark.parametrize("make", [connected, inside, lost, lambda: returning()[0]])
def test_closing_it_is_the_end_of_everything(make: Any) -> None:  # noqa: ANN401  - any of these
    attendance = make()
    attendance.asked("q", "participants", {})
    hang_up, settled, finish = attendance.close()
    assert isinstance(hang_up, HangUp)
    assert isinstance(settled, Settle)
    assert isinstance(settled.outcome, ConnectionEnded)
    assert finish == Finish(None)
    assert attendance.close() == []
    assert attendance.tick(at(10_000)) == []
    assert attendance.closed(1006, "", at(10_000)) == []
    assert attendance.unopened("late", at(10_000)) == []


def test_closing_it_while_it_connects_tells_who_waits_for_that() -> None:
    attendance = Attendance(A)
    attendance.connect("connect")
    _, settled, _ = attendance.close()
    assert isinstance(settled, Settle)
    assert isinstance(settled.outcome, ConnectionEnded)
