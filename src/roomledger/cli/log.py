"""The commands about the log itself: ``log tail`` shows what stands in it and what comes."""

import asyncio
import os
import sys
from contextlib import aclosing
from typing import Annotated, Any, Final, NamedTuple

import msgspec
import typer

from roomledger.cli.log_source import DataDir, LogFile, LogSource, Nats, log_source, opened
from roomledger.event_store.store import Filter, ReadableLog
from roomledger.runtime.arrivals import batches
from roomledger_events.catalogue import CATALOGUE
from roomledger_events.envelope import Address, Commit, Event, to_json
from roomledger_events.identifiers import check_id
from roomledger_events.subjects import ANY, Boundary, Kind
from roomledger_projections.projection import moment

DATA_SHOWN: Final = 120
"""So many characters of an event's data are shown to people; programs get all."""

log = typer.Typer(name="log", no_args_is_help=True)


@log.callback()
def look() -> None:
    """Look into the log."""


class Wanted(NamedTuple):
    """Which events are asked for; what is None does not matter.

    Attributes:
        room: Of this room: its own, its texts and its tokens.
        purpose: Of the scheduler of this purpose, with its workers' loads.
        worker: That name this worker, or that it caused.
        token: That name this token, or that it led to.
        task: That name this task.
        participant: That name this participant, or that it caused.
        type: Of this type.
    """

    room: str | None = None
    purpose: str | None = None
    worker: str | None = None
    token: str | None = None
    task: str | None = None
    participant: str | None = None
    type: str | None = None

    @property
    def boundaries(self) -> Filter:
        """The boundaries that have to be read for it."""
        if self.room is not None:
            return [Boundary(kind, self.room) for kind in (Kind.ROOM, Kind.TEXT, Kind.TOKEN)]
        if self.purpose is not None:
            return [Boundary(kind, self.purpose) for kind in (Kind.SCHEDULER, Kind.LOAD)]
        if self.type is not None and self.type in CATALOGUE:
            return [Boundary(CATALOGUE[self.type].kind, ANY)]
        return []

    def matches(self, commit: Commit, event: Event) -> bool:
        """Whether an event of those boundaries is asked for."""
        return (
            self.type in {None, event.type}
            and (self.worker is None or _is_of_worker(commit, event, self.worker))
            and (self.token is None or self.token in {event.correlationid, _named(event, "token")})
            and (self.task is None or self.task in _all_named(event, "task", "code"))
            and (self.participant is None or _is_of_participant(event, self.participant))
        )


def _is_of_worker(commit: Commit, event: Event, worker: str) -> bool:
    return (
        worker in _all_named(event, "worker", "portal", "reserved_for")
        or commit.boundary == (Kind.NODES, worker)
        or event.actor == f"worker:{worker}"
    )


def _is_of_participant(event: Event, participant: str) -> bool:
    return (
        participant in _all_named(event, "participant", "sender", "to")
        or event.actor == f"participant:{participant}"
    )


def _named(event: Event, name: str) -> str | None:
    return getattr(event.data, name, None)


def _all_named(event: Event, *names: str) -> set[str | None]:
    return {_named(event, name) for name in names}


