"""Events of every type, made up from what their classes say of themselves."""

import types
import typing
from datetime import UTC, datetime
from typing import Any

import msgspec
from hypothesis import strategies as st

from roomledger_events.catalogue import CATALOGUE
from roomledger_events.envelope import Event, Payload

TEXTS = st.text(max_size=20)
TIMES = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001  - hypothesis adds the zone
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=5,
)
_PLAIN: dict[Any, st.SearchStrategy[Any]] = {
    str: TEXTS,
    bool: st.booleans(),
    int: st.integers(-(2**53), 2**53),
    float: st.floats(allow_nan=False, allow_infinity=False),
    datetime: TIMES,
    type(None): st.none(),
    Any: JSON,
}


def events(cls: type[Payload] | None = None) -> st.SearchStrategy[Event]:
    """Make up events of one type, or of any."""
    types_ = sorted(CATALOGUE.values(), key=lambda each: each.__name__) if cls is None else [cls]
    return st.builds(
        Event.of,
        st.one_of([values(each) for each in types_]),
        about=TEXTS,
        id=st.uuids().map(str),
        source=TEXTS,
        time=TIMES,
        correlation=TEXTS,
        causation=st.none() | TEXTS,
        actor=TEXTS,
        traceparent=st.none() | TEXTS,
    )


def values(annotation: Any) -> st.SearchStrategy[Any]:  # noqa: ANN401  - an annotation can be anything
    """Make up values of a type that stands in an event."""
    if annotation in _PLAIN:
        return _PLAIN[annotation]
    if isinstance(annotation, type) and issubclass(annotation, msgspec.Struct):
        fields = msgspec.structs.fields(annotation)
        return st.builds(annotation, **{field.name: values(field.type) for field in fields})
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in {types.UnionType, typing.Union}:
        return st.one_of([values(each) for each in arguments])
    if origin is tuple:
        return st.lists(values(arguments[0]), max_size=3).map(tuple)
    if origin is dict:
        return st.dictionaries(values(arguments[0]), values(arguments[1]), max_size=3)
    raise TypeError(f"no samples of {annotation}")
