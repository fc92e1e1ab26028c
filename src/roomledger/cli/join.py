"""The command ``join``: log in with a token, print what the portal tells, send the lines that are typed."""

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Coroutine
from datetime import datetime
from typing import Annotated, Any, Final, Protocol, TypeVar

import msgspec
import typer
from rich.console import Console
from rich.markup import escape

from roomledger.sdk.client import Client, ConnectionBack, ConnectionLost, LoggedIn, Notification, Told
from roomledger.sdk.errors import PortalFailure

STDIN: Final = "-"
_CHUNK: Final = 64 * 1024

Result = TypeVar("Result")


def join(
    token: Annotated[
        str, typer.Argument(help="The token's text; - reads it from standard input, from the first line.")
    ],
    url: Annotated[
        str | None, typer.Option(help="The portal; by default the one that the token names.")
    ] = None,
    others: Annotated[
        list[str] | None, typer.Option("--other", help="Another portal, for when that one is gone.")
    ] = None,
    as_json: Annotated[  # noqa: FBT002  - a flag
        bool, typer.Option("--json", help="Print a line of JSON for each thing told.")
    ] = False,
    seconds: Annotated[
        float | None, typer.Option("--for", metavar="SECONDS", min=0, help="Log out after so long.")
    ] = None,
) -> None:
    """Join a room and stay until Ctrl-C: `roomledger token --user ada | roomledger join -`.

    Lines from standard input are sent to all who are in the room. A connection that is lost comes back by
    itself.
    """
    lines = _Lines()
    text = lines.read() or "" if token == STDIN else token
    printed: _Printed = _AsJson() if as_json else _Sentences()
    asyncio.run(_join(Client(text.strip(), url=url, urls=others or ()), lines, printed, seconds))


async def _join(client: Client, lines: "_Lines", printed: "_Printed", seconds: float | None) -> None:
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
        sending = asyncio.create_task(_send(client, lines, printed))
        await _unless(enough, _listen(client, printed))
        sending.cancel()
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
    async for told in client:
        printed.told(told)


async def _send(client: Client, lines: "_Lines", printed: "_Printed") -> None:
    """Send each line that is typed to all."""
    typed = lines.follow()
    while (line := await typed.get()) is not None:
        if not line:
            continue
        try:
            await client.text("all", line)
        except PortalFailure as failure:
            printed.unsent(line, failure)


class _Lines:
    """The lines of standard input."""

    def __init__(self) -> None:
        self._rest = b""

    def read(self) -> str | None:
        """Wait for the next line and return it; None at the end."""
        # Not by sys.stdin: its lock would be held by a thread that still waits when the process ends.
        while b"\n" not in self._rest:
            chunk = os.read(0, _CHUNK)
            if not chunk:
                rest, self._rest = self._rest, b""
                return rest.decode(errors="replace") if rest else None
            self._rest += chunk
        line, _, self._rest = self._rest.partition(b"\n")
        return line.decode(errors="replace").rstrip("\r")

    def follow(self) -> "asyncio.Queue[str | None]":
        """Return where lines come as they are typed; the last thing is None."""
        lines: asyncio.Queue[str | None] = asyncio.Queue()
        if sys.stdin is None or _is_in_background():
            lines.put_nowait(None)
            return lines
        threading.Thread(target=self._pass_on, args=(asyncio.get_running_loop(), lines), daemon=True).start()
        return lines

    def _pass_on(self, loop: asyncio.AbstractEventLoop, lines: "asyncio.Queue[str | None]") -> None:
        line: str | None = ""
        while line is not None:
            try:
                line = self.read()
            except OSError:  # there is no such input, or no more
                line = None
            try:
                loop.call_soon_threadsafe(lines.put_nowait, line)
            except RuntimeError:  # the loop is closed: nobody sends anything any more
                return


def _is_in_background() -> bool:
    """Return whether reading would stop the process: the terminal is somebody else's."""
    return os.isatty(0) and os.tcgetpgrp(0) != os.getpgrp()


