"""Events of tasks: reserved, picked up, laid down, refused."""

from datetime import datetime
from typing import ClassVar

import msgspec

from roomledger_events.envelope import Payload
from roomledger_events.subjects import Kind
from roomledger_events.workers import VideoCapacity


class Preference(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """What a task wishes of its worker.

    Attributes:
        isp: The internet service provider of the user.
        region: The region of the user.
        video: The codecs that must be there.
        algorithm: The analytics algorithm that must be there.
    """

    isp: str | None = None
    region: str | None = None
    video: VideoCapacity | None = None
    algorithm: str | None = None


class RunnerUp(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A candidate that came close, with its effective load at the decision."""

    worker: str
    load: float


class Basis(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """The figures of a scheduling decision, enough to explain and to repeat it.

    Attributes:
        sequence: The last sequence that the decider had taken in from the log. What its commit holds before
            comes on top, and so does a commit of the same writer that was on its way then.
        strategy: The strategy's name.
        workers: How many workers the purpose had.
        candidates: How many were left to choose from.
        refused: How many were refused, by rule.
        load: The winner's effective load, before this reservation.
        runners_up: Up to three others, best first.
        draw: The random draw in [0, 1), where the strategy needs one.
    """

    sequence: int
    strategy: str
    workers: int
    candidates: int
    refused: dict[str, int] = {}
    load: float | None = None
    runners_up: tuple[RunnerUp, ...] = ()
    draw: float | None = None


class WorkerReserved(Payload, frozen=True, kw_only=True):
    """A worker was chosen for a task, which is held for it until `expires_at`."""

    kind: ClassVar[Kind] = Kind.SCHEDULER
    task: str
    worker: str
    expires_at: datetime
    reserve_ms: int
    preference: Preference = Preference()
    basis: Basis


class ReservationExtended(Payload, frozen=True, kw_only=True):
    """A task that had its worker already is held for it until a later time."""

    kind: ClassVar[Kind] = Kind.SCHEDULER
    task: str
    worker: str
    reserve_ms: int
    expires_at: datetime | None = None


class ReservationCancelled(Payload, frozen=True, kw_only=True):
    """A reservation was given up before its time."""

    kind: ClassVar[Kind] = Kind.SCHEDULER
    task: str
    worker: str


class ReservationExpired(Payload, frozen=True, kw_only=True):
    """A reservation ran out: nobody had picked the task up."""

    kind: ClassVar[Kind] = Kind.SCHEDULER
    task: str
    worker: str


class TaskPickedUp(Payload, frozen=True, kw_only=True):
    """A worker runs the task. `reserved_for` is named where it was held for another worker."""

    kind: ClassVar[Kind] = Kind.SCHEDULER
    task: str
    worker: str
    reserved_for: str | None = None


class TaskLaidDown(Payload, frozen=True, kw_only=True):
    """A worker no longer runs the task, which is held for it until `expires_at`: the grace to come back."""

    kind: ClassVar[Kind] = Kind.SCHEDULER
    task: str
    worker: str
    expires_at: datetime


class TaskReleased(Payload, frozen=True, kw_only=True):
    """A task is told to have no worker any more, because its worker drains or another one took it."""

    kind: ClassVar[Kind] = Kind.SCHEDULER
    task: str
    worker: str
    reason: str


class SchedulingRefused(Payload, frozen=True, kw_only=True):
    """No worker was found for a task; at most one such event a second for the same task and reason."""

    kind: ClassVar[Kind] = Kind.SCHEDULER
    task: str
    reason: str
    preference: Preference = Preference()
    basis: Basis
