"""The service ``cluster-manager``: its methods' arguments and replies, and a client for it."""

from datetime import datetime
from typing import Annotated, Final, Literal, TypeVar

import msgspec
from nats.aio.client import Client

from roomledger.domain.errors import Code, Refusal
from roomledger.domain.explanation import Explanation
from roomledger.domain.scheduler_digest import StateDigest
from roomledger.runtime.calls import IMPATIENT_S, Caller, Nothing, Reply, Request, RequestMeta
from roomledger.sdk.arguments import InfoArgument, Load, Milliseconds, PreferenceArgument, Tasks
from roomledger_events.identifiers import Id
from roomledger_events.tasks import Preference
from roomledger_events.workers import WorkerInfo

PREFIX: Final = "rpc.cluster"
EXPLAINED_WITHIN_S: Final = 30.0
"""How long an explanation may take: it is computed from the log's beginning on."""
Argument = TypeVar("Argument", InfoArgument, PreferenceArgument)


class Join(Request, kw_only=True, frozen=True):
    """``join``."""

    purpose: Id
    worker: Id
    info: InfoArgument


class OfWorker(Request, kw_only=True, frozen=True):
    """``quit``, ``keep_alive``, ``undrain``, ``get_worker`` and ``get_tasks``."""

    worker: Id


class ReportState(Request, kw_only=True, frozen=True):
    """``report_state``."""

    worker: Id
    state: Annotated[int, msgspec.Meta(ge=0, le=2)]


class ReportLoad(Request, kw_only=True, frozen=True):
    """``report_load``."""

    worker: Id
    load: Load


class PickUpTasks(Request, kw_only=True, frozen=True):
    """``pick_up_tasks``."""

    worker: Id
    tasks: Tasks


class OfWorkerAndTask(Request, kw_only=True, frozen=True):
    """``lay_down_task`` and ``unschedule``."""

    worker: Id
    task: Id


class Schedule(Request, kw_only=True, frozen=True):
    """``schedule``."""

    purpose: Id
    task: Id
    preference: PreferenceArgument = PreferenceArgument()
    reserve_ms: Milliseconds | None = None


class Extend(Request, kw_only=True, frozen=True):
    """``extend``."""

    purpose: Id
    task: Id
    reserve_ms: Milliseconds


class Drain(Request, kw_only=True, frozen=True):
    """``drain``."""

    worker: Id
    deadline_ms: Annotated[int, msgspec.Meta(ge=0, le=86_400_000)] | None = None


class GetWorkers(Request, kw_only=True, frozen=True):
    """``get_workers``: of one purpose, or of ``all``."""

    purpose: Id


class OfTask(Request, kw_only=True, frozen=True):
    """``get_scheduled``."""

    purpose: Id
    task: Id


class Joined(msgspec.Struct, kw_only=True, frozen=True):
    """The reply to ``join``."""

    state: Literal["in_service"] = "in_service"
    sequence: int


class KeptAlive(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True):
    """The reply to ``keep_alive``.

    Attributes:
        status: Whether the cluster knows the worker.
        draining: Whether the worker gets no new tasks.
        move_in_ms: The time until it is to move those that it has, 0 from then on; None without a deadline.
        released: Tasks that the worker ran and that are another's now; it is told for a minute.
    """

    status: Literal["ok", "who_are_you"]
    draining: bool
    move_in_ms: int | None = None
    released: tuple[str, ...] = ()


class PickedUp(msgspec.Struct, kw_only=True, frozen=True):
    """The reply to ``pick_up_tasks``: all are the worker's, except those `released`, which are another's."""

    released: tuple[str, ...] = ()


class Scheduled(msgspec.Struct, kw_only=True, frozen=True):
    """The reply to ``schedule``."""

    worker: str
    info: WorkerInfo
    expires_at: datetime | None
    sequence: int


class Extended(msgspec.Struct, kw_only=True, frozen=True):
    """The reply to ``extend``."""

    expires_at: datetime | None
    sequence: int


class WorkerView(msgspec.Struct, kw_only=True, frozen=True):
    """The reply to ``get_worker``."""

    worker: str
    purpose: str
    state: int | None
    load: float | None
    effective_load: float | None
    info: WorkerInfo
    tasks: tuple[str, ...]
    reservations: tuple[str, ...]
    draining: bool
    last_seen: datetime | None


class Workers(msgspec.Struct, kw_only=True, frozen=True):
    """The reply to ``get_workers``: ids in joining order."""

    workers: tuple[str, ...]


class Digests(Request, kw_only=True, frozen=True):
    """``digest``."""


class Digested(msgspec.Struct, kw_only=True, frozen=True):
    """The digest of a purpose's state, and the last sequence of the log in it."""

    sequence: int
    digest: StateDigest


class StateDigests(msgspec.Struct, kw_only=True, frozen=True):
    """The reply to ``digest``: purpose → what its state is."""

    manager: str
    purposes: dict[str, Digested]


class TasksOfWorker(msgspec.Struct, kw_only=True, frozen=True):
    """The reply to ``get_tasks``."""

    tasks: tuple[str, ...]


class Draining(msgspec.Struct, kw_only=True, frozen=True):
    """The reply to ``drain`` and ``undrain``: how many tasks the worker has."""

    tasks: int


class TaskView(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True):
    """The reply to ``get_scheduled``."""

    worker: str
    state: Literal["reserved", "running"]
    expires_at: datetime | None = None


