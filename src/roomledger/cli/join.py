"""The command ``join``: log in with a token, and print what the portal tells."""

import asyncio
import signal
import sys
from collections.abc import Coroutine
from datetime import datetime
from typing import Annotated, Any, Final, Protocol, TypeVar

import msgspec
import typer
from rich.console import Console
from rich.markup import escape

from roomledger.sdk.client import Client, LoggedIn, Notification

STDIN: Final = "-"

Result = TypeVar("Result")


def join(
    token: Annotated[str, typer.Argument(help="The token's text; - reads it from standard input.")],
    url: Annotated[
        str | None, typer.Option(help="The portal; by default the one that the token names.")
    ] = None,
    as_json: Annotated[  # noqa: FBT002  - a flag
        bool, typer.Option("--json", help="Print a line of JSON for each thing told.")
    ] = False,
    seconds: Annotated[
        float | None, typer.Option("--for", metavar="SECONDS", min=0, help="Log out after so long.")
    ] = None,
) -> None:
    """Join a room and stay until Ctrl-C: `roomledger token --user ada | roomledger join -`."""
    text = sys.stdin.read() if token == STDIN else token
    printed: _Printed = _Lines() if as_json else _Sentences()
    asyncio.run(_join(Client(text.strip(), url=url), printed, seconds))


async def _join(client: Client, printed: "_Printed", seconds: float | None) -> None:
    enough = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, enough.set)
    try:
        login = await _unless(enough, _log_in(client))
        if login is None:
            return
        printed.login(login)
        if seconds is not None:
            loop.call_later(seconds, enough.set)
        await _unless(enough, _listen(client, printed))
        if enough.is_set():
            await client.logout()
            printed.logout()
    finally:
        await client.close()


async def _unless(enough: asyncio.Event, work: Coroutine[Any, Any, Result]) -> Result | None:
    """Do something until it is done or it is enough; None if it was enough."""
    doing, waiting = asyncio.create_task(work), asyncio.create_task(enough.wait())
    try:
        await asyncio.wait({doing, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if doing.done():
            return doing.result()
        return None
    finally:
        for task in (doing, waiting):
            task.cancel()
        await asyncio.gather(doing, waiting, return_exceptions=True)


async def _log_in(client: Client) -> LoggedIn:
    await client.connect()
    return await client.login()


async def _listen(client: Client, printed: "_Printed") -> None:
    async for notification in client:
        printed.notification(notification)


class _Printed(Protocol):
    def login(self, login: LoggedIn) -> None: ...
    def notification(self, told: Notification) -> None: ...
    def logout(self) -> None: ...


class _Lines:
    """JSON for programs: first the login's result, then each notification."""

    def login(self, login: LoggedIn) -> None:
        told = msgspec.to_builtins(login)
        if login.ticket is None:
            told.pop("ticket", None)
        self._print(told)

    def notification(self, told: Notification) -> None:
        self._print({"method": told.method, "params": told.params})

    def logout(self) -> None:
        """Print nothing: what is printed is what the portal told."""

    @staticmethod
    def _print(value: object) -> None:
        print(msgspec.json.encode(value).decode(), flush=True)  # noqa: T201  - what the command is for


class _Sentences:
    """Sentences for people."""

    def __init__(self) -> None:
        self._console = Console(highlight=False, soft_wrap=True)

    def login(self, login: LoggedIn) -> None:
        others = [each.user for each in login.room.participants if each.id != login.id]
        self._say(f"[bold]{escape(login.user)}[/] ({escape(login.role)}) is in {escape(login.room.name)}")
        self._say("  with " + escape(", ".join(others)) if others else "  alone so far")

    def notification(self, told: Notification) -> None:
        params = told.params
        match told.method, params:
            case "participant", {"action": "join", "participant": who}:
                self._say(f"[green]+[/] {_name(who)} came")
            case "participant", {"action": "leave", "participant": who}:
                self._say(f"[red]-[/] {_name(who)} left ({escape(str(params.get('reason', '')))})")
            case "drop", {"reason": reason}:
                self._say(f"[bold red]out:[/] {escape(str(reason))}")
            case _:
                self._say(f"{escape(told.method)} {escape(msgspec.json.encode(params).decode())}")

    def logout(self) -> None:
        self._say("logged out")

    def _say(self, text: str) -> None:
        self._console.print(f"[dim]{datetime.now():%H:%M:%S}[/] {text}")  # noqa: DTZ005  - the clock on the wall


def _name(who: dict[str, Any]) -> str:
    return f"[bold]{escape(str(who.get('user', '')))}[/] ({escape(str(who.get('role', '')))})"
