"""A worker's membership of the cluster, without any I/O: what it asks when, and what the user is told.

    state          input           next state     what follows
    out            start           joining        join
    joining        joined          in service     told: joined, or rejoined; what is run is handed back; a
                                                  drain that the cluster forgot is asked for again; report
    joining        denied          out            whoever waits for the start is told; for the first time only
    in service     kept            in service     report; what could not be delivered before
    in service     drains          draining       told: drain asked; at its deadline: move tasks
    draining       kept            in service     told: drain ended
    draining       drains          draining       report; what could not be delivered before
    out of reach   kept            in service     told: back in reach; as above
    out of reach   drains          draining       told: back in reach; as above
    any of three   silence         out of reach   told: out of reach; the worker goes on
    any of three   unknown         joining        told: lost; join; the worker goes on
    all but out    quit            quitting       quit
    out            quit            gone
    quitting       left            gone           nothing more

Rules beside the table
    One beat at a time, the next one a second after the last: beats do not pile up, and whoever was asleep
    sends one.
    "silence" is a beat without an answer, "unknown" a beat or another request that is answered by a cluster
    which does not know the worker.  What is answered to requests from before that counts for nothing.
    While it joins, a refusal is no end but for the first time: the worker says so and tries again.
    What the cluster is told of tasks, and when, is the matter of `deliveries`.
    A task that is another's now, which a worker is told when it hands it back or says that it is there, is
    told as released, once, and is not run any more.
    A drain outlives a loss: the cluster asked for it and has only forgotten that.
    Who quits or is gone asks and is told nothing any more.

Each method takes one input and returns its effects, in order, for the shell to carry out.  Times are seconds
of a monotonic clock.
"""

from enum import Enum, auto
from typing import Any, Final

from roomledger.domain.errors import Code, Refusal
from roomledger.domain.membership import check_name
from roomledger.runtime.calls import RequestMeta
from roomledger.sdk.cluster import KeptAlive
from roomledger.sdk.deliveries import Deliveries, tasks_of
from roomledger.sdk.draining import Draining
from roomledger.sdk.membership_effects import (
    BackInReach,
    Beat,
    Deny,
    Drain,
    Effect,
    Join,
    Joined,
    LayDown,
    Lost,
    News,
    NotReported,
    OfTasks,
    OutOfReach,
    PickUp,
    Quit,
    Readiness,
    Reject,
    Rejoined,
    Report,
    Request,
    Send,
    TaskReleased,
    Tell,
)

BEAT_S: Final = 1.0
JOIN_AGAIN_S: Final = 0.2
"""How long to wait after a join that was not answered, or refused."""

# -- States and transitions


class State(Enum):
    """Where a membership stands."""

    OUT = auto()
    JOINING = auto()
    IN_SERVICE = auto()
    DRAINING = auto()
    OUT_OF_REACH = auto()
    QUITTING = auto()
    GONE = auto()


class Input(Enum):
    """What moves a membership on."""

    START = auto()
    JOINED = auto()
    DENIED = auto()
    KEPT = auto()
    DRAINS = auto()
    SILENCE = auto()
    UNKNOWN = auto()
    QUIT = auto()
    LEFT = auto()


_MEMBER: Final = {
    Input.KEPT: State.IN_SERVICE,
    Input.DRAINS: State.DRAINING,
    Input.SILENCE: State.OUT_OF_REACH,
    Input.UNKNOWN: State.JOINING,
    Input.QUIT: State.QUITTING,
}

TRANSITIONS: Final[dict[State, dict[Input, State]]] = {
    State.OUT: {Input.START: State.JOINING, Input.QUIT: State.GONE},
    State.JOINING: {
        Input.JOINED: State.IN_SERVICE,
        Input.DENIED: State.OUT,
        Input.QUIT: State.QUITTING,
    },
    State.IN_SERVICE: _MEMBER,
    State.DRAINING: _MEMBER,
    State.OUT_OF_REACH: _MEMBER,
    State.QUITTING: {Input.LEFT: State.GONE},
    State.GONE: {},
}
"""What each state reacts to, and what comes then; anything else changes nothing."""

_IN_TOUCH: Final = frozenset({State.IN_SERVICE, State.DRAINING})

# -- The membership


