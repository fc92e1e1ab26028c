"""The command ``schedule``: have a worker reserved for a task, or give the reservation up."""

from typing import Annotated, Any

import msgspec
import typer
from rich.text import Text

from roomledger.cli.live import AsJson, DataDir, Every, How, Nats, Seconds, View, Watch, show
from roomledger.domain.errors import Code, Refusal
from roomledger.sdk.cluster import Cluster, Scheduled, TaskView
from roomledger_events.tasks import Preference


def schedule(  # noqa: PLR0913  - one for each option
    purpose: Annotated[str, typer.Argument(help="What kind of work it is.")],
    task: Annotated[str, typer.Argument(help="The task's id.")],
    *,
    isp: Annotated[str | None, typer.Option(help="The worker has to serve this isp.")] = None,
    region: Annotated[str | None, typer.Option(help="The worker should serve this region.")] = None,
    reserve_ms: Annotated[
        int | None, typer.Option(min=1, help="How long it is held unless it is picked up.")
    ] = None,
    unschedule: Annotated[bool, typer.Option("--unschedule", help="Give the reservation up.")] = False,
    as_json: AsJson = False,
    watch: Watch = False,
    every: Every = 1.0,
    seconds: Seconds = None,
    nats: Nats = None,
    data_dir: DataDir = None,
) -> None:
    """Have a worker reserved for a task, or learn which one has it. A watch ends when none has it."""
    if unschedule and (isp, region, reserve_ms) != (None, None, None):
        message = "these say how to get a reservation, not how to give it up"
        raise typer.BadParameter(message, param_hint="--isp, --region and --reserve-ms")

    async def order(cluster: Cluster) -> View:
        if unschedule:
            return await _give_up(cluster, purpose, task)
        found = await cluster.schedule(
            purpose, task, Preference(isp=isp, region=region), reserve_ms=reserve_ms
        )
        state = "running" if found.expires_at is None else "reserved"
        whole = {"purpose": purpose, "task": task, "state": state} | msgspec.to_builtins(found)
        return View(whole, Text(_sentence(task, found)))

    async def look(cluster: Cluster) -> View:
        return await _look(cluster, purpose, task)

    show(How(as_json, watch, every, seconds, nats, data_dir), look, first=order)


async def _give_up(cluster: Cluster, purpose: str, task: str) -> View:
    held = await cluster.get_scheduled(purpose, task)
    if held.state == "running":
        message = f"{held.worker} runs {task} already: only a reservation can be given up"
        raise Refusal(Code.INVALID_ARGUMENT, message)
    await cluster.unschedule(held.worker, task)
    return await _look(cluster, purpose, task)


async def _look(cluster: Cluster, purpose: str, task: str) -> View:
    whole: dict[str, Any] = {"purpose": purpose, "task": task}
    try:
        found = await cluster.get_scheduled(purpose, task)
    except Refusal as refusal:
        if refusal.code is not Code.NO_SUCH_TASK:
            raise
        return View(whole | {"state": "free"}, Text(f"no worker has {task}"), over=True)
    return View(whole | msgspec.to_builtins(found), Text(_sentence(task, found)))


def _sentence(task: str, found: TaskView | Scheduled) -> str:
    if found.expires_at is None:
        return f"{found.worker} runs {task}"
    until = f"{found.expires_at.astimezone():%H:%M:%S}"
    return f"{found.worker} is reserved for {task} until {until}"