class Cluster:
    """Asks the cluster manager, whichever is active.

    All methods raise `Refusal` with the codes of the wire protocol.
    """

    def __init__(self, broker: Client, *, actor: str, prefix: str = PREFIX) -> None:
        self._caller = Caller(broker, actor=actor, first_attempts=IMPATIENT_S)
        self._prefix = prefix

    async def join(self, purpose: str, worker: str, info: WorkerInfo) -> Joined:
        """Join as a worker."""
        request = Join(purpose=purpose, worker=worker, info=_argument(info, InfoArgument))
        return await self._call("join", request, Joined)

    async def quit(self, worker: str, *, time_limit: float | None = None) -> None:
        """Leave; the worker's tasks are freed."""
        await self._call("quit", OfWorker(worker=worker), Nothing, time_limit=time_limit)

    async def keep_alive(self, worker: str, *, time_limit: float | None = None) -> KeptAlive:
        """Say that the worker is there."""
        return await self._call("keep_alive", OfWorker(worker=worker), KeptAlive, time_limit=time_limit)

    async def report_state(self, worker: str, state: int) -> None:
        """Report whether the worker is ready: 0 not ready, 1 initializing, 2 ready."""
        await self._call("report_state", ReportState(worker=worker, state=state), Nothing)

    async def report_load(self, worker: str, load: float) -> None:
        """Report the worker's load, 0 to 1."""
        await self._call("report_load", ReportLoad(worker=worker, load=load), Nothing)

    async def pick_up_tasks(
        self, worker: str, tasks: tuple[str, ...], meta: RequestMeta | None = None
    ) -> tuple[str, ...]:
        """Say that the worker runs these tasks, and return those that are another's now."""
        request = PickUpTasks(worker=worker, tasks=tasks, meta=meta)
        return (await self._call("pick_up_tasks", request, PickedUp)).released

    async def lay_down_task(self, worker: str, task: str, meta: RequestMeta | None = None) -> None:
        """Say that the worker no longer runs a task."""
        await self._call("lay_down_task", OfWorkerAndTask(worker=worker, task=task, meta=meta), Nothing)

    async def schedule(
        self,
        purpose: str,
        task: str,
        preference: Preference | None = None,
        *,
        reserve_ms: int | None = None,
        meta: RequestMeta | None = None,
        time_limit: float | None = None,
    ) -> Scheduled:
        """Have a worker reserved for a task, or learn which one has it; `time_limit` is in seconds."""
        argument = _argument(preference or Preference(), PreferenceArgument)
        request = Schedule(purpose=purpose, task=task, preference=argument, reserve_ms=reserve_ms, meta=meta)
        return await self._caller.call(f"{self._prefix}.schedule", request, Scheduled, time_limit=time_limit)

    async def unschedule(self, worker: str, task: str, meta: RequestMeta | None = None) -> None:
        """Give a reservation up."""
        await self._call("unschedule", OfWorkerAndTask(worker=worker, task=task, meta=meta), Nothing)

    async def drain(
        self, worker: str, deadline_ms: int | None = None, meta: RequestMeta | None = None
    ) -> int:
        """Let a worker get no new tasks, and return how many it has; it is to move them by the deadline."""
        request = Drain(worker=worker, deadline_ms=deadline_ms, meta=meta)
        return (await self._call("drain", request, Draining)).tasks

    async def undrain(self, worker: str, meta: RequestMeta | None = None) -> int:
        """Let a worker get new tasks again, and return how many it has."""
        return (await self._call("undrain", OfWorker(worker=worker, meta=meta), Draining)).tasks

    async def get_worker(self, worker: str) -> WorkerView:
        """Return what is known of a worker."""
        return await self._call("get_worker", OfWorker(worker=worker), WorkerView)

    async def get_workers(self, purpose: str = "all") -> tuple[str, ...]:
        """Return the ids of the workers of a purpose, in joining order."""
        return (await self._call("get_workers", GetWorkers(purpose=purpose), Workers)).workers

    async def get_tasks(self, worker: str) -> tuple[str, ...]:
        """Return the tasks that a worker runs."""
        return (await self._call("get_tasks", OfWorker(worker=worker), TasksOfWorker)).tasks

    async def get_scheduled(self, purpose: str, task: str) -> TaskView:
        """Return which worker has a task."""
        return await self._call("get_scheduled", OfTask(purpose=purpose, task=task), TaskView)

    async def explain(self, purpose: str, task: str) -> Explanation:
        """Return why a task went to its worker, or was refused; it is found out from the log."""
        request = OfTask(purpose=purpose, task=task)
        return await self._call("explain", request, Explanation, time_limit=EXPLAINED_WITHIN_S)

    async def digest(self) -> StateDigests:
        """Return what the active manager knows of all purposes, in short, to compare it with the log."""
        return await self._call("digest", Digests(), StateDigests)

    async def _call(
        self, method: str, request: Request, reply: type[Reply], *, time_limit: float | None = None
    ) -> Reply:
        return await self._caller.call(f"{self._prefix}.{method}", request, reply, time_limit=time_limit)


def _argument(value: object, shape: type[Argument]) -> Argument:
    """Return what a request carries of it; what does not fit is refused as the cluster manager would."""
    try:
        return msgspec.convert(value, shape, from_attributes=True)
    except msgspec.ValidationError as error:
        raise Refusal(Code.INVALID_ARGUMENT, str(error)) from error
