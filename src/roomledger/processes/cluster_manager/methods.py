"""What the active manager answers: the methods of the wire, as commands and queries of its rules.

The methods that are called often return the writer's `Pending` and need no task; their replies are made of
its answer by a function beside.
"""

import asyncio
from collections.abc import Awaitable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, Literal

import msgspec

from roomledger.domain import membership, placement
from roomledger.domain.errors import Code, Refusal
from roomledger.domain.explanation import Explanation
from roomledger.domain.membership import Command
from roomledger.domain.worker import Worker
from roomledger.processes.cluster_manager.active import Active, Desk
from roomledger.runtime.calls import Method, Nothing
from roomledger.runtime.commands import Answer, Meta, Query
from roomledger.runtime.pending import Pending
from roomledger.sdk import cluster
from roomledger.sdk.arguments import PreferenceArgument
from roomledger_events.tasks import Preference

Deciding = Pending[Answer]

_ANY: Final = Preference()
_ANY_ASKED: Final = PreferenceArgument()
_NOTHING: Final = Nothing()
TOGETHER: Final = 200
"""The most tasks that are picked up by one commit, which is limited."""
_HEARD: Final = Meta(actor="worker")


def methods(active: Active) -> Mapping[str, Method]:
    """Return the methods by name."""
    answers = _Methods(active)
    return {
        "join": Method(cluster.Join, answers.join),
        "quit": Method(cluster.OfWorker, answers.quit),
        "keep_alive": Method(cluster.OfWorker, answers.keep_alive),
        "report_state": Method(cluster.ReportState, answers.report_state, _nothing),
        "report_load": Method(cluster.ReportLoad, answers.report_load, _nothing),
        "pick_up_tasks": Method(cluster.PickUpTasks, answers.pick_up_tasks, _value),
        "lay_down_task": Method(cluster.OfWorkerAndTask, answers.lay_down_task, _nothing),
        "schedule": Method(cluster.Schedule, answers.schedule, _scheduled),
        "unschedule": Method(cluster.OfWorkerAndTask, answers.unschedule, _nothing),
        "extend": Method(cluster.Extend, answers.extend),
        "drain": Method(cluster.Drain, answers.drain),
        "undrain": Method(cluster.OfWorker, answers.undrain),
        "get_worker": Method(cluster.OfWorker, answers.get_worker),
        "get_workers": Method(cluster.GetWorkers, answers.get_workers),
        "get_tasks": Method(cluster.OfWorker, answers.get_tasks),
        "get_scheduled": Method(cluster.OfTask, answers.get_scheduled),
        "explain": Method(cluster.OfTask, answers.explain),
        "digest": Method(cluster.Digests, answers.digest),
    }


