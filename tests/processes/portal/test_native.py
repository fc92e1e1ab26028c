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
from roomledger.processes.portal.notifications import Presence, RoomClosed
from roomledger.processes.portal.session_effects import Login, Logout, Participants, Problem
from roomledger.sdk.rooms import JoinedRoom, ParticipantView, RoomView
from roomledger_events.envelope import Address
from roomledger_events.rooms import Media, Permission

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
        st.sampled_from(["login", "logout", "participants", "relogin"]),
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


def test_the_end_of_a_room_is_told_as_a_drop() -> None:
    assert json.loads(native.notification(RoomClosed(address=Address(9)))) == {
        "jsonrpc": "2.0",
        "method": "drop",
        "params": {"reason": "room_deleted"},
    }
