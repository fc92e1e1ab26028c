"""What existing clients ask: every shape of argument, right or wrong."""

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roomledger.processes.portal import socketio_requests as requests
from roomledger.processes.portal.socketio_requests import LoginWish, TextWish, Unfit, Version

AGENT = {"sdk": {"type": "JavaScript", "version": "5.0"}}
PROTOCOLS = {"1.0": Version.V1_0, "1.1": Version.V1_1, "1.2": Version.V1_2}

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


def why(read: Any, *arguments: Any) -> str:  # noqa: ANN401  - one of the readers; whatever clients send
    with pytest.raises(Unfit) as caught:
        read(arguments)
    return str(caught.value)


# -- Logins


@pytest.mark.parametrize(("named", "version"), PROTOCOLS.items())
def test_a_login_names_its_protocol(named: str, version: Version) -> None:
    wish = requests.login([{"token": "t", "userAgent": AGENT, "protocol": named}])
    assert wish == LoginWish("t", version, reconnect=True)


@pytest.mark.parametrize("nothing", [{}, {"protocol": None}])
def test_a_login_that_names_no_protocol_is_legacy(nothing: dict[str, Any]) -> None:
    wish = requests.login([{"token": "t", "userAgent": AGENT, **nothing}])
    assert wish.version is Version.LEGACY


@pytest.mark.parametrize("named", ["", "1", "1.3", "2.0", "legacy", 1.2, 0, False, [], {}, ["1.2"]])
def test_any_other_protocol_is_unknown(named: object) -> None:
    wish = {"token": "t", "userAgent": AGENT, "protocol": named}
    assert why(requests.login, wish) == "Unknown client protocol"


@pytest.mark.parametrize("named", PROTOCOLS)
def test_sdk_3_5_with_a_protocol_is_deprecated(named: str) -> None:
    agent = {"sdk": {"type": "JavaScript", "version": "3.5"}}
    wish = {"token": "t", "userAgent": agent, "protocol": named}
    assert why(requests.login, wish) == "Deprecated client version"


def test_sdk_3_5_without_a_protocol_is_let_in() -> None:
    agent = {"sdk": {"type": "JavaScript", "version": "3.5"}}
    assert requests.login([{"token": "t", "userAgent": agent}]).version is Version.LEGACY


@pytest.mark.parametrize(
    "agent",
    [
        None,
        "JavaScript",
        {},
        {"sdk": None},
        {"sdk": []},
        {"sdk": {}},
        {"sdk": {"type": "JavaScript"}},
        {"sdk": {"version": "5.0"}},
        {"sdk": {"type": "", "version": "5.0"}},
        {"sdk": {"type": "JavaScript", "version": ""}},
        {"sdk": {"type": ["JavaScript"], "version": "5.0"}},
        {"sdk": {"type": "JavaScript", "version": True}},
    ],
)
@pytest.mark.parametrize("protocol", [None, *PROTOCOLS])
def test_the_user_agent_has_an_sdk_with_type_and_version(agent: object, protocol: str | None) -> None:
    wish = {"token": "t", "userAgent": agent, "protocol": protocol}
    assert why(requests.login, wish) == "User agent info is incorrect"


@pytest.mark.parametrize("kind", ["JavaScript", "Android", "C++", "Objective-C"])
def test_four_types_of_sdk_may_reconnect(kind: str) -> None:
    assert requests.login([{"token": "t", "userAgent": {"sdk": {"type": kind, "version": "5"}}}]).reconnect


@pytest.mark.parametrize("kind", ["javascript", "Python", "Android ", "Swift"])
def test_other_types_of_sdk_may_not_reconnect(kind: str) -> None:
    wish = requests.login([{"token": "t", "userAgent": {"sdk": {"type": kind, "version": "5"}}}])
    assert not wish.reconnect


@pytest.mark.parametrize("token", [None, 1, ["t"], {"token": "t"}, True])
def test_a_token_is_text(token: object) -> None:
    assert why(requests.login, {"token": token, "userAgent": AGENT}) == "the token is no text"


def test_of_several_faults_the_first_in_the_order_of_the_checks_is_told() -> None:
    old = {"sdk": {"type": None, "version": "3.5"}}
    assert why(requests.login, {"protocol": "9", "userAgent": old}) == "Unknown client protocol"
    assert why(requests.login, {"protocol": "1.2", "userAgent": old}) == "Deprecated client version"
    assert why(requests.login, {"protocol": "1.2", "userAgent": {}}) == "User agent info is incorrect"


@pytest.mark.parametrize("arguments", [[], [None], [1], ["x"], [[]], [None, {"token": "t"}]])
def test_a_login_that_is_no_object_has_no_user_agent(arguments: list[Any]) -> None:
    assert why(requests.login, *arguments) == "User agent info is incorrect"


# -- Tickets


@pytest.mark.parametrize("shown", ["abc", {"ticket": "abc"}, {"ticket": "abc", "messages": []}])
def test_a_ticket_is_text_or_an_object_that_has_it(shown: object) -> None:
    assert requests.ticket([shown]) == "abc"


@pytest.mark.parametrize("shown", [None, 1, [], {}, {"ticket": None}, {"ticket": {"ticket": "abc"}}])
def test_anything_else_is_no_ticket(shown: object) -> None:
    assert why(requests.ticket, shown) == "the ticket is no text"


# -- Texts


def test_a_text_names_its_receiver() -> None:
    assert requests.text([{"to": "p1", "message": "hello"}]) == TextWish("p1", "hello")


def test_a_custom_message_is_a_text() -> None:
    wish = {"type": "data", "receiver": "all", "data": "hello"}
    assert requests.custom_message([wish]) == TextWish("all", "hello")


@pytest.mark.parametrize("receiver", [None, "", 1, [], {}, True])
def test_a_receiver_that_is_empty_or_no_text_is_invalid(receiver: object) -> None:
    assert why(requests.text, {"to": receiver, "message": "m"}) == "Invalid receiver"
    wish = {"type": "data", "receiver": receiver, "data": "m"}
    assert why(requests.custom_message, wish) == "Invalid receiver"


@pytest.mark.parametrize("arguments", [[], [None], ["hello"], [[]]])
def test_a_text_that_is_no_object_has_no_receiver(arguments: list[Any]) -> None:
    assert why(requests.text, *arguments) == "Invalid receiver"


def test_half_a_character_is_no_text() -> None:
    assert why(requests.text, {"to": "\ud800", "message": "m"}) == "Invalid receiver"
    assert why(requests.text, {"to": "all", "message": "\ud800"}) == "Invalid message"


@pytest.mark.parametrize("message", [None, 1, {}, ["m"]])
def test_a_message_is_text(message: object) -> None:
    assert why(requests.text, {"to": "all", "message": message}) == "Invalid message"


@pytest.mark.parametrize("kind", [None, "control", "", 1])
def test_a_custom_message_of_another_type_is_refused(kind: object) -> None:
    wish = {"type": kind, "receiver": "all", "data": "m"}
    assert why(requests.custom_message, wish) == "Invalid message type"


# -- All of them


@given(st.lists(json_values, max_size=2))
def test_nothing_but_a_refusal_comes_of_any_argument(arguments: list[Any]) -> None:
    for read in (requests.login, requests.ticket, requests.text, requests.custom_message):
        with suppress(Unfit):
            read(arguments)