class _Methods:
    """Turns requests into commands, and answers into replies."""

    def __init__(self, active: Active) -> None:
        self._active = active

    # -- Workers

    async def join(self, request: cluster.Join, meta: Meta) -> cluster.Joined:
        command = membership.Join(request.worker, request.info.plain())
        answer = await self._active.join(request.purpose, command, meta)
        return cluster.Joined(sequence=answer.sequence)

    async def quit(self, request: cluster.OfWorker, meta: Meta) -> Nothing:
        desk = self._active.desk_of(request.worker)
        if desk is not None:
            await desk.decide(membership.Quit(request.worker), meta)
            desk.liveness.forget(request.worker)
        return Nothing()

    def keep_alive(self, request: cluster.OfWorker, _: Meta) -> Awaitable[cluster.KeptAlive]:
        desk = self._active.desk_of(request.worker)
        if desk is None:
            return Pending.known(cluster.KeptAlive(status="who_are_you", draining=False))
        self._active.hear(desk, request.worker)
        worker = desk.writer.state.workers[request.worker]
        if worker.taken:
            # That a task is another's is told when it is in the log, and not before.
            return self._kept_alive(desk, request.worker)
        return Pending.known(_kept(worker))

    @staticmethod
    async def _kept_alive(desk: Desk, worker: str) -> cluster.KeptAlive:
        now = datetime.now(UTC)
        answer = await desk.decide(Query(lambda state: placement.taken_from(state, worker, now)), _HEARD)
        known = desk.writer.state.workers.get(worker)
        if known is None:
            return cluster.KeptAlive(status="who_are_you", draining=False)
        return _kept(known, answer.value)

    def report_state(self, request: cluster.ReportState, meta: Meta) -> Deciding:
        return self._of(request.worker, membership.ReportState(request.worker, request.state), meta)

    def report_load(self, request: cluster.ReportLoad, meta: Meta) -> Deciding:
        return self._of(request.worker, membership.ReportLoad(request.worker, request.load), meta)

    async def drain(self, request: cluster.Drain, meta: Meta) -> cluster.Draining:
        command = membership.Drain(request.worker, request.deadline_ms)
        answer = await self._of(request.worker, command, meta)
        return cluster.Draining(tasks=answer.value.tasks)

    async def undrain(self, request: cluster.OfWorker, meta: Meta) -> cluster.Draining:
        answer = await self._of(request.worker, membership.Undrain(request.worker), meta)
        return cluster.Draining(tasks=answer.value.tasks)

    async def get_worker(self, request: cluster.OfWorker, meta: Meta) -> cluster.WorkerView:
        worker = request.worker
        desk = self._desk_of(worker)
        answer = await desk.decide(Query(lambda state: membership.worker_view(state, worker)), meta)
        view: membership.WorkerView = answer.value
        return cluster.WorkerView(
            worker=view.worker,
            purpose=view.purpose,
            state=view.state,
            load=view.load,
            effective_load=view.effective_load,
            info=view.info,
            tasks=tuple(view.tasks),
            reservations=tuple(view.reservations),
            draining=view.draining,
            last_seen=desk.liveness.last_seen(worker),
        )

    async def get_workers(self, request: cluster.GetWorkers, meta: Meta) -> cluster.Workers:
        every = request.purpose == "all"
        desks = list(self._active.desks.values()) if every else [self._active.desk(request.purpose)]
        found: list[str] = []
        for desk in desks:
            found += (await desk.decide(Query(membership.workers_in_joining_order), meta)).value
        return cluster.Workers(workers=tuple(found))

    # -- Tasks

    def pick_up_tasks(self, request: cluster.PickUpTasks, meta: Meta) -> Awaitable[Answer]:
        if len(request.tasks) > TOGETHER:
            return self._pick_up_many(request, meta)
        return self._of(request.worker, placement.PickUpTasks(request.worker, request.tasks), meta)

    async def _pick_up_many(self, request: cluster.PickUpTasks, meta: Meta) -> Answer:
        """Pick up more tasks than go into one commit; who asks again after a failure has the rest done."""
        deciding = []
        for start in range(0, len(request.tasks), TOGETHER):
            command = placement.PickUpTasks(request.worker, request.tasks[start : start + TOGETHER])
            part = None if meta.command is None else f"{meta.command}/{start}"
            named = msgspec.structs.replace(meta, command=part, causation=meta.causation or meta.command)
            deciding.append(self._of(request.worker, command, named))
        answers: list[Answer] = await asyncio.gather(*deciding)
        released = [task for answer in answers for task in answer.value.released]
        return Answer(placement.PickedUp(tuple(released)), answers[-1].sequence, answers[-1].place)

    def lay_down_task(self, request: cluster.OfWorkerAndTask, meta: Meta) -> Pending[Any]:
        return self._of_known(request.worker, placement.LayDownTask(request.worker, request.task), meta)

    def schedule(self, request: cluster.Schedule, meta: Meta) -> Deciding:
        preference = _ANY if request.preference == _ANY_ASKED else request.preference.plain()
        command = placement.Schedule(request.task, preference, request.reserve_ms)
        return self._active.desk(request.purpose).decide(command, meta)

    def unschedule(self, request: cluster.OfWorkerAndTask, meta: Meta) -> Pending[Any]:
        return self._of_known(request.worker, placement.Unschedule(request.worker, request.task), meta)

    async def extend(self, request: cluster.Extend, meta: Meta) -> cluster.Extended:
        command = placement.Extend(request.task, request.reserve_ms)
        answer = await self._active.desk(request.purpose).decide(command, meta)
        return cluster.Extended(expires_at=answer.value.expires_at, sequence=answer.sequence)

    async def get_tasks(self, request: cluster.OfWorker, meta: Meta) -> cluster.TasksOfWorker:
        worker = request.worker
        answer = await self._of(worker, Query(lambda state: placement.tasks_of(state, worker)), meta)
        return cluster.TasksOfWorker(tasks=tuple(answer.value))

    async def get_scheduled(self, request: cluster.OfTask, meta: Meta) -> cluster.TaskView:
        task = request.task
        desk = self._active.desk(request.purpose)
        answer = await desk.decide(Query(lambda state: placement.scheduled(state, task)), meta)
        view: placement.TaskView = answer.value
        state: Literal["running", "reserved"] = "running" if view.state == "running" else "reserved"
        return cluster.TaskView(worker=view.worker, state=state, expires_at=view.expires_at)

    async def explain(self, request: cluster.OfTask, meta: Meta) -> Explanation:
        self._active.desk(request.purpose)
        return await self._active.explain(request.purpose, request.task, meta)

    async def digest(self, _: cluster.Digests, __: Meta) -> cluster.StateDigests:
        return await self._active.digests()

    # -- Whose

    def _desk_of(self, worker: str) -> Desk:
        desk = self._active.desk_of(worker)
        if desk is None:
            raise Refusal(Code.NO_SUCH_WORKER, f"no worker {worker} is known")
        return desk

    def _of(self, worker: str, command: Any, meta: Meta) -> Deciding:  # noqa: ANN401  - a command or query
        return self._desk_of(worker).decide(command, meta)

    def _of_known(self, worker: str, command: Command, meta: Meta) -> Pending[Any]:
        """Have it decided, where the worker is known; of one that is not there is nothing to do."""
        desk = self._active.desk_of(worker)
        return Pending.known(None) if desk is None else desk.decide(command, meta)


def _kept(worker: Worker, released: tuple[str, ...] = ()) -> cluster.KeptAlive:
    move_in_ms = None if worker.drain_until is None else _left_ms(worker.drain_until)
    return cluster.KeptAlive(status="ok", draining=worker.draining, move_in_ms=move_in_ms, released=released)


def _nothing(_: object) -> Nothing:
    return _NOTHING


def _value(answer: Answer) -> object:
    return answer.value


def _scheduled(answer: Answer) -> cluster.Scheduled:
    scheduled: placement.Scheduled = answer.value
    return cluster.Scheduled(
        worker=scheduled.worker,
        info=scheduled.info,
        expires_at=scheduled.expires_at,
        sequence=answer.sequence,
    )


def _left_ms(deadline: datetime) -> int:
    return max(0, round((deadline - datetime.now(UTC)).total_seconds() * 1000))
