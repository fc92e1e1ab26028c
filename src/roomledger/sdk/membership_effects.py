"""What a worker's membership wants done: what the cluster is to be asked, and what the user is to be told."""

from enum import IntEnum
from typing import Any

from msgspec import Struct

from roomledger.domain.errors import Refusal
from roomledger.runtime.calls import RequestMeta


class Readiness(IntEnum):
    """Whether a worker can be given tasks; only one that is ready is."""

    NOT_READY = 0
    INITIALIZING = 1
    READY = 2


# -- Requests.  Their `term` counts how often the cluster has given the worker up: what is answered to an
# -- earlier term says nothing about the present one.


class Join(Struct, frozen=True):
    """Join the cluster."""

    term: int


class Beat(Struct, frozen=True):
    """Say that the worker is there."""

    term: int


class Report(Struct, frozen=True):
    """Report the load, and before it the state where there is one to report."""

    term: int
    state: Readiness | None = None


class PickUp(Struct, frozen=True):
    """Say that the worker runs these tasks.

    Attributes:
        term: See above.
        tasks: Their ids.
        meta: What the user said of it, where there is one task.
        awaited: Whether the user waits for the answer.
    """

    term: int
    tasks: tuple[str, ...]
    meta: RequestMeta | None = None
    awaited: bool = False


class LayDown(Struct, frozen=True):
    """Say that the worker runs a task no more."""

    term: int
    task: str
    meta: RequestMeta | None = None
    awaited: bool = False


class Reject(Struct, frozen=True):
    """Give a reservation back."""

    term: int
    task: str
    meta: RequestMeta | None = None
    awaited: bool = False


class Drain(Struct, frozen=True):
    """Ask for no new tasks, and to be told to move those that it has after a time."""

    term: int
    deadline_ms: int | None = None
    awaited: bool = False


class Quit(Struct, frozen=True):
    """Leave the cluster."""

    term: int


OfTasks = PickUp | LayDown | Reject
Request = Join | Beat | Report | OfTasks | Drain | Quit

# -- News


class Joined(Struct, frozen=True):
    """The worker belongs to the cluster, for the first time."""


class Lost(Struct, frozen=True):
    """The cluster had given the worker up and freed its tasks; the worker goes on and joins again."""


class Rejoined(Struct, frozen=True):
    """The worker belongs to the cluster again, and hands these tasks back, which it still runs."""

    tasks: tuple[str, ...]


class TaskReleased(Struct, frozen=True):
    """A task is another worker's now: what this one did of it is to end."""

    task: str


class DrainAsked(Struct, frozen=True):
    """The worker gets no new tasks; those that it has go on.

    Attributes:
        move_in_ms: The time until it is to move them; None if nobody set one.
    """

    move_in_ms: int | None


class MoveTasks(Struct, frozen=True):
    """The deadline of a drain has come: these tasks are to be moved to other workers."""

    tasks: tuple[str, ...]


class DrainEnded(Struct, frozen=True):
    """The worker gets new tasks again."""


class OutOfReach(Struct, frozen=True):
    """The cluster does not answer, or does not take the worker back; the worker goes on without it."""

    why: str


class BackInReach(Struct, frozen=True):
    """The cluster answers again; what it was not told is told now."""


class NotReported(Struct, frozen=True):
    """The cluster answers, but does not take the worker's reports at the moment."""

    why: str


News = (
    Joined
    | Lost
    | Rejoined
    | TaskReleased
    | DrainAsked
    | MoveTasks
    | DrainEnded
    | OutOfReach
    | BackInReach
    | NotReported
)

# -- Effects


class Send(Struct, frozen=True):
    """Send a request, and come back with `Membership.replied` or `Membership.refused`."""

    request: Any


class Tell(Struct, frozen=True):
    """Tell the user something."""

    news: Any


class Deny(Struct, frozen=True):
    """Tell whoever waits for this request that it is refused for good."""

    request: Any
    refusal: Refusal


Effect = Send | Tell | Deny
