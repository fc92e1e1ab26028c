"""The command ``rooms``: which there are."""

import json
from typing import Any

import typer

from roomledger.cli.api_access import Api, Key, management_of
from roomledger.cli.api_access import show as show_table
from roomledger.cli.live import AsJson, add, table


def rooms(*, as_json: AsJson = False, api: Api = None, key: Key = None) -> None:
    """List the service's rooms, oldest first."""
    with management_of(api, key) as management:
        found = list(management.rooms())
    if as_json:
        typer.echo(json.dumps(found))
        return
    shown = table(f"{len(found)} rooms", "id", "name", "limit", "roles")
    for room in found:
        add(
            shown, room["id"], room["name"], limit_of(room), ", ".join(role["role"] for role in room["roles"])
        )
    show_table(shown)


def limit_of(room: dict[str, Any]) -> str:
    """Return how a room's limit is shown."""
    limit = room["participantLimit"]
    return str(limit) if limit > 0 else "none"
