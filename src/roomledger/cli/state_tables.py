"""The state of the cluster as tables, for people."""

from typing import Any, Final

from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from roomledger.runtime.differences import KEYS, Changed, Difference

TOKENS_SHOWN: Final = 20
"""The newest tokens are for people; programs get all."""


def show_state(state: dict[str, Any]) -> None:
    """Print a state."""
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


def show_differences(before: dict[str, Any], after: dict[str, Any], found: dict[str, Difference]) -> None:
    """Print what is different between two states: what came, went, and changed."""
    console = Console()
    for name, state in (("from", before), ("to", after)):
        console.print(f"{name} sequence [bold]{state['sequence']}[/bold], {state['time']}")
    if not any(found.values()):
        console.print("nothing is different")
        return
    table = _table(console, "differences", "", "what", "id", "how")
    for kind, difference in found.items():
        one = kind.removesuffix("s")
        for sign, style, rows in (("+", "green", difference.added), ("-", "red", difference.removed)):
            for row in rows:
                table.add_row(Text(sign, style), one, Text(_id_of(kind, row)), Text(_summary(kind, row)))
        for changed in difference.changed:
            table.add_row(Text("~", "yellow"), one, Text(_id_of(kind, changed.key)), Text(_told(changed)))
    console.print(table)
    counts = (
        f"{kind}: {len(each.added)} came, {len(each.removed)} went, {len(each.changed)} changed"
        for kind, each in found.items()
        if each
    )
    console.print(Text("; ".join(counts)))


_SUMMARIES: Final = {
    "workers": ("purpose", "ip", "port"),
    "tasks": ("worker", "state", "expires_at"),
    "rooms": ("name", "service"),
    "participants": ("user", "role", "portal"),
    "tokens": ("user", "role", "room", "state"),
}
"""The columns that are shown of what came or went."""


def _summary(kind: str, row: dict[str, Any]) -> str:
    return ", ".join(_value(row[name]) for name in _SUMMARIES[kind] if row.get(name) is not None)


def _id_of(kind: str, row: dict[str, Any]) -> str:
    return " ".join(str(row[name]) for name in KEYS[kind])


def _told(changed: Changed) -> str:
    return ", ".join(f"{name} {_value(old)} → {_value(new)}" for name, (old, new) in changed.changes.items())


def _value(value: object) -> str:
    return "nothing" if value is None else str(value)
