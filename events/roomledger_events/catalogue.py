"""The catalogue: every type of event by its name, and how a message of the log is read."""

import json
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from types import ModuleType
from typing import Any, Final, Union

import msgspec

from roomledger_events import nodes, rooms, tasks, tokens, workers
from roomledger_events.envelope import SPECVERSION, Commit, Event, Payload, Unreadable, class_of
from roomledger_events.subjects import Boundary
from roomledger_events.upcasting import upcast


def _types_in(modules: Iterable[ModuleType]) -> dict[str, type[Payload]]:
    return {
        name: value
        for module in modules
        for name, value in vars(module).items()
        if isinstance(value, type) and issubclass(value, Payload) and value.__module__ == module.__name__
    }


CATALOGUE: Final = _types_in((tokens, workers, tasks, rooms, nodes))
"""Type name → class of the data."""


class _Foreign(Event, frozen=True, kw_only=True):
    """An event of a type or a version that is not known here, or with broken data."""

    type: str


class _Wire(msgspec.Struct, gc=False):
    """An envelope whose data is not decoded yet."""

    id: str
    type: str
    source: str
    time: datetime
    subject: str
    correlationid: str
    actor: str
    dataversion: int
    data: msgspec.Raw
    causationid: str | None = None
    traceparent: str | None = None


_known: Any = Union[tuple([class_of[cls] for cls in CATALOGUE.values()])]  # noqa: UP007  - of what is in a list
_decode_known: Final[Callable[[bytes], tuple[Event, ...]]] = msgspec.json.Decoder(tuple[_known, ...]).decode
_data_decoders: Final = {name: msgspec.json.Decoder(cls) for name, cls in CATALOGUE.items()}
_versions: Final = {name: cls.dataversion for name, cls in CATALOGUE.items()}
_decode_loose: Final = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_wire: Final = msgspec.json.Decoder(_Wire).decode
_SHOWN: Final = 1000
_BROKEN: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What JSON raises that is none, is not of the right shape, or is nested too deeply."""


def decode(sequence: int, boundary: Boundary, time: datetime, body: bytes) -> Commit:
    """Read a message of the log.

    What cannot be read does not raise: the event keeps its place in the commit, with `Unreadable` data.
    """
    try:
        events = _decode_known(body)
    except _BROKEN:
        events = tuple(_decode_one_by_one(sequence, time, body))
    return Commit(sequence, boundary, time, events)


def decode_all(
    sequences: Sequence[int],
    boundaries: Sequence[Boundary],
    times: Sequence[datetime],
    bodies: Sequence[bytes],
) -> list[Commit]:
    """Read messages of the log, given in columns; see `decode`."""
    try:
        read = list(map(_decode_known, bodies))
    except _BROKEN:
        return list(map(decode, sequences, boundaries, times, bodies))
    return list(map(Commit, sequences, boundaries, times, read))


def _read(wire: _Wire) -> Event:
    name = wire.type
    if wire.dataversion == _versions.get(name):
        try:
            data: Payload = _data_decoders[name].decode(wire.data)
        except _BROKEN as error:
            data = _unreadable(str(error), wire.data)
    else:
        data = _read_other_version(wire)
    envelope: dict[str, Any] = {
        "specversion": SPECVERSION,
        "id": wire.id,
        "source": wire.source,
        "time": wire.time,
        "subject": wire.subject,
        "correlationid": wire.correlationid,
        "causationid": wire.causationid,
        "actor": wire.actor,
        "dataversion": wire.dataversion,
        "traceparent": wire.traceparent,
        "data": data,
    }
    if isinstance(data, Unreadable):
        return _Foreign(type=name, **envelope)
    return class_of[type(data)](**envelope)


def _read_other_version(wire: _Wire) -> Payload:
    cls = CATALOGUE.get(wire.type)
    if cls is None:
        return _unreadable(f"unknown type {wire.type!r}", wire.data)
    if wire.dataversion > cls.dataversion:
        reason = (
            f"{wire.type} version {wire.dataversion} is newer than {cls.dataversion}, the newest known here"
        )
        return _unreadable(reason, wire.data)
    try:
        data = json.loads(bytes(wire.data))
        return msgspec.convert(upcast(wire.type, wire.dataversion, cls.dataversion, data), cls)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        return _unreadable(f"{wire.type} version {wire.dataversion}: {error}", wire.data)


def _decode_one_by_one(sequence: int, time: datetime, body: bytes) -> Iterable[Event]:
    """Read what can be read of a commit in which something is broken, or of another version."""
    try:
        parts = [bytes(part) for part in _decode_loose(body)]
    except _BROKEN as error:
        yield _stand_in(sequence, 0, time, str(error), body)
        return
    for index, part in enumerate(parts):
        try:
            yield _read(_decode_wire(part))
        except _BROKEN as error:
            yield _stand_in(sequence, index, time, str(error), part)


def _unreadable(reason: str, body: bytes | msgspec.Raw) -> Unreadable:
    return Unreadable(reason=reason[:_SHOWN], body=bytes(body)[:_SHOWN].decode(errors="replace"))


def _stand_in(sequence: int, index: int, time: datetime, reason: str, body: bytes) -> Event:
    return Event.of(
        _unreadable(reason, body),
        about="",
        id=f"unreadable-{sequence}.{index}",
        source="",
        time=time,
        correlation="",
        actor="",
    )
