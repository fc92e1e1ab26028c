"""The command ``participants``: who is in a room."""

import json

import typer

from roomledger.cli.api_access import Api, Key, management_of
from roomledger.cli.api_access import show as show_table
from roomledger.cli.live import AsJson, add, table
from roomledger.cli.room import RoomId, media_of


def participants(room_id: RoomId, *, as_json: AsJson = False, api: Api = None, key: Key = None) -> None:
    """List who is in a room, in the order of joining."""
    with management_of(api, key) as management:
        found = list(management.participants(room_id))
    if as_json:
        typer.echo(json.dumps(found))
        return
    shown = table(f"{len(found)} in {room_id}", "id", "user", "role", "sends", "receives", "joined", "")
    for each in found:
        permission = each["permission"]
        add(
            shown,
            each["id"],
            each["user"],
            each["role"],
            media_of(permission["publish"]),
            media_of(permission["subscribe"]),
            each["joinedAt"],
            "away" if each["away"] else "",
        )
    show_table(shown)
