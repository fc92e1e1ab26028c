"""Workers and their tasks: as the cluster manager has them now, and as the log says why."""

import asyncio
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from roomledger.domain.errors import Code, Refusal
from roomledger.domain.explanation import Explanation
from roomledger.processes.management_api.rooms import Rooms
from roomledger.runtime.calls import RequestMeta
from roomledger.runtime.projector import Projector
from roomledger.sdk.cluster import Cluster, TaskView, WorkerView
from roomledger_projections import tokens as projected_tokens
from roomledger_projections.tokens import TOKENS

EVERY: Final = "all"
AT_ONCE: Final = 32
"""How many workers are asked for at once."""


class Workers:
    """The workers of the cluster, and their tasks.

    Args:
        cluster: The manager.
        projector: Keeps what is known.
        rooms: Whose the rooms are that conference workers run.
    """

    def __init__(self, cluster: Cluster, projector: Projector, *, rooms: Rooms) -> None:
        self._cluster = cluster
        self._projector = projector
        self._rooms = rooms

    async def list(self, purpose: str | None, *, page: int, per_page: int) -> tuple[list[WorkerView], int]:
        """Return a page of the workers of a purpose, or of all, in joining order, and how many there are.

        Raises:
            Refusal: The cluster manager does not answer.
        """
        try:
            ids = await self._cluster.get_workers(purpose or EVERY)
        except Refusal as refusal:
            if refusal.code is not Code.NO_SUCH_PURPOSE:
                raise
            ids = ()
        few = asyncio.Semaphore(AT_ONCE)

        async def view(worker: str) -> WorkerView | None:
            async with few:
                try:
                    return await self._cluster.get_worker(worker)
                except Refusal as refusal:
                    if refusal.code is Code.NO_SUCH_WORKER:  # it left just now
                        return None
                    raise

        wanted = ids[(page - 1) * per_page : page * per_page]
        views = await asyncio.gather(*map(view, wanted))
        return [each for each in views if each is not None], len(ids)

    async def get(self, worker: str) -> WorkerView:
        """Return a worker.

        Raises:
            Refusal: There is no such worker, or the cluster manager does not answer.
        """
        return await self._cluster.get_worker(worker)

    async def drain(self, worker: str, deadline_ms: int | None, meta: RequestMeta) -> WorkerView:
        """Let a worker get no new tasks, and return it.

        Raises:
            Refusal: There is no such worker, or the cluster manager does not answer.
        """
        await self._cluster.drain(worker, deadline_ms, meta)
        return await self._cluster.get_worker(worker)

    async def undrain(self, worker: str, meta: RequestMeta) -> WorkerView:
        """Let a worker get new tasks again, and return it.

        Raises:
            Refusal: There is no such worker, or the cluster manager does not answer.
        """
        await self._cluster.undrain(worker, meta)
        return await self._cluster.get_worker(worker)

    async def task(self, purpose: str, task: str, *, seen_by: str | None) -> TaskView:
        """Return which worker has a task.

        Args:
            purpose: The task's purpose.
            task: Its id.
            seen_by: The service that may see those of its own rooms and tokens only; None sees all.

        Raises:
            Refusal: There is no such task, or the cluster manager does not answer.
            EventStoreError: Whose it is cannot be told, because the log cannot be read.
        """
        if seen_by is not None and not await self._is_of(seen_by, purpose, task):
            raise _no_such_task(purpose, task)
        try:
            return await self._cluster.get_scheduled(purpose, task)
        except Refusal as refusal:
            if refusal.code is Code.NO_SUCH_PURPOSE:
                raise _no_such_task(purpose, task) from None
            raise

    async def explanation(self, purpose: str, task: str, *, seen_by: str | None) -> Explanation:
        """Return why a task went to its worker, or was refused.

        Args:
            purpose: The task's purpose.
            task: Its id.
            seen_by: The service that may see those of its own rooms and tokens only; None sees all.

        Raises:
            Refusal: Nothing was decided on such a task, or the cluster manager does not answer.
            EventStoreError: Whose it is cannot be told, because the log cannot be read.
        """
        if seen_by is not None and not await self._is_of(seen_by, purpose, task):
            raise _no_such_task(purpose, task)
        try:
            return await self._cluster.explain(purpose, task)
        except Refusal as refusal:
            if refusal.code is Code.NO_SUCH_PURPOSE:
                raise _no_such_task(purpose, task) from None
            raise

    async def _is_of(self, service: str, purpose: str, task: str) -> bool:
        if purpose == "conference":
            try:
                await self._rooms.get(service, task)
            except Refusal as refusal:
                if refusal.code is Code.NO_SUCH_ROOM:
                    return False
                raise
            return True
        if purpose == "portal":
            row, _ = await self._projector.ask(
                TOKENS, projected_tokens.token_of_code, task, datetime.now(UTC)
            )
            return row is not None and row["service"] == service
        return False


def plain(value: msgspec.Struct) -> dict[str, Any]:
    """Return what events have as JSON values."""
    found: dict[str, Any] = msgspec.to_builtins(value)
    return found


def _no_such_task(purpose: str, task: str) -> Refusal:
    return Refusal(Code.NO_SUCH_TASK, f"no worker has a task {task} of purpose {purpose}")
