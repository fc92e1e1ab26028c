"""What the active manager answers: the methods of the wire, as commands and queries of its rules."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal

from roomledger.domain import membership, placement
from roomledger.domain.errors import Code, Refusal
from roomledger.processes.cluster_manager.active import Active, Desk
from roomledger.runtime.calls import Method, Nothing
from roomledger.runtime.commands import Answer, Meta, Query
from roomledger.sdk import cluster


def methods(active: Active) -> Mapping[str, Method]:
    """Return the methods by name."""
    answers = _Methods(active)
    return {
        "join": Method(cluster.Join, answers.join),
        "quit": Method(cluster.OfWorker, answers.quit),
        "keep_alive": Method(cluster.OfWorker, answers.keep_alive),
        "report_state": Method(cluster.ReportState, answers.report_state),
        "report_load": Method(cluster.ReportLoad, answers.report_load),
        "pick_up_tasks": Method(cluster.PickUpTasks, answers.pick_up_tasks),
        "lay_down_task": Method(cluster.OfWorkerAndTask, answers.lay_down_task),
        "schedule": Method(cluster.Schedule, answers.schedule),
        "unschedule": Method(cluster.OfWorkerAndTask, answers.unschedule),
        "extend": Method(cluster.Extend, answers.extend),
        "drain": Method(cluster.Drain, answers.drain),
        "undrain": Method(cluster.OfWorker, answers.undrain),
        "get_worker": Method(cluster.OfWorker, answers.get_worker),
        "get_workers": Method(cluster.GetWorkers, answers.get_workers),
        "get_tasks": Method(cluster.OfWorker, answers.get_tasks),
        "get_scheduled": Method(cluster.OfTask, answers.get_scheduled),
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

    async def keep_alive(self, request: cluster.OfWorker, _: Meta) -> cluster.KeptAlive:
        desk = self._active.desk_of(request.worker)
        if desk is None:
            return cluster.KeptAlive(status="who_are_you", draining=False)
        self._active.hear(desk, request.worker)
        worker = desk.writer.state.workers[request.worker]
        return cluster.KeptAlive(
            status="ok",
            draining=worker.draining,
            move_in_ms=None if worker.drain_until is None else _left_ms(worker.drain_until),
        )

    async def report_state(self, request: cluster.ReportState, meta: Meta) -> Nothing:
        await self._of(request.worker, membership.ReportState(request.worker, request.state), meta)
        return Nothing()

    async def report_load(self, request: cluster.ReportLoad, meta: Meta) -> Nothing:
        await self._of(request.worker, membership.ReportLoad(request.worker, request.load), meta)
        return Nothing()

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

    async def pick_up_tasks(self, request: cluster.PickUpTasks, meta: Meta) -> placement.PickedUp:
        command = placement.PickUpTasks(request.worker, request.tasks)
        picked_up: placement.PickedUp = (await self._of(request.worker, command, meta)).value
        return picked_up

    async def lay_down_task(self, request: cluster.OfWorkerAndTask, meta: Meta) -> Nothing:
        desk = self._active.desk_of(request.worker)
        if desk is not None:
            await desk.decide(placement.LayDownTask(request.worker, request.task), meta)
        return Nothing()

    async def schedule(self, request: cluster.Schedule, meta: Meta) -> cluster.Scheduled:
        preference = request.preference.plain()
        command = placement.Schedule(request.task, preference, request.reserve_ms)
        answer = await self._active.desk(request.purpose).decide(command, meta)
        scheduled: placement.Scheduled = answer.value
        return cluster.Scheduled(
            worker=scheduled.worker,
            info=scheduled.info,
            expires_at=scheduled.expires_at,
            sequence=answer.sequence,
        )

    async def unschedule(self, request: cluster.OfWorkerAndTask, meta: Meta) -> Nothing:
        desk = self._active.desk_of(request.worker)
        if desk is not None:
            await desk.decide(placement.Unschedule(request.worker, request.task), meta)
        return Nothing()

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

    # -- Whose

    def _desk_of(self, worker: str) -> Desk:
        desk = self._active.desk_of(worker)
        if desk is None:
            raise Refusal(Code.NO_SUCH_WORKER, f"no worker {worker} is known")
        return desk

    async def _of(self, worker: str, command: Any, meta: Meta) -> Answer:  # noqa: ANN401  - a command or query
        return await self._desk_of(worker).decide(command, meta)


def _left_ms(deadline: datetime) -> int:
    return max(0, round((deadline - datetime.now(UTC)).total_seconds() * 1000))
