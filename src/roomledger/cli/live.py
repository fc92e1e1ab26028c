"""What commands have in common that ask the cluster manager, and show the answer once or live."""

import asyncio
import getpass
import os
import sys
from collections.abc import Awaitable, Callable, Iterable
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Final, NamedTuple

import msgspec
import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Column, Table
from rich.text import Text

from roomledger import settings
from roomledger.domain.errors import Refusal
from roomledger.runtime.access import open_access
from roomledger.sdk.cluster import Cluster

INTERRUPTED: Final = 130
"""The exit code of a command that was ended by Ctrl-C, as shells have it."""
WIDE: Final = 200
"""So many columns are there where nothing says how many there are, as in a file."""

AsJson = Annotated[bool, typer.Option("--json", help="Print a line of JSON, for programs.")]
Watch = Annotated[bool, typer.Option("--watch", "-w", help="Go on showing it, until Ctrl-C.")]
Every = Annotated[float, typer.Option(metavar="SECONDS", min=0.1, help="How often a watch looks.")]
Seconds = Annotated[
    float | None, typer.Option("--for", metavar="SECONDS", min=0, help="End a watch after so long.")
]
Nats = Annotated[str | None, typer.Option("--nats", help="A server that is there already.")]
DataDir = Annotated[Path | None, typer.Option(help="The data directory of the one that serves.")]


class How(NamedTuple):
    """How something is to be shown.

    Attributes:
        as_json: For programs, a line each time.
        watch: Again and again.
        every: How often, in seconds.
        seconds: For how long; None until Ctrl-C.
        nats: The server; None for the one that the settings tell.
        data_dir: The data directory of the one that serves; None for the settings' one.
    """

    as_json: bool = False
    watch: bool = False
    every: float = 1.0
    seconds: float | None = None
    nats: str | None = None
    data_dir: Path | None = None


class View(NamedTuple):
    """What there is to show.

    Attributes:
        value: For programs.
        shown: For people.
        over: Whether nothing of it will change any more: a watch ends.
    """

    value: Any
    shown: RenderableType
    over: bool = False


Look = Callable[[Cluster], Awaitable[View]]


def show(how: How, look: Look, *, first: Look | None = None) -> None:
    """Ask the cluster manager, and show the answer.

    Args:
        how: How to show it.
        look: Asks.
        first: Asks for the first time, where that is something else, such as an order.

    Raises:
        Refusal: The cluster manager refused, or none answers.
        EventStoreError: The server cannot be reached, or has no log.
        typer.Exit: It was ended by Ctrl-C.
    """
    try:
        asyncio.run(_show(how, look, first or look))
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
    except BrokenPipeError:
        # Whoever read has had enough; what Python still has to write goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def table(title: str, *columns: str) -> Table:
    """Return an empty table."""
    # An id that is cut is none: what does not fit goes on in the next line.
    whole = (Column(column, overflow="fold") for column in columns)
    return Table(*whole, title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD)


def add(to: Table, *cells: str) -> None:
    """Add a row; what others wrote is text, not markup."""
    to.add_row(*map(Text, cells))


async def gather(asking: Iterable[Awaitable[Any]], *, at_once: int = 32) -> list[Any]:
    """Ask for many things, some of them side by side, and return the answers in order."""
    places = asyncio.Semaphore(at_once)

    async def one(question: Awaitable[Any]) -> Any:  # noqa: ANN401  - whatever is asked for
        async with places:
            return await question

    return await asyncio.gather(*map(one, asking))


async def _show(how: How, look: Look, first: Look) -> None:
    access = await open_access(
        settings.load(nats_url=how.nats, data_dir=how.data_dir), name="roomledger command"
    )
    try:
        cluster = Cluster(access.broker, actor=f"operator:{_operator()}")
        display = _Lines() if how.as_json else _Screen()
        view = await first(cluster)
        if not how.watch:
            display.show(view)
            return
        with display.live():
            await _watch(how, cluster, look, display, view)
    finally:
        await access.close()


async def _watch(how: How, cluster: Cluster, look: Look, display: "_Lines | _Screen", view: View) -> None:
    loop = asyncio.get_running_loop()
    end = None if how.seconds is None else loop.time() + how.seconds
    display.show(view)
    while not view.over:
        pause = how.every if end is None else min(how.every, end - loop.time())
        if pause <= 0:
            return
        await asyncio.sleep(pause)
        try:
            view = await look(cluster)
        except Refusal as refusal:
            if refusal.retry_after_ms is None:
                raise
            display.fail(refusal)
        else:
            display.show(view)


class _Lines:
    """JSON for programs, a line each time."""

    @staticmethod
    def live() -> ExitStack:
        return ExitStack()

    @staticmethod
    def show(view: View) -> None:
        print(msgspec.json.encode(view.value).decode(), flush=True)  # noqa: T201  - what the commands are for

    @staticmethod
    def fail(refusal: Refusal) -> None:
        error = {"code": refusal.code, "message": refusal.message}
        print(msgspec.json.encode({"error": error}).decode(), flush=True)  # noqa: T201  - as above


class _Screen:
    """For people: what is there, in one place while it is watched on a terminal."""

    def __init__(self) -> None:
        self._console = Console(highlight=False)
        if not self._console.is_terminal:
            self._console.width = WIDE
        self._live: Live | None = None
        self._last: RenderableType = ""

    def live(self) -> ExitStack:
        stack = ExitStack()
        if self._console.is_terminal:
            self._live = stack.enter_context(Live(console=self._console, auto_refresh=False))
        return stack

    def show(self, view: View) -> None:
        self._last = view.shown
        self._put(view.shown)

    def fail(self, refusal: Refusal) -> None:
        said = Text(f"{datetime.now():%H:%M:%S} {refusal}: this is what was there before", style="red")  # noqa: DTZ005  - the clock on the wall
        self._put(Group(said, self._last))

    def _put(self, shown: RenderableType) -> None:
        if self._live is None:
            self._console.print(shown)
        else:
            self._live.update(shown, refresh=True)


def _operator() -> str:
    """Return who gives the orders, as the log has it."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # somebody without a name, as in some containers
        return str(os.getuid())
