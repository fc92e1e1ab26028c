"""JSON-RPC 2.0 as the portal speaks it: what is a call, and what is which error."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roomledger.processes.portal import jsonrpc
from roomledger.processes.portal.errors import INVALID_REQUEST, NULL, PARSE_ERROR, Fault

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)
LIKE_A_CALL = st.fixed_dictionaries(
    {},
    optional={
        "jsonrpc": st.sampled_from(["2.0", "1.0", 2]) | JSON,
        "method": JSON,
        "id": JSON,
        "params": JSON,
    },
)


def fault_of(text: str) -> Fault:
    with pytest.raises(Fault) as caught:
        jsonrpc.read(text)
    return caught.value


def call(**members: Any) -> str:  # noqa: ANN401  - JSON values
    return json.dumps({"jsonrpc": "2.0", "method": "login"} | members)


def test_a_request_is_read_with_its_id_as_it_was_written() -> None:
    read = jsonrpc.read('{"jsonrpc":"2.0","method":"login","id": 7.50 ,"params":{"token":"t"}}')
    assert (bytes(read.id or b""), read.method) == (b"7.50", "login")
    assert json.loads(bytes(read.params)) == {"token": "t"}


def test_a_call_without_an_id_wants_no_answer() -> None:
    assert jsonrpc.read(call()).id is None


def test_a_null_id_is_an_id() -> None:
    assert bytes(jsonrpc.read(call(id=None)).id or b"") == b"null"


def test_params_that_are_not_given_are_an_empty_object() -> None:
    assert bytes(jsonrpc.read(call(id=1)).params) == b"{}"


@pytest.mark.parametrize("text", ["", "{", "nul", "login", '{"jsonrpc":"2.0",}', "[1,", '"\\ud800"', "\x00"])
def test_what_is_no_json_is_a_parse_error_with_a_null_id(text: str) -> None:
    fault = fault_of(text)
    assert (fault.code, bytes(fault.id or b"")) == (PARSE_ERROR, b"null")


@pytest.mark.parametrize("text", ["[" * 60_000, '{"jsonrpc":"2.0","method":"a","params":' + "[" * 60_000])
def test_what_is_nested_too_deeply_is_a_parse_error(text: str) -> None:
    assert fault_of(text).code == PARSE_ERROR


@pytest.mark.parametrize(
    "text",
    [
        "null",
        "1",
        "[]",
        f"[{call(id=1)}]",
        "{}",
        '{"method":"login","id":1}',
        call(jsonrpc="1.0", id=1),
        call(method=1, id=1),
        call(method="m" * 65, id=1),
        call(id=True),
        call(id=[1]),
        call(id={"a": 1}),
        call(id="x" * 200),
        '{"jsonrpc":"2.0","method":"login","id":1e999}',
        f'{{"jsonrpc":"2.0","method":"login","id":{"9" * 5000}}}',
        call(id=1, extra=1),
    ],
)
def test_json_that_is_no_request_is_an_invalid_request(text: str) -> None:
    assert fault_of(text).code == INVALID_REQUEST


def test_a_batch_is_refused_by_name() -> None:
    assert "no batches" in str(fault_of(f"[{call(id=1)}]"))


def test_an_invalid_request_is_answered_with_its_id_where_it_can_be_read() -> None:
    assert bytes(fault_of(call(id="seven", extra=1)).id or b"") == b'"seven"'


@given(st.text() | JSON.map(json.dumps) | LIKE_A_CALL.map(json.dumps))
def test_any_text_is_a_call_or_a_fault_that_can_be_answered(text: str) -> None:
    try:
        read = jsonrpc.read(text)
    except Fault as fault:
        code, answer = fault.code, jsonrpc.failure(fault.id or NULL, fault.code, str(fault))
    else:
        code, answer = None, jsonrpc.result(read.id or NULL, {})
    assert code in {None, PARSE_ERROR, INVALID_REQUEST}
    sent = json.loads(text).get("id") if code is None else None
    assert code is not None or json.loads(answer) == {"jsonrpc": "2.0", "id": sent, "result": {}}


def test_an_error_carries_data_only_where_there_is_some() -> None:
    read = jsonrpc.read(call(id=3))
    assert read.id is not None
    assert json.loads(jsonrpc.failure(read.id, -32601, "none")) == {
        "jsonrpc": "2.0",
        "id": 3,
        "error": {"code": -32601, "message": "none"},
    }
    assert json.loads(jsonrpc.failure(read.id, -32000, "no", {"code": "room_full"}))["error"]["data"] == {
        "code": "room_full"
    }


def test_a_notification_has_no_id() -> None:
    assert json.loads(jsonrpc.notification("drop", {"reason": "x"})) == {
        "jsonrpc": "2.0",
        "method": "drop",
        "params": {"reason": "x"},
    }