@log.command("tail")
def tail(  # noqa: PLR0913  - one for each option
    *,
    room: Annotated[str | None, typer.Option(metavar="ID", help="Only a room's events.")] = None,
    worker: Annotated[str | None, typer.Option(metavar="ID", help="Only what concerns a worker.")] = None,
    token: Annotated[str | None, typer.Option(metavar="ID", help="Only what a token led to.")] = None,
    task: Annotated[str | None, typer.Option(metavar="ID", help="Only what concerns a task.")] = None,
    participant: Annotated[
        str | None, typer.Option(metavar="ID", help="Only what concerns a participant.")
    ] = None,
    purpose: Annotated[str | None, typer.Option(help="Only the scheduler's events of a purpose.")] = None,
    of_type: Annotated[str | None, typer.Option("--type", help="Only events of a type.")] = None,
    start: Annotated[int, typer.Option("--from", metavar="SEQ", min=1, help="The first sequence.")] = 1,
    follow: Annotated[
        bool, typer.Option("--follow/--no-follow", "-f", help="Wait for what comes, until Ctrl-C.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print an object a line, for programs.")] = False,
    nats: Nats = None,
    data_dir: DataDir = None,
    log_file: LogFile = None,
) -> None:
    """Show the events of the log, oldest first, one a line."""
    wanted = _checked(Wanted(room, purpose, worker, token, task, participant, of_type))
    if follow and log_file is not None:
        raise typer.BadParameter("nothing is added to a file", param_hint="--follow and --log")
    source = log_source(nats, data_dir, log_file)
    try:
        asyncio.run(_tail(source, wanted, start, follow=follow, as_json=as_json))
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    except BrokenPipeError:
        # Whoever read has had enough; what Python still has to write goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _checked(wanted: Wanted) -> Wanted:
    if wanted.room is not None and wanted.purpose is not None:
        message = "an event belongs to a room or to a purpose, not to both"
        raise typer.BadParameter(message, param_hint="--room and --purpose")
    for option, name in (("--room", wanted.room), ("--purpose", wanted.purpose)):
        if name is not None:
            try:
                check_id(name)
            except ValueError as error:
                raise typer.BadParameter(str(error), param_hint=option) from None
    if wanted.type is not None and wanted.type not in CATALOGUE:
        message = f"there is no {wanted.type!r}; there are {', '.join(sorted(CATALOGUE))}"
        raise typer.BadParameter(message, param_hint="--type")
    return wanted


async def _tail(source: LogSource, wanted: Wanted, start: int, *, follow: bool, as_json: bool) -> None:
    async with opened(source, name="roomledger log tail") as found:
        await print_events(found, wanted, start, follow=follow, as_json=as_json)


async def print_events(
    source: ReadableLog, wanted: Wanted, start: int, *, follow: bool, as_json: bool
) -> None:
    """Print the events that are asked for, those that have arrived at once.

    Raises:
        EventStoreError: The log cannot be read.
        BrokenPipeError: Nobody reads what is printed any more.
    """
    only = wanted.boundaries
    commits = source.follow(only, start=start) if follow else source.read(only, start=start)
    line = json_line if as_json else text_line
    async with aclosing(batches(commits)) as arrived:
        async for batch in arrived:
            lines = [
                line(commit, place, event)
                for commit in batch
                for place, event in enumerate(commit.events)
                if wanted.matches(commit, event)
            ]
            if lines:
                sys.stdout.write("\n".join(lines) + "\n")
                sys.stdout.flush()


def text_line(commit: Commit, place: int, event: Event) -> str:
    """Return an event as people read it: address, time, boundary, type, subject, actor, data."""
    data = " ".join(f"{name}={_short(value)}" for name, value in msgspec.to_builtins(event.data).items())
    if len(data) > DATA_SHOWN:
        data = data[: DATA_SHOWN - 1] + "…"
    where = f"{Address(commit.sequence, place)!s:>8}  {moment(event.time)}  {commit.boundary!s:<24}"
    line = f"{where} {event.type:<20} {event.subject}  {event.actor}  {data}"
    return printable(line)


def json_line(commit: Commit, place: int, event: Event) -> str:
    """Return an event as a JSON object: its envelope, where it stands, and when the log stored it."""
    return to_json(plain(commit, place, event))


def plain(commit: Commit, place: int, event: Event) -> dict[str, Any]:
    """Return an event as plain values; see `json_line`."""
    return {
        "address": str(Address(commit.sequence, place)),
        "boundary": str(commit.boundary),
        "stored": moment(commit.time),
        **msgspec.to_builtins(event),
    }


def printable(text: str) -> str:
    """Return a text that cannot steer the reader's terminal, whoever wrote parts of it."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


def _short(value: Any) -> str:  # noqa: ANN401  - a JSON value
    return value if isinstance(value, str) else to_json(value)
