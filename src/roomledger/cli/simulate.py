"""The command ``simulate``: what another strategy, other limits or fewer workers would have done."""

import asyncio
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from roomledger.cli.live import AsJson
from roomledger.cli.log_source import DataDir, LogFile, LogSource, Nats, check_begins, log_source, opened
from roomledger.cli.moments import moment_of, order_of
from roomledger.cli.progress import progress_shown
from roomledger.cli.simulation_plot import plot
from roomledger.cli.written import Force, check_writable, write
from roomledger.domain.purpose import StrategyName
from roomledger.domain.simulation import Changes, Result, WorkerResult
from roomledger.runtime.purposes import settings_of
from roomledger.runtime.rebuilding import Moment
from roomledger.runtime.simulating import Simulated, simulated
from roomledger_events.envelope import to_json

MOVES_SHOWN: Final = 20


def simulate(  # noqa: PLR0913  - one for each option
    *,
    strategy: Annotated[
        list[str] | None,
        typer.Option(metavar="[PURPOSE=]NAME", help="Another strategy, such as portal=round-robin."),
    ] = None,
    max_load: Annotated[
        list[str] | None, typer.Option(metavar="[PURPOSE=]X", help="Another limit for all workers.")
    ] = None,
    task_load: Annotated[
        list[str] | None, typer.Option(metavar="[PURPOSE=]X", help="What a reservation adds to a load.")
    ] = None,
    without: Annotated[
        list[str] | None, typer.Option(metavar="WORKER", help="A worker that is not there. Repeatable.")
    ] = None,
    start: Annotated[
        str | None, typer.Option("--from", metavar="SEQ|TIME", help="Where it begins to differ.")
    ] = None,
    end: Annotated[str | None, typer.Option("--to", metavar="SEQ|TIME", help="The last moment.")] = None,
    picture: Annotated[Path | None, typer.Option("--plot", metavar="FILE", help="Draw it, as SVG.")] = None,
    force: Force = False,
    as_json: AsJson = False,
    nats: Nats = None,
    data_dir: DataDir = None,
    log_file: LogFile = None,
) -> None:
    """Decide the recorded requests again with other settings, and compare with what happened.

    Without any change every request goes where it went; if one does not, the exit code is 1.
    """
    changes = _changes(strategy or [], max_load or [], task_load or [], frozenset(without or []))
    first = None if start is None else moment_of(start, "--from")
    last = None if end is None else moment_of(end, "--to")
    order_of(first, last, "--from, --to")
    if picture is not None:
        check_writable(picture, "--plot", force=force)
    source = log_source(nats, data_dir, log_file)
    result = asyncio.run(_simulated(source, changes, first, last))
    if picture is not None:
        write(picture, plot(result.purposes), force=force)
    if as_json:
        typer.echo(to_json(result))
    else:
        _show(result)
    for worker in sorted(set(without or ()).difference(result.workers)):
        typer.echo(f"{worker}, which is to be left out, is no worker in this part of the log", err=True)
    nothing_changed = not (strategy or max_load or task_load or without)
    if nothing_changed and result.moved:
        typer.echo(f"{result.moved} recorded winners were not reproduced", err=True)
        raise typer.Exit(1)


async def _simulated(
    source: LogSource, changes: Callable[[str], Changes], start: Moment, end: Moment
) -> Simulated:
    async with opened(source, name="roomledger simulate") as log:
        check_begins(log)
        with progress_shown("simulate") as on_progress:
            return await simulated(
                log,
                partial(settings_of, source.settings),
                changes,
                start=start,
                end=end,
                on_progress=on_progress,
            )


def _changes(
    strategies: list[str], max_loads: list[str], task_loads: list[str], without: frozenset[str]
) -> Callable[[str], Changes]:
    """Return how each purpose is to differ.

    Raises:
        typer.BadParameter: A strategy does not exist, or a figure is none.
    """
    by_strategy = dict(map(_of_purpose, strategies))
    for name in by_strategy.values():
        if name not in set(StrategyName):
            message = f"there is no strategy {name!r}; there are {', '.join(StrategyName)}"
            raise typer.BadParameter(message, param_hint="--strategy")
    by_max_load = {purpose: _load(text, "--max-load") for purpose, text in map(_of_purpose, max_loads)}
    by_task_load = {purpose: _load(text, "--task-load") for purpose, text in map(_of_purpose, task_loads)}
    if any(load == 0 for load in by_max_load.values()):
        raise typer.BadParameter("a limit is more than 0", param_hint="--max-load")

    def of(purpose: str) -> Changes:
        return Changes(
            by_strategy.get(purpose, by_strategy.get("")),
            by_max_load.get(purpose, by_max_load.get("")),
            by_task_load.get(purpose, by_task_load.get("")),
            without,
        )

    return of


def _of_purpose(text: str) -> tuple[str, str]:
    purpose, equals, value = text.rpartition("=")
    return (purpose, value) if equals else ("", text)


def _load(text: str, option: str) -> float:
    try:
        load = float(text)
    except ValueError:
        load = -1
    if not 0 <= load <= 1:
        raise typer.BadParameter(f"{text!r} is no load: 0 to 1", param_hint=option)
    return load


def _show(result: Simulated) -> None:
    console = Console()
    console.print(f"sequences [bold]{result.first:,}[/] to [bold]{result.last:,}[/]")
    for each in result.purposes:
        _show_purpose(console, each)
    if not result.purposes:
        console.print("nothing was requested")


def _show_purpose(console: Console, result: Result) -> None:
    table = Table(
        *("worker", "placed", "simulated", "mean load", "simulated", "largest", "simulated"),
        title=f"{result.purpose}: {result.strategy} as recorded, {result.strategy_simulated} simulated",
        title_justify="left",
    )
    for each in result.workers:
        table.add_row(Text(each.worker), *_cells(each))
    console.print(table)
    console.print(
        f"{result.purpose}: {result.requests:,} requests, {result.moved:,} went elsewhere;"
        f" {result.refused:,} were refused, {result.refused_simulated:,} would have been;"
        f" {result.displaced:,} had to be placed again"
    )
    if result.unknowable:
        console.print(
            f"[yellow]{result.unknowable:,} were decided by load reports that have expired: they cannot be"
            " decided again as they were[/]"
        )
    for move in result.moves[:MOVES_SHOWN]:
        console.print(
            f"  {move.sequence}.{move.place} {move.task}: {move.recorded or 'refused'} →"
            f" {move.simulated or 'refused'}"
        )
    if result.moved > MOVES_SHOWN:
        console.print(f"  and {result.moved - MOVES_SHOWN:,} more")


def _cells(each: WorkerResult) -> list[str]:
    here, there = each.loads, each.loads_simulated
    loads = (here.mean, there.mean, here.largest, there.largest)
    shown = ["-" if load is None else f"{load:.3f}" for load in loads]
    return [f"{each.placed:,}", f"{each.placed_simulated:,}", *shown]
