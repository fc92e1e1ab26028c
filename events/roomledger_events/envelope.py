"""The envelope of an event, and the commit: what one message of the log holds.

An event is a CloudEvents 1.0 object in structured mode (JSON event format, https://cloudevents.io);
a commit is the JSON batch format of the same specification.  ``correlationid``, ``causationid``, ``actor``,
``dataversion`` and ``traceparent`` (W3C trace context) are extension attributes.
"""

import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, ClassVar, Final, Literal, NamedTuple, Self, cast, overload

import msgspec

from roomledger_events.subjects import Boundary, Kind

SPECVERSION: Final = "1.0"
MAX_EVENTS: Final = 256
"""The most events that a commit holds."""
MAX_BYTES: Final = 512 * 1024
"""The largest body of a commit, in bytes."""


class Payload(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """The data of an event. A subclass is a type of event, and its name is the event's ``type``.

    Attributes:
        kind: The kind of boundary that such events are appended to.
        dataversion: The version of the data that this class describes; older ones are upcast to it.
    """

    kind: ClassVar[Kind]
    dataversion: ClassVar[int] = 1


class Unreadable(Payload, frozen=True, kw_only=True):
    """Stands in for the data of an event that this version cannot read; readers count it and go on.

    Attributes:
        reason: Why it cannot be read, for people.
        body: What stands in the log, cut to 1,000 characters.
    """

    kind: ClassVar[Kind] = Kind.ROOM  # never appended; a value is needed for the type only
    reason: str
    body: str


class Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """One event with its envelope.

    Attributes:
        id: A UUID of version 7.
        source: Which process appended it, such as ``cluster-manager/m1``.
        time: When it was decided, UTC.
        subject: The id of the worker, task, participant, room, token or node that it is about.
        correlationid: What set the whole chain off: the token's id for all that a token leads to.
        causationid: The command or event that this is the direct effect of.
        actor: Who wanted it, such as ``service:s1``, ``participant:p1``, ``worker:w1`` or ``timer``.
        dataversion: The version of `data`.
        traceparent: The W3C trace context of the request, where it had one.
    """

    specversion: str
    id: str
    source: str
    time: datetime
    subject: str
    correlationid: str
    causationid: str | None = None
    actor: str
    dataversion: int
    traceparent: str | None = None
    data: Payload

    @property
    def type(self) -> str:
        """The name of the data's class."""
        return type(self.data).__name__

    @staticmethod
    def of(
        data: Payload,
        *,
        about: str,
        id: str,  # noqa: A002  - the attribute's name in CloudEvents
        source: str,
        time: datetime,
        correlation: str,
        causation: str | None = None,
        actor: str,
        traceparent: str | None = None,
    ) -> "Event":
        """Put data into its envelope."""
        kind = type(data)
        return class_of[kind](
            specversion=SPECVERSION,
            id=id,
            source=source,
            time=time,
            subject=about,
            correlationid=correlation,
            causationid=causation,
            actor=actor,
            dataversion=kind.dataversion,
            traceparent=traceparent,
            data=data,
        )

    def with_data(self, data: Payload) -> "Event":
        """Return the same event with other data, also of another type."""
        envelope = {name: getattr(self, name) for name in Event.__struct_fields__}
        kind = type(data)
        return class_of[kind](**envelope | {"data": data, "dataversion": kind.dataversion})


class _Classes(dict[type[Payload], type[Event]]):
    """Makes the class of a type's events when it is asked for the first time.

    With it an event is read and written in one pass: its ``type`` tells what the data are.
    """

    def __missing__(self, kind: type[Payload]) -> type[Event]:
        name = kind.__name__
        made = self[kind] = cast(
            "type[Event]",
            msgspec.defstruct(
                f"{name}Event",
                [
                    ("specversion", Literal["1.0"]),
                    ("dataversion", Literal[kind.dataversion]),
                    ("data", kind),
                ],
                bases=(Event,),
                namespace={"type": name},
                frozen=True,
                kw_only=True,
                omit_defaults=True,
                gc=False,
                tag_field="type",
                tag=name,
            ),
        )
        return made


class_of: Final = _Classes()
"""Class of the data → class of the events with such data, which are decoded as nothing but this version."""


_address: Final = re.compile(r"[0-9]{1,19}(\.[0-9]{1,3})?\Z").match


class Address(NamedTuple):
    """Where an event stands: the sequence of its commit in the log and its index in the commit."""

    sequence: int
    place: int = 0

    def __str__(self) -> str:
        return f"{self.sequence}.{self.place}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read an address such as ``1042.3``; a bare sequence means its first event.

        Raises:
            ValueError: It is no address.
        """
        if _address(text) is None:
            raise ValueError(f"{text[:40]!r} is no address such as 1042.3")
        sequence, _, place = text.partition(".")
        return cls(int(sequence), int(place or 0))


class Commit(msgspec.Struct, frozen=True, gc=False):
    """What one message of the log holds.

    Attributes:
        sequence: Its sequence in the log, from 1.
        boundary: The consistency boundary that it belongs to.
        time: When the log stored it, UTC.
        events: Its events in order; those that this version cannot read have `Unreadable` data.
    """

    sequence: int
    boundary: Boundary
    time: datetime
    events: tuple[Event, ...]


class CommitTooLarge(ValueError):
    """More events, or more bytes, than a commit may hold.

    Attributes:
        events: How many events there were.
        size: The size of the body in bytes.
    """

    def __init__(self, events: int, size: int) -> None:
        self.events = events
        self.size = size
        super().__init__(events, size)

    def __str__(self) -> str:
        return (
            f"a commit of {self.events} events and {self.size} bytes: at most {MAX_EVENTS} events and "
            f"{MAX_BYTES} bytes go into one"
        )


_encode: Final = msgspec.json.Encoder().encode


class Draft(Sequence[Event]):
    """The events of a commit in the making, which are encoded once, when they are put in.

    Attributes:
        size: The bytes of the commit's body so far.
    """

    __slots__ = ("_bodies", "_events", "size")

    def __init__(self) -> None:
        self.size = 1
        self._events: list[Event] = []
        self._bodies: list[bytes] = []

    def add(self, events: Sequence[Event]) -> bool:
        """Put events in that belong together, if the commit has room for them; return whether it has.

        An empty one takes whatever it is: what is too large even for a commit of its own is told by `encode`.
        """
        if not events:
            return True
        body = _encode(events)[1:-1]
        size = self.size + 1 + len(body)
        mine = self._events
        if mine and (size > MAX_BYTES or len(mine) + len(events) > MAX_EVENTS):
            return False
        self.size = size
        mine += events
        self._bodies.append(body)
        return True

    def body(self) -> bytes:
        """Return the body of the commit."""
        return b"[%b]" % b",".join(self._bodies)

    def __len__(self) -> int:
        return len(self._events)

    def __iter__(self) -> Iterator[Event]:
        return iter(self._events)

    @overload
    def __getitem__(self, index: int) -> Event: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Event]: ...
    def __getitem__(self, index: int | slice) -> Event | Sequence[Event]:
        return self._events[index]


def encode(events: Sequence[Event]) -> bytes:
    """Return the body of a commit.

    Raises:
        CommitTooLarge: It would exceed `MAX_EVENTS` or `MAX_BYTES`.
    """
    body = events.body() if isinstance(events, Draft) else _encode(events)
    if len(events) > MAX_EVENTS or len(body) > MAX_BYTES:
        raise CommitTooLarge(len(events), len(body))
    return body


def to_json(value: Any) -> str:  # noqa: ANN401  - whatever msgspec encodes
    """Return the JSON text of an event, a payload or any value made of them."""
    return _encode(value).decode()
