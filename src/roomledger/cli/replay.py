"""The command ``replay``: the cluster at any moment, from the log alone."""

import asyncio
import json
import re
from datetime import datetime
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from roomledger.cli.log_source import DataDir, LogFile, LogSource, Nats, log_source, opened
from roomledger.cli.progress import progress_shown
from roomledger.runtime.rebuilding import Moment, rebuilt

TOKENS_SHOWN: Final = 20
"""The newest tokens are for people; programs get all."""


def replay(
    *,
    at: Annotated[
        str | None,
        typer.Option(metavar="SEQ|TIME", help="The moment: a sequence of the log, or a time with its zone."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print it for programs.")] = False,
    nats: Nats = None,
    data_dir: DataDir = None,
    log_file: LogFile = None,
) -> None:
    """Show the cluster as it is, or as it was at any moment, from the log alone."""
    wanted = None if at is None else moment_of(at)
    state = asyncio.run(_state(log_source(nats, data_dir, log_file), wanted))
    if as_json:
        typer.echo(json.dumps(state))
    else:
        _show(state)


def moment_of(text: str) -> int | datetime:
    """Read a sequence or a time.

    Raises:
        typer.BadParameter: It is neither, or a time without zone.
    """
    if re.fullmatch(r"[0-9]{1,19}", text):
        return int(text)
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        message = f"{text[:40]!r} is neither a sequence nor a time such as 2026-01-31T12:00:00Z"
        raise typer.BadParameter(message, param_hint="--at") from None
    if found.tzinfo is None:
        message = f"{text!r} has no time zone: add Z for UTC, or an offset such as +02:00"
        raise typer.BadParameter(message, param_hint="--at")
    return found


async def _state(source: LogSource, at: Moment) -> dict[str, Any]:
    async with opened(source, name="roomledger replay") as log:
        with (
            progress_shown("replay") as on_progress,
            await rebuilt(log, at, on_progress=on_progress) as state,
        ):
            if state.unreadable:
                typer.echo(
                    f"{state.unreadable} events were left out: this version cannot read them", err=True
                )
            return state.as_json()


def _show(state: dict[str, Any]) -> None:
    console = Console()
    console.print(f"sequence [bold]{state['sequence']}[/bold], {state['time'] or 'before anything happened'}")
    held: dict[str, int] = {}
    for task in state["tasks"]:
        held[task["worker"]] = held.get(task["worker"], 0) + 1
    workers = _table(console, "workers", "purpose", "worker", "state", "load", "tasks", "address")
    for worker in state["workers"]:
        port = "" if worker["port"] is None else f":{worker['port']}"
        address = worker["via_host"] or f"{worker['hostname'] or worker['ip']}{port}"
        condition = "draining" if worker["draining_since"] else _STATES.get(worker["state"], "ready")
        load = "-" if worker["load"] is None else f"{worker['load']:.2f}"
        row = (worker["purpose"], worker["id"], condition, load, str(held.get(worker["id"], 0)), address)
        _add(workers, *row)
    tasks = _table(console, "tasks", "purpose", "task", "worker", "state", "until")
    for task in state["tasks"]:
        _add(tasks, task["purpose"], task["id"], task["worker"], task["state"], task["expires_at"] or "")
    rooms = _table(console, "rooms", "room", "name", "service", "node", "participants")
    for room in state["rooms"]:
        present = ", ".join(_named(each) for each in room["participants"])
        _add(rooms, room["id"], room["name"], room["service"], room["controller_node"] or "", present)
    tokens = _table(console, "tokens", "token", "room", "user", "role", "state", "by", "until")
    for token in state["tokens"][-TOKENS_SHOWN:]:
        by = (token["used_by"] if token["state"] == "used" else token["revoked_by"]) or ""
        row = (token["id"], token["room"], token["user"], token["role"], token["state"], by)
        _add(tokens, *row, token["expires_at"])
    if len(state["tokens"]) > TOKENS_SHOWN:
        tokens.caption = f"the newest {TOKENS_SHOWN} of {len(state['tokens'])}"
    for table in (workers, tasks, rooms, tokens):
        console.print(table)


def _add(table: Table, *cells: str) -> None:
    """Add a row; what users wrote is text, not markup."""
    table.add_row(*map(Text, cells))


_STATES: Final = {0: "not ready", 1: "initializing"}


def _named(participant: dict[str, Any]) -> str:
    away = ", away" if participant["away"] else ""
    return f"{participant['user']} ({participant['role']}{away})"


def _table(console: Console, title: str, *columns: str) -> Table:
    # An id that is cut is none: what does not fit goes on in the next line.
    whole = (Column(column, overflow="fold") for column in columns)
    table = Table(*whole, title=title, title_justify="left", title_style="bold", highlight=False)
    table.expand = console.is_terminal
    return table
