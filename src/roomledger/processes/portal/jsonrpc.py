"""JSON-RPC 2.0 (https://www.jsonrpc.org/specification), one message a frame: reading calls, writing answers.

Arguments go by name. There are no batches: an array is an invalid request. A member of the message that
JSON-RPC does not know is an error, and so is an id that is longer than 128 characters. Nothing but `Fault`
comes of any text.
"""

from typing import Annotated, Any, Final, Literal, NamedTuple

import msgspec

from roomledger.processes.portal.errors import INVALID_REQUEST, NULL, PARSE_ERROR, Fault

MAX_ID: Final = 128
"""The longest id of a request, as it is written."""

_ABSENT: Final = b""
_EMPTY: Final = msgspec.Raw(b"{}")
_Method = Annotated[str, msgspec.Meta(max_length=64)]


class Call(NamedTuple):
    """A request, or a notification of the client's.

    Attributes:
        id: As it was written, to be given back; None for a notification, which gets no answer.
        method: What to do.
        params: Its arguments, not looked at yet.
    """

    id: msgspec.Raw | None
    method: str
    params: msgspec.Raw


class _Message(msgspec.Struct, forbid_unknown_fields=True):
    jsonrpc: Literal["2.0"]
    method: _Method
    id: msgspec.Raw = msgspec.Raw(_ABSENT)
    params: msgspec.Raw = _EMPTY


class _Result(msgspec.Struct):
    id: msgspec.Raw
    result: Any
    jsonrpc: str = "2.0"


class _Error(msgspec.Struct, omit_defaults=True):
    code: int
    message: str
    data: dict[str, Any] | None = None


class _Failure(msgspec.Struct):
    id: msgspec.Raw
    error: _Error
    jsonrpc: str = "2.0"


class _Notification(msgspec.Struct):
    method: str
    params: Any
    jsonrpc: str = "2.0"


_decode: Final = msgspec.json.Decoder(_Message).decode
_decode_id: Final = msgspec.json.Decoder(str | int | float | None).decode
_encode: Final = msgspec.json.Encoder().encode

# -- Reading


def read(text: str) -> Call:
    """Return the call that a message makes.

    Raises:
        Fault: It is no JSON, or no request.
    """
    try:
        message = _decode(text)
    except (ValueError, RecursionError) as error:
        raise _fault(text, error) from error
    id_ = message.id
    if bytes(id_) == _ABSENT:
        return Call(None, message.method, message.params)
    if not _is_id(id_):
        raise Fault(INVALID_REQUEST, f"the id is a text, a number or null, of at most {MAX_ID} characters")
    return Call(msgspec.Raw(bytes(id_)), message.method, message.params)


def _is_id(raw: msgspec.Raw) -> bool:
    if len(raw) > MAX_ID:
        return False
    try:
        _decode_id(raw)
    except ValueError:
        return False
    return True


def _fault(text: str, error: Exception) -> Fault:
    """Return what is wrong with a text that is no message; the first error found need not be the worst."""
    if isinstance(error, RecursionError):
        return Fault(PARSE_ERROR, "this is nested too deeply")
    try:
        found = msgspec.json.decode(text)
    except msgspec.ValidationError:
        found = None  # well written, with a number that nothing can hold
    except ValueError:
        return Fault(PARSE_ERROR, "this is no JSON")
    except RecursionError:
        return Fault(PARSE_ERROR, "this is nested too deeply")
    if isinstance(found, list):
        return Fault(INVALID_REQUEST, "there are no batches here: one request a frame")
    return Fault(INVALID_REQUEST, f"this is no JSON-RPC 2.0 request: {error}", _id_in(found))


def _id_in(found: object) -> msgspec.Raw:
    """Return the id of what is otherwise no request, so that its sender can tell which one it was."""
    id_ = found.get("id") if isinstance(found, dict) else None
    if type(id_) not in {str, int}:
        return NULL
    raw = msgspec.Raw(_encode(id_))
    return raw if len(raw) <= MAX_ID else NULL


# -- Writing


def result(id: msgspec.Raw, value: Any) -> bytes:  # noqa: A002, ANN401  - JSON-RPC's word; whatever msgspec encodes
    """Return the answer to a request."""
    return _encode(_Result(id, value))


def failure(id: msgspec.Raw, code: int, message: str, data: dict[str, Any] | None = None) -> bytes:  # noqa: A002  - as above
    """Return the answer to a request that was not done.

    Args:
        id: The request's.
        code: A number of JSON-RPC's, or `errors.APPLICATION`.
        message: What is wrong, for people.
        data: What programs tell errors apart by.
    """
    return _encode(_Failure(id, _Error(code, message, data)))


def notification(method: str, params: Any) -> bytes:  # noqa: ANN401  - whatever msgspec encodes
    """Return a message that nobody answers."""
    return _encode(_Notification(method, params))
