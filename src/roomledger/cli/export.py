"""The command ``export``: a part of the log as one file."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from roomledger.cli.live import AsJson
from roomledger.cli.log_source import DataDir, LogFile, LogSource, Nats, log_source, opened
from roomledger.cli.moments import moment_of
from roomledger.cli.progress import progress_shown
from roomledger.runtime.exporting import SQLITE_SUFFIXES, Exported, Wanted
from roomledger.runtime.exporting import export as write
from roomledger.runtime.pseudonyms import Pseudonyms
from roomledger_events.envelope import to_json
from roomledger_events.identifiers import InvalidId, check_id

Start = Annotated[
    str | None, typer.Option("--from", metavar="SEQ|TIME", help="The first moment; else the log's beginning.")
]
End = Annotated[
    str | None, typer.Option("--to", metavar="SEQ|TIME", help="The last moment; else where the log stands.")
]
Rooms = Annotated[
    list[str] | None,
    typer.Option("--room", metavar="ID", help="Only this room, with all workers and tasks. Repeatable."),
]


def export(  # noqa: PLR0913  - one for each option
    path: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="JSON lines; .gz is compressed; .db or .sqlite for Datasette."),
    ],
    *,
    start: Start = None,
    end: End = None,
    room: Rooms = None,
    pseudonyms: Annotated[
        bool, typer.Option("--pseudonyms", help="Replace users' names, messages and addresses.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    as_json: AsJson = False,
    nats: Nats = None,
    data_dir: DataDir = None,
    log_file: LogFile = None,
) -> None:
    """Copy the log, or a part of it, to a file: `--log FILE` reads it, on any machine, without a server."""
    for name in room or []:
        try:
            check_id(name)
        except InvalidId as error:
            raise typer.BadParameter(str(error), param_hint="--room") from None
    wanted = Wanted(
        None if start is None else moment_of(start, "--from"),
        None if end is None else moment_of(end, "--to"),
        tuple(room or ()),
        Pseudonyms() if pseudonyms else None,
    )
    source = log_source(nats, data_dir, log_file)
    exported = asyncio.run(_export(source, path, wanted, replace=force))
    if as_json:
        typer.echo(to_json(exported._asdict()))
    else:
        _show(path, exported)


async def _export(source: LogSource, path: Path, wanted: Wanted, *, replace: bool) -> Exported:
    async with opened(source, name="roomledger export") as log:
        with progress_shown("export") as on_progress:
            return await write(log, path, wanted, replace=replace, on_progress=on_progress)


def _show(path: Path, exported: Exported) -> None:
    header = exported.header
    span = f"sequences {header.first} to {header.last}" if header.last >= header.first else "an empty log"
    typer.echo(f"{path}: {span}, {exported.commits} commits, {exported.events} events")
    if exported.unreadable:
        typer.echo(f"{exported.unreadable} events cannot be read by this version", err=True)
    if exported.left_out:
        typer.echo(
            f"{exported.left_out} of these were left empty: what in them is personal cannot be told", err=True
        )
    if path.suffix in SQLITE_SUFFIXES:
        typer.echo(f"look at it with: datasette {path}")
