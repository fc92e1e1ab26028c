"""The native protocol: methods, their arguments, and what answers look like."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roomledger.processes.portal import native
from roomledger.processes.portal.errors import (
    APPLICATION,
    INVALID_PARAMS,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    PARSE_ERROR,
    Fault,
)
from roomledger.processes.portal.jsonrpc import read
from roomledger.processes.portal.notifications import (
    Moved,
    News,
    Permitted,
    Presence,
    RoomClosed,
    RoomSet,
    Said,
)
from roomledger.processes.portal.recollection import Told
from roomledger.processes.portal.session_effects import (
    Login,
    Logout,
    Participants,
    Problem,
    Refreshed,
    RefreshTicket,
    Relogin,
    Resumption,
    SendText,
    Sent,
)
from roomledger.sdk.rooms import JoinedRoom, ParticipantView, RoomView
from roomledger_events.envelope import Address
from roomledger_events.rooms import Media, Permission, RoomSettings, View

ANN = ParticipantView(id="p1", user="ann", role="presenter")
ID = read('{"jsonrpc":"2.0","method":"a","id":1}').id


def request(method: str, params: Any = None, **members: Any) -> str:  # noqa: ANN401  - JSON values
    return json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params or {}} | members)


def fault_of(text: str) -> Fault:
    with pytest.raises(Fault) as caught:
        native.read(text)
    return caught.value


def test_a_login_needs_nothing_but_a_token() -> None:
    assert native.read(request("login", {"token": "abc"})).request == Login("abc", reconnect=False)


def test_a_login_may_name_the_client_and_whether_it_comes_back() -> None:
    params = {"token": "abc", "client": {"type": "web", "version": "1"}, "reconnect": True}
    assert native.read(request("login", params)).request == Login("abc", reconnect=True)


def test_logout_and_participants_take_nothing() -> None:
    assert native.read(request("logout")).request == Logout()
    assert native.read(request("participants")).request == Participants()


def test_a_relogin_names_a_ticket_and_perhaps_how_far_the_client_was_told() -> None:
    assert native.read(request("relogin", {"ticket": "abc"})).request == Relogin("abc")
    params = {"ticket": "abc", "after": "1042.3"}
    assert native.read(request("relogin", params)).request == Relogin("abc", Address(1042, 3))


def test_a_ticket_is_refreshed_without_arguments_and_a_text_names_whom_it_goes_to() -> None:
    assert native.read(request("refresh_ticket")).request == RefreshTicket()
    assert native.read(request("text", {"to": "all", "message": ""})).request == SendText("all", "")


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("relogin", {}),
        ("relogin", {"ticket": None}),
        ("relogin", {"ticket": "t", "after": 5}),
        ("relogin", {"ticket": "t", "after": "last"}),
        ("relogin", {"ticket": "t", "after": "5.5.5"}),
        ("text", {}),
        ("text", {"to": "all"}),
        ("text", {"to": "", "message": "x"}),
        ("text", {"to": "a b", "message": "x"}),
        ("text", {"to": ["all"], "message": "x"}),
        ("text", {"to": "all", "message": None}),
        ("text", {"to": "all", "message": "x" * 65_537}),
        ("refresh_ticket", {"ticket": "t"}),
    ],
)
def test_other_arguments_are_refused_as_invalid(method: str, params: dict[str, Any]) -> None:
    assert fault_of(request(method, params)).code == INVALID_PARAMS


def test_a_method_that_is_not_there_is_an_error_of_its_own() -> None:
    assert fault_of(request("logn")).code == METHOD_NOT_FOUND


@pytest.mark.parametrize(
    "params",
    [
        None,
        [],
        ["token"],
        "token",
        1,
        {},
        {"token": None},
        {"token": 1},
        {"token": "t", "tokens": 1},
        {"token": "t", "client": {"type": "web"}},
        {"token": "t", "client": {"type": "w" * 65, "version": "1"}},
        {"token": "t", "client": {"type": "web", "version": "1", "os": "x"}},
        {"token": "t", "reconnect": "yes"},
    ],
)
def test_a_login_with_other_arguments_is_refused_as_invalid(params: Any) -> None:  # noqa: ANN401  - JSON values
    fault = fault_of(json.dumps({"jsonrpc": "2.0", "id": 1, "method": "login", "params": params}))
    assert (fault.code, fault.method) == (INVALID_PARAMS, "login")


@pytest.mark.parametrize("method", ["logout", "participants"])
def test_an_argument_that_a_method_does_not_know_is_refused(method: str) -> None:
    assert fault_of(request(method, {"a": 1})).code == INVALID_PARAMS


@given(
    st.text()
    | st.builds(
        lambda method, params: json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}),
        st.sampled_from(["login", "logout", "participants", "relogin", "text", "refresh_ticket"]),
        st.dictionaries(
            st.sampled_from(["token", "client", "reconnect"]) | st.text(),
            st.none() | st.text() | st.integers() | st.booleans() | st.dictionaries(st.text(), st.text()),
        ),
    )
)
def test_any_frame_is_a_request_or_one_of_the_four_errors(text: str) -> None:
    fault = None
    try:
        native.read(text)
    except Fault as found:
        fault = found
    assert fault is None or fault.code in {
        PARSE_ERROR,
        INVALID_REQUEST,
        METHOD_NOT_FOUND,
        INVALID_PARAMS,
    }
    assert fault is None or fault.id is None or native.fault(fault) is not None


def test_a_fault_of_a_notification_gets_no_answer() -> None:
    fault = fault_of('{"jsonrpc":"2.0","method":"nothing"}')
    assert native.fault(fault) is None


def test_a_login_is_answered_with_the_room_and_where_the_join_stands() -> None:
    assert ID is not None
    permission = Permission(publish=Media(audio=True, video=True), subscribe=Media())
    room = RoomView(id="r1", name="Room", views=("common",), participants=(ANN,))
    joined = JoinedRoom(id="p1", user="ann", role="presenter", permission=permission, room=room, seq="1042.3")
    assert json.loads(native.answer(ID, joined))["result"] == {
        "id": "p1",
        "user": "ann",
        "role": "presenter",
        "permission": {
            "publish": {"audio": True, "video": True},
            "subscribe": {"audio": False, "video": False},
        },
        "room": {
            "id": "r1",
            "name": "Room",
            "views": ["common"],
            "participants": [{"id": "p1", "user": "ann", "role": "presenter"}],
            "streams": [],
        },
        "seq": "1042.3",
    }


def test_a_logout_is_answered_with_nothing_and_a_question_with_who_is_in() -> None:
    assert ID is not None
    assert json.loads(native.answer(ID, None))["result"] == {}
    assert json.loads(native.answer(ID, (ANN,)))["result"] == {
        "participants": [{"id": "p1", "user": "ann", "role": "presenter"}]
    }


def test_a_problem_tells_its_code_and_when_to_ask_again() -> None:
    assert ID is not None
    error = json.loads(native.problem(ID, Problem("log_unavailable", "not now", 500)))["error"]
    assert error == {
        "code": APPLICATION,
        "message": "not now",
        "data": {"code": "log_unavailable", "retry_after_ms": 500},
    }
    assert json.loads(native.problem(ID, Problem("room_full", "full")))["error"]["data"] == {
        "code": "room_full"
    }


def test_a_join_is_told_with_who_and_where_it_stands() -> None:
    told = Presence(action="join", participant=ANN, address=Address(7, 2))
    assert json.loads(native.notification(told)) == {
        "jsonrpc": "2.0",
        "method": "participant",
        "params": {
            "action": "join",
            "participant": {"id": "p1", "user": "ann", "role": "presenter"},
            "seq": "7.2",
        },
    }


def test_a_leave_is_told_with_its_reason_but_not_with_what_was_said_to_who_left() -> None:
    told = Presence(action="leave", participant=ANN, reason="dropped", message="go", address=Address(7))
    params = json.loads(native.notification(told))["params"]
    assert (params["action"], params["reason"], params["seq"]) == ("leave", "dropped", "7.0")
    assert "message" not in params


def test_a_ticket_goes_with_the_answer_to_a_login() -> None:
    assert ID is not None
    room = RoomView(id="r1", name="Room", views=(), participants=(ANN,))
    joined = JoinedRoom(id="p1", user="ann", role="r", permission=Permission(), room=room, seq="1.0")
    assert json.loads(native.answer(ID, joined, "abc"))["result"]["ticket"] == "abc"
    assert json.loads(native.answer(ID, Refreshed(), "abc"))["result"] == {"ticket": "abc"}


def test_a_relogin_is_answered_with_whole_notifications_in_order() -> None:
    assert ID is not None
    said = [Said(sender="p2", to="all", message=each, address=Address(7, int(each))) for each in "12"]
    missed = tuple(Told(number, News(each)) for number, each in enumerate(said, 1))
    answer = native.answer(ID, Resumption("p1", "native", Address(9), missed), "abc")
    result = json.loads(answer)["result"]
    assert (result["id"], result["ticket"], result["seq"]) == ("p1", "abc", "9.0")
    assert result["missed"] == [json.loads(native.notification(each)) for each in said]


def test_a_text_is_answered_with_where_it_stands() -> None:
    assert ID is not None
    assert json.loads(native.answer(ID, Sent("7.0")))["result"] == {"seq": "7.0"}


@pytest.mark.parametrize(("to", "told"), [("all", "all"), ("p1", "me")])
def test_a_text_is_told_with_who_said_it(to: str, told: str) -> None:
    said = Said(sender="p2", to=to, message="hello", address=Address(7))
    assert json.loads(native.notification(said)) == {
        "jsonrpc": "2.0",
        "method": "text",
        "params": {"from": "p2", "to": told, "message": "hello", "seq": "7.0"},
    }


def test_a_changed_permission_is_told_whole() -> None:
    permission = Permission(publish=Media(audio=True))
    told = Permitted(participant="p1", permission=permission, address=Address(7))
    assert json.loads(native.notification(told))["params"] == {
        "participant": "p1",
        "permission": {
            "publish": {"audio": True, "video": False},
            "subscribe": {"audio": False, "video": False},
        },
        "seq": "7.0",
    }


def test_a_changed_room_is_told_with_its_name_its_limit_and_its_views() -> None:
    settings = RoomSettings(name="Two", participant_limit=5, views=(View(label="common"),))
    assert json.loads(native.notification(RoomSet(settings=settings, address=Address(7)))) == {
        "jsonrpc": "2.0",
        "method": "room",
        "params": {"change": {"name": "Two", "participant_limit": 5, "views": ["common"]}, "seq": "7.0"},
    }


@pytest.mark.parametrize(
    "notification",
    [
        RoomClosed(address=Address(9)),
        Moved(participant="p1", away=True, portal="w", address=Address(9)),
    ],
)
def test_what_ends_or_moves_a_session_is_no_notification(notification: Moved | RoomClosed) -> None:
    with pytest.raises(ValueError, match="no client"):
        native.notification(notification)


def test_a_drop_is_told_with_its_reason() -> None:
    assert json.loads(native.dropped("be gone")) == {
        "jsonrpc": "2.0",
        "method": "drop",
        "params": {"reason": "be gone"},
    }
