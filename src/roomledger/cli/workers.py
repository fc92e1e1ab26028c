"""The command ``workers``: who is there, and how loaded."""

from datetime import UTC, datetime
from typing import Annotated, Final

import msgspec
import typer

from roomledger.cli.live import (
    AsJson,
    DataDir,
    Every,
    How,
    Nats,
    Seconds,
    View,
    Watch,
    add,
    gather,
    show,
    table,
)
from roomledger.domain.errors import Code, Refusal
from roomledger.sdk.cluster import Cluster, WorkerView

EVERY_PURPOSE: Final = "all"
_STATES: Final = {0: "not ready", 1: "initializing"}


def workers(
    *,
    purpose: Annotated[str, typer.Option(help="Only those of a purpose.")] = EVERY_PURPOSE,
    as_json: AsJson = False,
    watch: Watch = False,
    every: Every = 1.0,
    seconds: Seconds = None,
    nats: Nats = None,
    data_dir: DataDir = None,
) -> None:
    """Show the workers as the cluster manager knows them."""

    async def look(cluster: Cluster) -> View:
        return view_of(await known_workers(cluster, purpose))

    show(How(as_json, watch, every, seconds, nats, data_dir), look)


async def known_workers(cluster: Cluster, purpose: str = EVERY_PURPOSE) -> list[WorkerView]:
    """Return the workers of a purpose, or of all, each purpose's in joining order.

    Raises:
        Refusal: Nobody ever joined the purpose, or no cluster manager answers.
    """

    async def one(worker: str) -> WorkerView | None:
        try:
            return await cluster.get_worker(worker)
        except Refusal as refusal:
            if refusal.code is Code.NO_SUCH_WORKER:  # it has gone in the meantime
                return None
            raise

    found = await gather(one(worker) for worker in await cluster.get_workers(purpose))
    return [worker for worker in found if worker is not None]


def view_of(found: list[WorkerView]) -> View:
    """Return how workers are shown."""
    columns = ("purpose", "worker", "state", "load", "reckoned", "runs", "holds", "heard", "address")
    shown = table(_counted(len(found), "worker"), *columns)
    now = datetime.now(UTC)
    for each in found:
        add(
            shown,
            each.purpose,
            each.worker,
            _state(each),
            _share(each.load),
            _share(each.effective_load),
            str(len(each.tasks)),
            str(len(each.reservations)),
            _ago(each.last_seen, now),
            _address(each),
        )
    return View({"workers": msgspec.to_builtins(found)}, shown)


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" + ("" if number == 1 else "s")


def _state(worker: WorkerView) -> str:
    state = _STATES.get(-1 if worker.state is None else worker.state, "ready")
    if worker.draining:
        return "draining" if state == "ready" else f"draining, {state}"
    return "not reported" if worker.load is None else state


def _share(load: float | None) -> str:
    return "-" if load is None else f"{load:.3f}"


def _ago(heard: datetime | None, now: datetime) -> str:
    return "-" if heard is None else f"{max(0.0, (now - heard).total_seconds()):.1f} s ago"


def _address(worker: WorkerView) -> str:
    info = worker.info
    port = "" if info.port is None else f":{info.port}"
    return info.via_host or f"{info.hostname or info.ip}{port}"
