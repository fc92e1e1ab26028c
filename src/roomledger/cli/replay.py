"""The command ``replay``: the cluster at any moment, from the log alone."""

import asyncio
import json
import os
import sys
from collections.abc import Coroutine, Sequence
from typing import Annotated, Any

import typer

from roomledger.cli.live import INTERRUPTED
from roomledger.cli.log_source import DataDir, LogFile, LogSource, Nats, log_source, opened
from roomledger.cli.moments import moment_of, order_of
from roomledger.cli.playing import MAX, play, speed_of
from roomledger.cli.progress import progress_shown
from roomledger.cli.state_tables import show_differences, show_state
from roomledger.domain.trail import Trail
from roomledger.runtime.differences import differences
from roomledger.runtime.rebuilding import Moment, Rebuilt, carry_on, rebuilt
from roomledger_events.mentions import Thing

MOMENT = "SEQ|TIME"
State = dict[str, Any]


def replay(  # noqa: PLR0913  - one for each option
    *,
    at: Annotated[
        str | None,
        typer.Option(metavar=MOMENT, help="The moment: a sequence of the log, or a time with its zone."),
    ] = None,
    diff: Annotated[
        tuple[str, str] | None,
        typer.Option(metavar=f"{MOMENT} {MOMENT}", help="What is different at the second of two moments."),
    ] = None,
    start: Annotated[
        str | None, typer.Option("--from", metavar=MOMENT, help="Play the events from a moment on.")
    ] = None,
    until: Annotated[
        str | None, typer.Option("--to", metavar=MOMENT, help="Play the events up to a moment.")
    ] = None,
    speed: Annotated[
        str | None,
        typer.Option(metavar="N|max", help="Play it N times as fast as it happened; by default at once."),
    ] = None,
    room: Annotated[str | None, typer.Option(metavar="ID", help="Play what concerns a room.")] = None,
    user: Annotated[str | None, typer.Option(metavar="NAME", help="Play what concerns a user.")] = None,
    participant: Annotated[
        str | None, typer.Option(metavar="ID", help="Play what concerns a participant.")
    ] = None,
    worker: Annotated[str | None, typer.Option(metavar="ID", help="Play what concerns a worker.")] = None,
    token: Annotated[str | None, typer.Option(metavar="ID", help="Play what a token led to.")] = None,
    task: Annotated[str | None, typer.Option(metavar="ID", help="Play what concerns a task.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print it for programs.")] = False,
    nats: Nats = None,
    data_dir: DataDir = None,
    log_file: LogFile = None,
) -> None:
    """Show the cluster as it is, or as it was at any moment, from the log alone; or play what happened."""
    trails = [
        Trail(thing, name)
        for thing, name in (
            (Thing.ROOM, room),
            (Thing.USER, user),
            (Thing.PARTICIPANT, participant),
            (Thing.WORKER, worker),
            (Thing.TOKEN, token),
            (Thing.TASK, task),
        )
        if name is not None
    ]
    playing = bool(trails) or start is not None or until is not None or speed is not None
    if sum((at is not None, diff is not None, playing)) > 1:
        message = "show a moment, compare two, or play a span: one at a time"
        raise typer.BadParameter(message, param_hint="--at, --diff, --from and --to")
    if playing:
        span = (
            None if start is None else moment_of(start, "--from"),
            None if until is None else moment_of(until, "--to"),
        )
        order_of(*span, "--from and --to")
        pace = speed_of(speed or MAX)
        source = log_source(nats, data_dir, log_file)
        _until_interrupted(_play(source, span, trails, speed=pace, as_json=as_json))
    elif diff is not None:
        first, second = (moment_of(each, "--diff") for each in diff)
        order_of(first, second, "--diff")
        _diff(*asyncio.run(_states(log_source(nats, data_dir, log_file), first, second)), as_json=as_json)
    else:
        wanted = None if at is None else moment_of(at)
        state = asyncio.run(_state(log_source(nats, data_dir, log_file), wanted))
        if as_json:
            typer.echo(json.dumps(state))
        else:
            show_state(state)


def _until_interrupted(work: Coroutine[Any, Any, None]) -> None:
    try:
        asyncio.run(work)
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
    except BrokenPipeError:
        # Whoever read has had enough; what Python still has to write goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


async def _play(
    source: LogSource,
    span: tuple[Moment, Moment],
    trails: Sequence[Trail],
    *,
    speed: float | None,
    as_json: bool,
) -> None:
    async with opened(source, name="roomledger replay") as log:
        count = await play(log, *span, trails, speed=speed, as_json=as_json)
    if not count:
        typer.echo("nothing of that is in this part of the log", err=True)
        raise typer.Exit(1)


async def _states(source: LogSource, first: Moment, second: Moment) -> tuple[State, State]:
    async with opened(source, name="roomledger replay") as log:
        with progress_shown("replay") as on_progress:
            state = await rebuilt(log, first, on_progress=on_progress)
        with state:
            before = state.as_json()
            with progress_shown("replay") as on_progress:
                await carry_on(state, log, second, on_progress=on_progress)
            _tell_unreadable(state)
            return before, state.as_json()


def _diff(before: State, after: State, *, as_json: bool) -> None:
    found = differences(before, after)
    if as_json:
        moments = {
            name: {"sequence": state["sequence"], "time": state["time"]}
            for name, state in (("from", before), ("to", after))
        }
        typer.echo(json.dumps(moments | {kind: each.as_json() for kind, each in found.items()}))
    else:
        show_differences(before, after, found)


async def _state(source: LogSource, at: Moment) -> State:
    async with opened(source, name="roomledger replay") as log:
        with (
            progress_shown("replay") as on_progress,
            await rebuilt(log, at, on_progress=on_progress) as state,
        ):
            _tell_unreadable(state)
            return state.as_json()


def _tell_unreadable(state: Rebuilt) -> None:
    if state.unreadable:
        typer.echo(f"{state.unreadable} events were left out: this version cannot read them", err=True)
