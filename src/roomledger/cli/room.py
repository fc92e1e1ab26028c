"""The commands ``room create``, ``room show`` and ``room delete``."""

import json
from typing import Annotated, Any

import typer

from roomledger.cli.api_access import Api, Key, management_of
from roomledger.cli.api_access import show as show_table
from roomledger.cli.live import AsJson, add, table
from roomledger.cli.rooms import limit_of

RoomId = Annotated[str, typer.Argument(metavar="ROOM", help="The room's id.")]

room = typer.Typer(help="Create, show and delete rooms.", no_args_is_help=True)


@room.command("create")
def create(
    name: Annotated[str, typer.Argument(help="What people call it.")],
    *,
    room_id: Annotated[
        str | None, typer.Option("--id", help="The id that it is to have; by default it is made up.")
    ] = None,
    limit: Annotated[int, typer.Option(help="How many may be in it at once; 0 or less means no limit.")] = -1,
    as_json: AsJson = False,
    api: Api = None,
    key: Key = None,
) -> None:
    """Create a room with the default roles, and print its id."""
    with management_of(api, key) as management:
        created = management.create_room(name, {"participantLimit": limit}, room=room_id)
    typer.echo(json.dumps(created) if as_json else created["id"])


@room.command("show")
def show(room_id: RoomId, *, as_json: AsJson = False, api: Api = None, key: Key = None) -> None:
    """Show a room."""
    with management_of(api, key) as management:
        found = management.room(room_id)
    if as_json:
        typer.echo(json.dumps(found))
        return
    shown = table(f"{found['name']} ({found['id']}), limit: {limit_of(found)}", "role", "sends", "receives")
    for role in found["roles"]:
        add(shown, role["role"], media_of(role["publish"]), media_of(role["subscribe"]))
    show_table(shown)


@room.command("delete")
def delete(room_id: RoomId, *, as_json: AsJson = False, api: Api = None, key: Key = None) -> None:
    """Delete a room: everybody in it is out, and its tokens are void."""
    with management_of(api, key) as management:
        management.delete_room(room_id)
    typer.echo(json.dumps({"deleted": room_id}) if as_json else f"deleted {room_id}")


def media_of(media: dict[str, Any]) -> str:
    """Return how the media are shown that somebody may send or receive."""
    return ", ".join(name for name, allowed in media.items() if allowed) or "-"
