"""The command ``tasks``: which worker has which task."""

from typing import Annotated

import typer

from roomledger.cli.live import AsJson, DataDir, Every, How, Nats, Seconds, View, Watch, add, show, table
from roomledger.cli.workers import EVERY_PURPOSE, known_workers
from roomledger.sdk.cluster import Cluster, WorkerView


def tasks(
    *,
    purpose: Annotated[str, typer.Option(help="Only those of a purpose.")] = EVERY_PURPOSE,
    worker: Annotated[str | None, typer.Option(metavar="ID", help="Only those of a worker.")] = None,
    as_json: AsJson = False,
    watch: Watch = False,
    every: Every = 1.0,
    seconds: Seconds = None,
    nats: Nats = None,
    data_dir: DataDir = None,
) -> None:
    """Show the tasks that workers run, and those that are held for them."""

    async def look(cluster: Cluster) -> View:
        if worker is None:
            return view_of(await known_workers(cluster, purpose))
        only = await cluster.get_worker(worker)
        return view_of([only] if purpose in {EVERY_PURPOSE, only.purpose} else [])

    show(How(as_json, watch, every, seconds, nats, data_dir), look)


def view_of(workers: list[WorkerView]) -> View:
    """Return how the tasks of workers are shown."""
    rows = [
        {"purpose": worker.purpose, "task": task, "worker": worker.worker, "state": state}
        for worker in workers
        for state, tasks in (("running", worker.tasks), ("reserved", worker.reservations))
        for task in tasks
    ]
    running = sum(row["state"] == "running" for row in rows)
    title = f"{running} running, {len(rows) - running} reserved"
    shown = table(title, "purpose", "task", "worker", "state")
    for row in rows:
        add(shown, *row.values())
    return View({"tasks": rows}, shown)
