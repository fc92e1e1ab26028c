"""Events of workers and of the scheduler that they belong to."""

from datetime import datetime
from typing import Any, ClassVar

import msgspec

from roomledger_events.envelope import Payload
from roomledger_events.subjects import Kind


class VideoCapacity(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """The codecs that a video worker can encode to and decode from."""

    encode: tuple[str, ...] = ()
    decode: tuple[str, ...] = ()


class Capacity(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """What a worker can serve; an empty `isps` serves every isp."""

    isps: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()
    video: VideoCapacity | None = None
    algorithms: tuple[str, ...] = ()


class WorkerInfo(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """What a worker tells of itself when it joins.

    Attributes:
        ip: Its address.
        hostname: Its name, where it has one that others can resolve.
        port: The port that it serves its clients on.
        secure: Whether clients reach it by TLS.
        via_host: What clients are told instead of its own host and port.
        max_load: It gets no new task from this load on; more than 0, at most 1.
        capacity: What it can serve.
        properties: What else its purpose needs, such as further ports.
    """

    ip: str
    hostname: str | None = None
    port: int | None = None
    secure: bool = False
    via_host: str | None = None
    max_load: float
    capacity: Capacity = Capacity()
    properties: dict[str, Any] = {}


class SchedulerSettings(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What is set for a purpose, as its decisions are made by.

    Attributes:
        strategy: The name of the strategy that picks among the candidates.
        task_load: What a reservation adds to a worker's load until a report contains it.
        reserve_ms: How long a task is held when the request does not say it.
        lease_ms: A worker that is silent for this long is lost.
        load_threshold: A report is recorded if it changes the load reckoned with by this much.
        report_delay_ms: How long before a report its load may have been measured: it does not contain younger
            reservations.
    """

    strategy: str
    task_load: float
    reserve_ms: int
    lease_ms: int
    load_threshold: float
    report_delay_ms: int = 0


class SchedulerTakenOver(Payload, frozen=True, kw_only=True):
    """A cluster manager became the one that decides for this purpose.

    Attributes:
        manager: Which one, this time.
        epoch: How many times one took over, with this one.
        settings: By what it decides; null in events of before they were recorded.
    """

    kind: ClassVar[Kind] = Kind.SCHEDULER
    manager: str
    epoch: int
    settings: SchedulerSettings | None = None


class WorkerJoined(Payload, frozen=True, kw_only=True):
    """A worker joined, or joined again: what it tells of itself is valid from here."""

    kind: ClassVar[Kind] = Kind.SCHEDULER
    worker: str
    purpose: str
    info: WorkerInfo


class WorkerQuit(Payload, frozen=True, kw_only=True):
    """A worker left of its own will; its tasks are freed."""

    kind: ClassVar[Kind] = Kind.SCHEDULER
    worker: str


class WorkerLost(Payload, frozen=True, kw_only=True):
    """A worker was not heard of for its lease; its tasks are freed."""

    kind: ClassVar[Kind] = Kind.SCHEDULER
    worker: str
    silent_ms: int


class WorkerStateReported(Payload, frozen=True, kw_only=True):
    """A worker reported another state: 0 not ready, 1 initializing, 2 ready."""

    kind: ClassVar[Kind] = Kind.SCHEDULER
    worker: str
    state: int


class WorkerDraining(Payload, frozen=True, kw_only=True):
    """A worker gets no new tasks from here on; at the deadline it is told to move those that it has."""

    kind: ClassVar[Kind] = Kind.SCHEDULER
    worker: str
    deadline: datetime | None = None


class WorkerDrainDeadlineReached(Payload, frozen=True, kw_only=True):
    """The deadline of a drain has passed.

    Attributes:
        worker: Whose drain it was.
        tasks_left: How many tasks it had left. Version 1 called it ``tasks``, which elsewhere are ids.
    """

    kind: ClassVar[Kind] = Kind.SCHEDULER
    dataversion: ClassVar[int] = 2
    worker: str
    tasks_left: int


class WorkerUndrained(Payload, frozen=True, kw_only=True):
    """A draining worker gets new tasks again."""

    kind: ClassVar[Kind] = Kind.SCHEDULER
    worker: str


class LoadReported(Payload, frozen=True, kw_only=True):
    """A worker's load changed by what matters; this event expires."""

    kind: ClassVar[Kind] = Kind.LOAD
    worker: str
    load: float
