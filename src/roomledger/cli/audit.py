"""The command ``audit``: all that concerns one thing, across the whole log, with who caused what."""

import asyncio
import csv
import sys
from contextlib import aclosing
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final, NamedTuple

import typer
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text
from rich.tree import Tree

from roomledger.cli.audit_page import page
from roomledger.cli.live import INTERRUPTED
from roomledger.cli.log import printable
from roomledger.cli.log_source import DataDir, LogFile, LogSource, Nats, log_source, opened
from roomledger.cli.moments import moment_of, order_of
from roomledger.cli.playing import told_plain
from roomledger.cli.progress import progress_shown
from roomledger.cli.written import Force, check_writable, write
from roomledger.domain.causes import Chain, Command, Effect, cause_of, chains
from roomledger.domain.trail import Trail
from roomledger.runtime.moments import span as span_of
from roomledger.runtime.rebuilding import Moment
from roomledger.runtime.trails import Told, followed, learn
from roomledger_events.envelope import Address, to_json
from roomledger_events.mentions import Thing
from roomledger_events.sentences import sentence
from roomledger_projections.projection import moment

DRAWN: Final = 5000
"""A page with more events than this would be no use, and more than a browser likes to draw."""
COLUMNS: Final = (
    *("address", "time", "boundary", "type", "subject", "actor", "cause", "causation", "correlation"),
    *("what", "data"),
)
"""The columns of an audit as CSV."""
MOMENT: Final = "SEQ|TIME"


class Audited(StrEnum):
    """What there are audits of."""

    TOKEN = "token"  # noqa: S105  - a word, no secret
    PARTICIPANT = "participant"
    USER = "user"
    ROOM = "room"
    WORKER = "worker"
    TASK = "task"


class Timeline(NamedTuple):
    """All that concerns one thing.

    Attributes:
        thing: What it is.
        id: Its id, or the user's name.
        events: Its events, in log order.
        causes: Where an event stands that another one caused → where that one stands.
    """

    thing: Audited
    id: str
    events: list[Told]
    causes: dict[Address, Address]

    @property
    def chains(self) -> list[Chain]:
        """The events as trees of what set them off."""
        return chains([(told.address, told.event) for told in self.events])


def audit(  # noqa: PLR0913  - one for each option
    thing: Annotated[Audited, typer.Argument(help="What it is.")],
    id: Annotated[str, typer.Argument(metavar="ID", help="Its id, or the user's name.")],  # noqa: A002  - as shown
    *,
    start: Annotated[str | None, typer.Option("--from", metavar=MOMENT, help="From a moment on.")] = None,
    until: Annotated[str | None, typer.Option("--to", metavar=MOMENT, help="Up to a moment.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print it for programs.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print it as CSV.")] = False,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a page with a drawn timeline.")
    ] = None,
    force: Force = False,
    nats: Nats = None,
    data_dir: DataDir = None,
    log_file: LogFile = None,
) -> None:
    """Show all that concerns one thing, in order, with who caused what."""
    if sum((as_json, as_csv, html is not None)) > 1:
        raise typer.BadParameter("choose one of them", param_hint="--json, --csv and --html")
    if html is not None:
        check_writable(html, "--html", force=force)
    span = (
        None if start is None else moment_of(start, "--from"),
        None if until is None else moment_of(until, "--to"),
    )
    order_of(*span, "--from and --to")
    try:
        source = log_source(nats, data_dir, log_file)
        events = asyncio.run(_timeline(source, Trail(Thing(thing), id), span))
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
    if not events:
        typer.echo(f"there is nothing about {thing} {printable(id)} in this part of the log", err=True)
        raise typer.Exit(1)
    found = Timeline(thing, id, events, cause_of([(told.address, told.event) for told in events]))
    if as_json:
        typer.echo(to_json(_plain(found)))
    elif as_csv:
        _write_csv(found)
    elif html is not None:
        _write_page(found, html, force=force)
    else:
        _show(found)


async def _timeline(source: LogSource, about: Trail, moments: tuple[Moment, Moment]) -> list[Told]:
    events: list[Told] = []
    async with opened(source, name="roomledger audit") as log:
        span = await span_of(log, *moments)
        with progress_shown("learning") as on_progress:
            await learn(log, [about], on_progress=on_progress)
        with progress_shown("audit") as on_progress:
            async with aclosing(followed(log, [about], span, on_progress=on_progress)) as found:
                async for batch in found:
                    events += batch
    return events


# -- For programs


def _plain(found: Timeline) -> dict[str, Any]:
    events = []
    for told in found.events:
        cause = found.causes.get(told.address)
        events.append(told_plain(told) | {"cause": None if cause is None else str(cause)})
    tree = [
        {
            "correlation": chain.correlation,
            "token": chain.is_token,
            "effects": [_plain_cause(cause) for cause in chain.causes],
        }
        for chain in found.chains
    ]
    return {"thing": found.thing, "id": found.id, "events": events, "tree": tree}


def _plain_cause(cause: Effect | Command) -> dict[str, Any]:
    effects = [_plain_cause(each) for each in cause.effects]
    if isinstance(cause, Command):
        return {"command": cause.id, "effects": effects}
    return {"address": str(cause.address), "effects": effects}


def _write_csv(found: Timeline) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(COLUMNS)
    for told in found.events:
        event = told.event
        writer.writerow(
            (
                told.address,
                moment(event.time),
                told.commit.boundary,
                event.type,
                event.subject,
                event.actor,
                found.causes.get(told.address, ""),
                event.causationid or "",
                event.correlationid,
                sentence(told.commit.boundary, event),
                to_json(event.data),
            )
        )


# -- For people


def _write_page(found: Timeline, file: Path, *, force: bool) -> None:
    if len(found.events) > DRAWN:
        message = (
            f"there are {len(found.events):,} events, and a page holds at most {DRAWN:,}: choose a part with"
            " --from and --to, or take --csv"
        )
        raise typer.BadParameter(message, param_hint="--html")
    write(file, page(found.thing, found.id, found.events, found.causes, found.chains), force=force)
    typer.echo(f"{len(found.events)} events are drawn in {file}")


def _show(found: Timeline) -> None:
    console = Console()
    console.print(Text(f"{found.thing} {printable(found.id)}: {len(found.events)} events", "bold"))
    table = Table(
        Column("address", no_wrap=True),
        Column("time", no_wrap=True),
        *(Column(name, overflow="fold", max_width=26) for name in ("boundary", "actor", "cause")),
        Column("what", overflow="fold", min_width=30),
        highlight=False,
    )
    for told in found.events:
        event = told.event
        caused_by = str(found.causes.get(told.address) or event.causationid or "")
        cells = (told.address, moment(event.time), told.commit.boundary, event.actor, caused_by, _what(told))
        table.add_row(*(Text(printable(str(cell))) for cell in cells))
    console.print(table)
    tree = Tree("what set it off", highlight=False)
    whats = {told.address: told for told in found.events}
    for chain in found.chains:
        branch = tree.add(Text(f"{'token' if chain.is_token else 'request'} {printable(chain.correlation)}"))
        for cause in chain.causes:
            _grow(branch, cause, whats)
    console.print(tree)


def _grow(branch: Tree, cause: Effect | Command, whats: dict[Address, Told]) -> None:
    if isinstance(cause, Command):
        label = f"command {cause.id}"
    else:
        label = f"{cause.address}  {cause.event.actor}  {_what(whats[cause.address])}"
    inner = branch.add(Text(printable(label)))
    for effect in cause.effects:
        _grow(inner, effect, whats)


def _what(told: Told) -> str:
    return sentence(told.commit.boundary, told.event)
