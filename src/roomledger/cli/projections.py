"""The commands about projections: how they stand, and how one is made anew from the log."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from roomledger import settings
from roomledger.cli.live import AsJson, DataDir, Nats, add, table
from roomledger.cli.progress import progress_shown
from roomledger.event_store.errors import EventStoreError
from roomledger.event_store.store import Head
from roomledger.runtime.access import open_access
from roomledger.runtime.garbage import collect_rarely
from roomledger.runtime.projection_rebuild import RebuiltProjection, rebuild
from roomledger.runtime.projection_status import Status, status
from roomledger.runtime.projector import FOLDER
from roomledger.settings import Settings
from roomledger_events.envelope import to_json
from roomledger_projections import PROJECTIONS
from roomledger_projections.projection import Projection

projections = typer.Typer(help="Look after what is known from the log.", no_args_is_help=True)


@projections.callback()
def group() -> None:
    """Look after what is known from the log."""


@projections.command("status")
def show_status(*, as_json: AsJson = False, nats: Nats = None, data_dir: DataDir = None) -> None:
    """Show how far each projection knows the log, how large it is, and what it had to leave out.

    The exit code is 1 if one of them cannot be used.
    """
    known = settings.load(nats_url=nats, data_dir=data_dir)
    found, problem = asyncio.run(_status(known))
    if as_json:
        typer.echo(to_json([each._asdict() for each in found]))
    else:
        _show(found)
    if problem is not None:
        typer.echo(f"how far they are behind is not known: {problem}", err=True)
    for each in found:
        if each.state in {"unusable", "another log"}:
            typer.echo(f"{each.path}: {each.problem or 'it was built from another log'}", err=True)
    if any(each.state in {"unusable", "another log"} for each in found):
        raise typer.Exit(1)


@projections.command("rebuild")
def rebuild_one(
    name: Annotated[str, typer.Argument(help=f"Its name: {', '.join(each.name for each in PROJECTIONS)}.")],
    *,
    force: Annotated[
        bool, typer.Option("--force", help="Replace whatever is in its place, also what is none.")
    ] = False,
    as_json: AsJson = False,
    nats: Nats = None,
    data_dir: DataDir = None,
) -> None:
    """Rebuild a projection from the log beside its file, and swap it in, also while it is in use."""
    named = {each.name: each for each in PROJECTIONS}
    if name not in named:
        raise typer.BadParameter(f"there is no {name!r}; there are {', '.join(named)}", param_hint="NAME")
    known = settings.load(nats_url=nats, data_dir=data_dir)
    collect_rarely()
    done = asyncio.run(_rebuild(known, named[name], replace=force))
    if as_json:
        typer.echo(to_json(done._asdict()))
        return
    events = "1 event" if done.events == 1 else f"{done.events} events"
    typer.echo(f"{name} is rebuilt from {events}, up to sequence {done.sequence}")
    if done.unreadable:
        typer.echo(f"{done.unreadable} of them this version cannot read: see its table held", err=True)


async def _rebuild(known: Settings, projection: Projection, *, replace: bool) -> RebuiltProjection:
    access = await open_access(known, name="roomledger projections rebuild")
    try:
        with progress_shown(f"rebuild {projection.name}") as on_progress:
            return await rebuild(
                access.store,
                _directory(known),
                projection,
                holds=known.unreadable_events == "hold",
                replace=replace,
                on_progress=on_progress,
            )
    finally:
        await access.close()


async def _status(known: Settings) -> tuple[list[Status], str | None]:
    head: Head | None = None
    problem: str | None = None
    try:
        access = await open_access(known, name="roomledger projections status")
        try:
            head = await access.store.position()
        finally:
            await access.close()
    except EventStoreError as error:
        problem = str(error)
    return await asyncio.to_thread(status, _directory(known), PROJECTIONS, head), problem


def _directory(known: Settings) -> Path:
    return known.data_dir / FOLDER


def _show(found: list[Status]) -> None:
    columns = ("projection", "state", "version", "position", "behind", "left out", "held", "size")
    shown = table("projections", *columns)
    for each in found:
        figures = (each.version, each.sequence, each.lag, each.unreadable, each.held)
        add(shown, each.projection, each.state, *map(_figure, figures), f"{each.size / 1024:,.0f} KiB")
    Console().print(shown)


def _figure(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"
