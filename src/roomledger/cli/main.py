"""The command ``roomledger``."""

import asyncio
import sys
from collections.abc import Coroutine, Sequence
from typing import Annotated, Any

import pydantic
import typer

from roomledger import __version__, settings
from roomledger.cli import log_lines
from roomledger.cli.audit import audit
from roomledger.cli.drain import drain, undrain
from roomledger.cli.explain import explain
from roomledger.cli.export import export
from roomledger.cli.import_log import import_log
from roomledger.cli.join import join
from roomledger.cli.kick import kick
from roomledger.cli.log import log
from roomledger.cli.nats_context import nats_context
from roomledger.cli.node import node
from roomledger.cli.participants import participants
from roomledger.cli.projections import projections
from roomledger.cli.replay import replay
from roomledger.cli.room import room
from roomledger.cli.rooms import rooms
from roomledger.cli.schedule import schedule
from roomledger.cli.simulate import simulate
from roomledger.cli.tasks import tasks
from roomledger.cli.token import token
from roomledger.cli.token_key import token_key
from roomledger.cli.verify import verify
from roomledger.cli.workers import workers
from roomledger.domain.errors import Refusal, UnknownStrategy
from roomledger.event_store.errors import EventStoreError
from roomledger.runtime.errors import RuntimeFailure
from roomledger_projections.errors import ProjectionError

FAILURES = (
    EventStoreError,
    RuntimeFailure,
    ProjectionError,
    Refusal,
    UnknownStrategy,
    OSError,
    settings.UnknownSetting,
    settings.UnreadableSettings,
)
"""What ends a command with one sentence: nothing is wrong with the program."""

EVERYTHING = ("cluster-manager", "conference", "portal", "management-api")
"""All processes, in the order of their start."""

NatsUrl = Annotated[str | None, typer.Option("--nats", help="A server that is there already.")]
NoSnapshot = Annotated[bool, typer.Option("--no-snapshot", help="Read the whole log at the start.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Say more.")]

app = typer.Typer(
    name="roomledger",
    help="A control plane for real-time rooms whose every change is an event in one log.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.command("token")(token)
app.command("join")(join)
app.command("rooms")(rooms)
app.add_typer(room, name="room")
app.command("participants")(participants)
app.command("kick")(kick)
app.command("workers")(workers)
app.command("tasks")(tasks)
app.command("drain")(drain)
app.command("undrain")(undrain)
app.command("schedule")(schedule)
app.command("replay")(replay)
app.command("audit")(audit)
app.command("export")(export)
app.command("import")(import_log)
app.command("verify")(verify)
app.command("simulate")(simulate)
app.command("nats-context")(nats_context)
app.command("node", hidden=True)(node)
app.add_typer(log, name="log")
app.add_typer(projections, name="projections")
app.add_typer(explain, name="explain")
app.add_typer(token_key, name="token-key")


@app.command("version")
def version() -> None:
    """Print the version."""
    typer.echo(__version__)


@app.command("serve")
def serve_all(*, nats: NatsUrl = None, no_snapshot: NoSnapshot = False, verbose: Verbose = False) -> None:
    """Run everything in one process, with a nats-server of its own unless one is named."""
    _run(EVERYTHING, nats, embedded=True, no_snapshot=no_snapshot, verbose=verbose)


@app.command("cluster-manager")
def cluster_manager(
    *, nats: NatsUrl = None, no_snapshot: NoSnapshot = False, verbose: Verbose = False
) -> None:
    """Run a cluster manager: it decides which worker gets which task."""
    _run(["cluster-manager"], nats, embedded=False, no_snapshot=no_snapshot, verbose=verbose)


@app.command("conference")
def conference(nats: NatsUrl = None, verbose: Verbose = False) -> None:  # noqa: FBT002  - a flag
    """Run a conference worker: its node decides for rooms."""
    _run(["conference"], nats, embedded=False, verbose=verbose)


@app.command("portal")
def portal(nats: NatsUrl = None, verbose: Verbose = False) -> None:  # noqa: FBT002  - a flag
    """Run a portal: clients connect to it."""
    _run(["portal"], nats, embedded=False, verbose=verbose)


@app.command("management-api")
def management_api(nats: NatsUrl = None, verbose: Verbose = False) -> None:  # noqa: FBT002  - a flag
    """Run a management API: it creates rooms and hands tokens out."""
    _run(["management-api"], nats, embedded=False, verbose=verbose)


def _run(
    names: Sequence[str], nats: str | None, *, embedded: bool, no_snapshot: bool = False, verbose: bool
) -> None:
    from roomledger.cli.serve import serve  # noqa: PLC0415  - the other commands need not wait for it

    log_lines.set_up(verbose=verbose)
    known = settings.load(nats_url=nats, snapshots=False if no_snapshot else None)
    raise typer.Exit(_loop(serve(known, names, embedded=embedded)))


def _loop(work: Coroutine[Any, Any, int]) -> int:
    try:
        import uvloop  # noqa: PLC0415  - it is not to be had everywhere
    except ImportError:
        return asyncio.run(work)
    return uvloop.run(work)


def main() -> None:
    """Run the command line; what can be told in a sentence is told in one, without a traceback."""
    log_lines.set_up()
    try:
        app()
    except pydantic.ValidationError as error:
        for problem in error.errors():
            place = ".".join(map(str, problem["loc"]))
            print(f"roomledger: setting {place}: {problem['msg']}", file=sys.stderr)  # noqa: T201  - for people
        raise SystemExit(2) from None
    except FAILURES as error:
        print(f"roomledger: {error}", file=sys.stderr)  # noqa: T201  - for people
        raise SystemExit(1) from None