class Membership:
    """One worker's membership.

    Attributes:
        state: Where it stands.
        due: When `tick` is to be called; None while an answer is waited for.
    """

    def __init__(self) -> None:
        self.state = State.OUT
        self.due: float | None = None
        self._deliveries = Deliveries()
        self._draining = Draining()
        self._term = 0
        self._beaten = 0.0
        self._in_reach = True
        self._reporting = False
        self._reported = True
        self._readiness: Readiness | None = None
        self._readiness_known = True

    @property
    def running(self) -> tuple[str, ...]:
        """The tasks that the worker runs."""
        return tuple(self._deliveries.running)

    @property
    def draining(self) -> bool:
        """Whether the worker gets no new tasks."""
        return self._draining.on

    @property
    def undelivered(self) -> int:
        """Of how many tasks the cluster does not know yet what it should."""
        return self._deliveries.undelivered

    # -- What the user wants

    def start(self) -> list[Effect]:
        """Join."""
        if not self._move(Input.START):
            return []
        return [Send(Join(self._term))]

    def pick_up(self, task: str, meta: RequestMeta | None = None) -> list[Effect]:
        """Run a task from now on.

        Raises:
            Refusal: What is named is no task.
        """
        return self._want(task, PickUp, meta)

    def lay_down(self, task: str, meta: RequestMeta | None = None) -> list[Effect]:
        """Run a task no more.

        Raises:
            Refusal: What is named is no task.
        """
        return self._want(task, LayDown, meta)

    def reject(self, task: str, meta: RequestMeta | None = None) -> list[Effect]:
        """Give back a task that was reserved for this worker, and that it cannot take.

        Raises:
            Refusal: What is named is no task.
        """
        return self._want(task, Reject, meta)

    def report_state(self, readiness: Readiness) -> list[Effect]:
        """Report another state, now and whenever the worker joins again."""
        if readiness == self._readiness:
            return []
        self._readiness, self._readiness_known = readiness, False
        return self._report()

    def drain(self, now: float, deadline_ms: int | None = None) -> list[Effect]:
        """Ask for no new tasks."""
        self._draining.want(now, deadline_ms)
        if self.state not in _IN_TOUCH:
            return []
        return list(map(Send, self._draining.next(self._term, now, awaited=True)))

    def quit(self) -> list[Effect]:
        """Leave the cluster."""
        if not self._move(Input.QUIT):
            return []
        self.due = None
        return [Send(Quit(self._term))] if self.state is State.QUITTING else []

    # -- What comes from the clock and from the cluster

    def tick(self, now: float) -> list[Effect]:
        """Take note of the time."""
        if self.due is None or now < self.due:
            return []
        self.due = None
        if self.state is State.JOINING:
            return [Send(Join(self._term))]
        self._beaten = now
        return [Send(Beat(self._term))]

    def replied(self, request: Request, reply: Any, now: float) -> list[Effect]:  # noqa: ANN401  - by request
        """Take the reply to a request: to a beat `KeptAlive`, to a picking up the ids that are another's."""
        if self._over(request):
            return self._go_on(request)
        effects: list[Effect] = []
        match request:
            case Join():
                effects = self._joined(now)
            case Beat():
                effects = self._kept(reply, now)
            case Report():
                effects = self._has_reported(request)
            case Drain():
                effects = self._drains(self._draining.taken(self.running, now))
            case PickUp() | LayDown() | Reject():
                self._deliveries.delivered(request)
                released = self._deliveries.released(reply) if isinstance(request, PickUp) else []
                effects = [Tell(TaskReleased(task)) for task in released]
                effects += self._deliver(request, late=True)
        return effects

    def refused(self, request: Request, refusal: Refusal, now: float) -> list[Effect]:
        """Take the refusal of a request; that nobody answered it is one too."""
        if self._over(request):
            return self._go_on(request)
        if refusal.code is Code.NO_SUCH_WORKER and not isinstance(request, Join):
            if isinstance(request, OfTasks):
                self._deliveries.failed(request)
            return self._lost()
        for_good = refusal.retry_after_ms is None
        effects: list[Effect] = []
        match request:
            case Join():
                effects = self._join_refused(request, refusal, now, for_good=for_good)
            case Beat():
                self.due = max(now, self._beaten + BEAT_S)
                effects = self._silence(str(refusal))
            case Report():
                effects = self._not_reported(str(refusal))
            case Drain():
                self._draining.failed(for_good=for_good)
                effects = [Deny(request, refusal)] if for_good and request.awaited else []
            case PickUp() | LayDown() | Reject():
                effects = self._not_delivered(request, refusal, for_good=for_good)
        return effects

    # -- Joining

    def _joined(self, now: float) -> list[Effect]:
        effects = self._reach()
        self._move(Input.JOINED)
        self.due = now + BEAT_S
        again = self._term > 0
        effects.append(Tell(Rejoined(self.running) if again else Joined()))
        effects += map(Send, self._deliveries.late(self._term))
        effects += self._drain_again(now)
        self._readiness_known = self._readiness is None
        self._reporting = False
        return [*effects, *self._report()]

    def _join_refused(self, request: Join, refusal: Refusal, now: float, *, for_good: bool) -> list[Effect]:
        if for_good and self._term == 0:
            self._move(Input.DENIED)
            return [Deny(request, refusal)]
        self.due = now + JOIN_AGAIN_S
        return self._unreach(str(refusal))

    def _lost(self) -> list[Effect]:
        if not self._move(Input.UNKNOWN):
            return []
        effects = self._reach()
        self._term += 1
        self.due = None
        self._deliveries.forgotten()
        self._draining.forgotten()
        return [*effects, Tell(Lost()), Send(Join(self._term))]

    # -- Being there

    def _kept(self, kept: KeptAlive, now: float) -> list[Effect]:
        if kept.status == "who_are_you":
            return self._lost()
        self.due = max(now, self._beaten + BEAT_S)
        effects = self._reach()
        effects += map(Tell, map(TaskReleased, self._deliveries.taken(kept.released)))
        if kept.draining:
            effects += self._drains(self._draining.asked(kept.move_in_ms, self.running, now))
        else:
            self._move(Input.KEPT)
            effects += map(Tell, self._draining.ended())
            effects += self._drain_again(now)
        effects += map(Send, self._deliveries.late(self._term))
        return [*effects, *self._report()]

    def _silence(self, why: str) -> list[Effect]:
        self._move(Input.SILENCE)
        return self._unreach(why)

    def _reach(self) -> list[Effect]:
        in_reach, self._in_reach = self._in_reach, True
        return [] if in_reach else [Tell(BackInReach())]

    def _unreach(self, why: str) -> list[Effect]:
        in_reach, self._in_reach = self._in_reach, False
        return [Tell(OutOfReach(why))] if in_reach else []

    # -- Reports

    def _report(self) -> list[Effect]:
        if self._reporting or self.state not in _IN_TOUCH:
            return []
        self._reporting = True
        return [Send(Report(self._term, None if self._readiness_known else self._readiness))]

    def _has_reported(self, request: Report) -> list[Effect]:
        self._reporting, self._reported = False, True
        if not self._readiness_known and request.state == self._readiness:
            self._readiness_known = True
        return [] if self._readiness_known else self._report()

    def _not_reported(self, why: str) -> list[Effect]:
        self._reporting = False
        reported, self._reported = self._reported, False
        return [Tell(NotReported(why))] if reported else []

    # -- Draining

    def _drains(self, news: list[News]) -> list[Effect]:
        self._move(Input.DRAINS)
        return list(map(Tell, news))

    def _drain_again(self, now: float) -> list[Effect]:
        return list(map(Send, self._draining.next(self._term, now)))

    # -- Tasks

    def _want(self, task: str, request: type[OfTasks], meta: RequestMeta | None) -> list[Effect]:
        check_name(task, "task")
        if self.state in {State.QUITTING, State.GONE}:
            return []
        self._deliveries.want(task, request, meta)
        if self.state not in _IN_TOUCH:
            return []
        return list(map(Send, self._deliveries.next(task, self._term, awaited=True)))

    def _deliver(self, request: OfTasks, *, late: bool = False) -> list[Effect]:
        """Go on with the tasks that a request was about; and with others if the cluster took it."""
        if self.state not in _IN_TOUCH:
            return []
        found = [each for task in tasks_of(request) for each in self._deliveries.next(task, self._term)]
        if late and self._deliveries.has_room:
            found += self._deliveries.late(self._term)
        return list(map(Send, found))

    def _not_delivered(self, request: OfTasks, refusal: Refusal, *, for_good: bool) -> list[Effect]:
        if not (for_good and request.awaited):
            self._deliveries.failed(request)
            return []
        self._deliveries.undo(request)
        return [*self._deliver(request), Deny(request, refusal)]

    # -- Moving on

    def _over(self, request: Request) -> bool:
        """Return whether an answer to this says nothing any more."""
        return request.term != self._term or self.state in {State.QUITTING, State.GONE}

    def _go_on(self, request: Request) -> list[Effect]:
        """Do what is left to do after such an answer."""
        if isinstance(request, Quit):
            self._move(Input.LEFT)
        if not isinstance(request, OfTasks):
            return []
        self._deliveries.failed(request)
        return self._deliver(request)

    def _move(self, happened: Input) -> bool:
        """Return whether there is such a transition from here."""
        target = TRANSITIONS[self.state].get(happened)
        if target is None:
            return False
        self.state = target
        return True