class _Printed(Protocol):
    def login(self, login: LoggedIn) -> None: ...
    def told(self, told: Told) -> None: ...
    def unsent(self, message: str, failure: PortalFailure) -> None: ...
    def logout(self) -> None: ...


class _AsJson:
    """JSON for programs: first the login's result, then each thing told."""

    def login(self, login: LoggedIn) -> None:
        told = msgspec.to_builtins(login)
        told.pop("ticket", None)  # who reads it could take the session over
        self._print(told)

    def told(self, told: Told) -> None:
        match told:
            case Notification(method, params):
                self._print({"method": method, "params": params})
            case ConnectionLost(code, reason):
                self._print({"connection": "lost", "code": code, "reason": reason})
            case ConnectionBack(url, missed, seconds):
                self._print(
                    {"connection": "back", "url": url, "missed": missed, "seconds": round(seconds, 3)}
                )

    def unsent(self, message: str, failure: PortalFailure) -> None:
        self._print({"unsent": message, "reason": str(failure)})

    def logout(self) -> None:
        """Print nothing: what is printed is what the portal told."""

    @staticmethod
    def _print(value: object) -> None:
        print(msgspec.json.encode(value).decode(), flush=True)  # noqa: T201  - what the command is for


class _Sentences:
    """Sentences for people."""

    def __init__(self) -> None:
        self._console = Console(highlight=False, soft_wrap=True)
        self._users: dict[str, str] = {}

    def login(self, login: LoggedIn) -> None:
        self._users = {each.id: each.user for each in login.room.participants}
        others = [each.user for each in login.room.participants if each.id != login.id]
        self._say(f"[bold]{escape(login.user)}[/] ({escape(login.role)}) is in {escape(login.room.name)}")
        self._say("  with " + escape(", ".join(others)) if others else "  alone so far")

    def told(self, told: Told) -> None:
        match told:
            case Notification(method, params):
                self._notification(method, params)
            case ConnectionLost(_, reason):
                why = f" ({escape(reason)})" if reason else ""
                self._say(f"[yellow]lost[/] the connection{why}; coming back")
            case ConnectionBack(_, missed, seconds):
                what = "1 thing" if missed == 1 else f"{missed} things"
                self._say(f"[green]back[/] after {seconds:.1f} s, in which {what} happened")

    def unsent(self, message: str, failure: PortalFailure) -> None:
        self._say(f"[red]not sent:[/] {escape(message)}: {escape(str(failure))}")

    def logout(self) -> None:
        self._say("logged out")

    def _notification(self, method: str, params: dict[str, Any]) -> None:
        match method, params:
            case "participant", {"action": "join", "participant": who}:
                self._users[str(who.get("id"))] = str(who.get("user"))
                self._say(f"[green]+[/] {_name(who)} came")
            case "participant", {"action": "leave", "participant": who}:
                self._users.pop(str(who.get("id")), None)
                self._say(f"[red]-[/] {_name(who)} left ({escape(str(params.get('reason', '')))})")
            case "text", {"from": sender, "message": message, "to": to}:
                to_me = " to me" if to == "me" else ""
                user = self._users.get(str(sender), str(sender))
                self._say(f"[bold]{escape(user)}[/]{to_me}: {escape(str(message))}")
            case "drop", {"reason": reason}:
                self._say(f"[bold red]out:[/] {escape(str(reason))}")
            case _:
                self._say(f"{escape(method)} {escape(msgspec.json.encode(params).decode())}")

    def _say(self, text: str) -> None:
        self._console.print(f"[dim]{datetime.now():%H:%M:%S}[/] {text}")  # noqa: DTZ005  - the clock on the wall


def _name(who: dict[str, Any]) -> str:
    return f"[bold]{escape(str(who.get('user', '')))}[/] ({escape(str(who.get('role', '')))})"
