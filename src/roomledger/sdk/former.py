"""For a process that keeps its worker id: what was left of it when it was killed."""

import asyncio
from typing import Final

import structlog

from roomledger.domain.errors import Code, Refusal
from roomledger.sdk.cluster import Cluster

_PAUSE_S: Final = 0.2

log = structlog.get_logger(__name__)


async def end_former(cluster: Cluster, *, purpose: str, worker: str) -> None:
    """Let the cluster forget the worker that this process was before, and free the tasks that it ran.

    Only for a process that knows that nobody else has its id, because it holds the lock on the directory that
    the id is kept in.  It waits until the cluster is in reach; a worker of another purpose is left alone.

    Raises:
        Refusal: The cluster refused, and waiting will not mend that.
    """
    told = False
    while True:
        try:
            if (await cluster.get_worker(worker)).purpose == purpose:
                await cluster.quit(worker)
        except Refusal as refusal:
            if refusal.code is Code.NO_SUCH_WORKER:
                return
            if refusal.retry_after_ms is None:
                raise
            if not told:
                log.warning("the cluster is out of reach: waiting for it", worker=worker, why=str(refusal))
                told = True
            await asyncio.sleep(_PAUSE_S)
        else:
            return
