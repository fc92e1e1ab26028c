"""The command ``roomledger``."""

import sys
from collections.abc import Coroutine, Sequence
from typing import Annotated, Any

import typer

from roomledger.cli.commands import Commands

EVERYTHING = ("cluster-manager", "conference", "portal", "management-api")
"""All processes, in the order of their start."""

NatsUrl = Annotated[str | None, typer.Option("--nats", help="A server that is there already.")]
NoSnapshot = Annotated[bool, typer.Option("--no-snapshot", help="Read the whole log at the start.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Say more.")]

app = typer.Typer(
    name="roomledger",
    cls=Commands,
    help="A control plane for real-time rooms whose every change is an event in one log.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


@app.command("version")
def version() -> None:
    """Print the version."""
    from roomledger import __version__  # noqa: PLC0415  - the other commands need not wait for it

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
    from roomledger import settings  # noqa: PLC0415  - as above
    from roomledger.cli.serve import serve  # noqa: PLC0415  - as above

    _prepare(verbose=verbose)
    known = settings.load(nats_url=nats, snapshots=False if no_snapshot else None)
    raise typer.Exit(_loop(serve(known, names, embedded=embedded)))


def _loop(work: Coroutine[Any, Any, int]) -> int:
    try:
        import uvloop  # noqa: PLC0415  - it is not to be had everywhere
    except ImportError:
        import asyncio  # noqa: PLC0415  - as above

        return asyncio.run(work)
    return uvloop.run(work)


def _prepare(*, verbose: bool = False) -> None:
    from roomledger.cli import log_lines  # noqa: PLC0415  - only what is run says anything

    log_lines.set_up(verbose=verbose)


def main() -> None:
    """Run the command line; what can be told in a sentence is told in one, without a traceback."""
    try:
        app(obj=_prepare)
    except Exception as error:
        from roomledger.cli.failures import told  # noqa: PLC0415  - as above

        lines, code = told(error)
        if code is None:
            raise
        for line in lines:
            print(f"roomledger: {line}", file=sys.stderr)  # noqa: T201  - for people
        raise SystemExit(code) from None
