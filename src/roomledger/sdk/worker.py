"""A worker: joins the cluster, says that it is there, reports its load, picks tasks up and lays them down.

While the cluster is out of reach the worker goes on working and says so.  A cluster that does not know it any
more is joined again, and gets the running tasks back.
"""

import asyncio
from collections.abc import Callable
from typing import Final

import structlog

from roomledger.domain.errors import Refusal
from roomledger.runtime.calls import RequestMeta
from roomledger.runtime.ending import end
from roomledger.sdk.cluster import Cluster
from roomledger_events.workers import WorkerInfo

BEAT_S: Final = 1.0
QUIT_S: Final = 1.0
"""How long a worker that stops tries to tell the cluster so; untold, it is lost after its lease."""
_PAUSE_S: Final = 0.2

log = structlog.get_logger(__name__)


class Worker:
    """One worker of the cluster.

    Args:
        cluster: Whom it joins.
        purpose: What kind of work it does.
        worker: Its id.
        info: What it tells of itself.
        load: Its present load, 0 to 1.
    """

    def __init__(
        self, cluster: Cluster, *, purpose: str, worker: str, info: WorkerInfo, load: Callable[[], float]
    ) -> None:
        self.id = worker
        self.draining = False
        self._cluster = cluster
        self._purpose = purpose
        self._info = info
        self._load = load
        self._running: dict[str, None] = {}
        self._in_reach = True
        self._beating: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Join, for as long as it takes, and go on beating in the background."""
        while True:
            try:
                await self._join()
                break
            except Refusal as refusal:
                if refusal.retry_after_ms is None:
                    raise
                self._out_of_reach(refusal)
                await asyncio.sleep(_PAUSE_S)
        self._beating = asyncio.create_task(self._beat(), name=f"beat {self.id}")

    async def stop(self) -> None:
        """Quit the cluster, which frees the worker's tasks."""
        await end(self._beating)
        try:
            await self._cluster.quit(self.id, time_limit=QUIT_S)
        except Refusal as refusal:
            log.warning("the cluster was not told that this worker quits", worker=self.id, why=str(refusal))

    async def pick_up(self, task: str, meta: RequestMeta | None = None) -> None:
        """Say that this worker runs a task; if the cluster cannot be told now, it is with the next beat.

        Raises:
            Refusal: The cluster does not let it.
        """
        self._running[task] = None
        try:
            await self._cluster.pick_up_tasks(self.id, (task,), meta)
        except Refusal as refusal:
            if refusal.retry_after_ms is None:
                self._running.pop(task, None)
                raise
            self._out_of_reach(refusal)

    async def lay_down(self, task: str, meta: RequestMeta | None = None) -> None:
        """Say that this worker no longer runs a task; one that it does not run is left alone."""
        self._running.pop(task, None)
        await self._cluster.lay_down_task(self.id, task, meta)

    async def _join(self) -> None:
        await self._cluster.join(self._purpose, self.id, self._info)
        await self._cluster.report_load(self.id, self._load())
        if self._running:
            await self._cluster.pick_up_tasks(self.id, tuple(self._running))

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(BEAT_S)
            try:
                kept = await self._cluster.keep_alive(self.id)
                if kept.status == "who_are_you":
                    log.warning(
                        "the cluster does not know this worker any more: joining again", worker=self.id
                    )
                    await self._join()
                else:
                    self.draining = kept.draining
                    await self._cluster.report_load(self.id, self._load())
                    if not self._in_reach and self._running:
                        await self._cluster.pick_up_tasks(self.id, tuple(self._running))
            except Refusal as refusal:
                self._out_of_reach(refusal)
            else:
                if not self._in_reach:
                    self._in_reach = True
                    log.info("the cluster is back in reach", worker=self.id)

    def _out_of_reach(self, refusal: Refusal) -> None:
        if self._in_reach:
            self._in_reach = False
            log.warning("the cluster is out of reach: going on without it", worker=self.id, why=str(refusal))
