"""The commands ``drain`` and ``undrain``: take a worker out of service with care, and back."""

from typing import Annotated

import msgspec
import typer
from rich.text import Text

from roomledger.cli.live import AsJson, DataDir, Every, How, Nats, Seconds, View, Watch, show
from roomledger.domain.errors import Code, Refusal
from roomledger.sdk.cluster import Cluster, WorkerView

WorkerId = Annotated[str, typer.Argument(metavar="WORKER", help="The worker's id.")]


def drain(
    worker: WorkerId,
    *,
    deadline_ms: Annotated[
        int | None, typer.Option(min=1, help="Tell it to move what it still has after so long.")
    ] = None,
    as_json: AsJson = False,
    watch: Watch = False,
    every: Every = 1.0,
    seconds: Seconds = None,
    nats: Nats = None,
    data_dir: DataDir = None,
) -> None:
    """Give a worker no new tasks; those that it has go on. A watch ends when none is left."""

    async def order(cluster: Cluster) -> View:
        await cluster.drain(worker, deadline_ms)
        return await look(cluster)

    async def look(cluster: Cluster) -> View:
        return await _look(cluster, worker)

    show(How(as_json, watch, every, seconds, nats, data_dir), look, first=order)


def undrain(
    worker: WorkerId,
    *,
    as_json: AsJson = False,
    watch: Watch = False,
    every: Every = 1.0,
    seconds: Seconds = None,
    nats: Nats = None,
    data_dir: DataDir = None,
) -> None:
    """Give a draining worker new tasks again."""

    async def order(cluster: Cluster) -> View:
        await cluster.undrain(worker)
        return await look(cluster)

    async def look(cluster: Cluster) -> View:
        return await _look(cluster, worker)

    show(How(as_json, watch, every, seconds, nats, data_dir), look, first=order)


async def _look(cluster: Cluster, worker: str) -> View:
    try:
        found = await cluster.get_worker(worker)
    except Refusal as refusal:
        if refusal.code is Code.NO_SUCH_WORKER:  # it was there when the order was given
            return View({"worker": worker, "gone": True}, Text(f"{worker} is gone"), over=True)
        raise
    over = found.draining and not found.tasks and not found.reservations
    return View(msgspec.to_builtins(found), Text(_sentence(found)), over)


def _sentence(worker: WorkerView) -> str:
    if not worker.draining:
        return f"{worker.worker} gets new tasks: it runs {len(worker.tasks)}"
    if not worker.tasks and not worker.reservations:
        return f"{worker.worker} gets no new tasks, and has none left"
    left = f"runs {len(worker.tasks)} and holds {len(worker.reservations)}"
    return f"{worker.worker} gets no new tasks: it {left}"
