"""The command ``token``: ask the management API for one."""

import json
import sys
from typing import Annotated, Any, Final

import typer

from roomledger.cli.api_access import Api, Key, management_of
from roomledger.domain.signed_token import read
from roomledger.sdk.management import Management

DEMO: Final = "demo"
"""The name of the room that is taken, or created, where none is named."""


def token(
    user: Annotated[str, typer.Option(help="Who is to join, by the name that others see.")],
    role: Annotated[str, typer.Option(help="One of the room's roles.")] = "presenter",
    room: Annotated[str | None, typer.Option(help="The room's id; by default a room named demo.")] = None,
    create_room: Annotated[
        str | None, typer.Option("--create-room", metavar="NAME", help="Create a room for it.")
    ] = None,
    isp: Annotated[str | None, typer.Option(help="The user's internet service provider.")] = None,
    region: Annotated[str | None, typer.Option(help="The user's region.")] = None,
    api: Api = None,
    key: Key = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print room, user and role as well.")] = False,  # noqa: FBT002  - a flag
) -> None:
    """Ask for a token, and print it: `roomledger token --user ada | roomledger join -`."""
    if room is not None and create_room is not None:
        raise typer.BadParameter("a room is either there or created", param_hint="--room and --create-room")
    with management_of(api, key) as management:
        found = _room(management, room, create_room)
        text = management.token(found["id"], user=user, role=role, isp=isp, region=region)
    if not as_json:
        print(text)  # noqa: T201  - what the command is for
        return
    claims, _ = read(text)
    told = {
        "token": text,
        "token_id": claims.token,
        "room": found["id"],
        "room_name": found["name"],
        "user": user,
        "role": role,
        "url": claims.url,
    }
    print(json.dumps(told))  # noqa: T201  - as above


def _room(management: Management, room: str | None, create: str | None) -> dict[str, Any]:
    if room is not None:
        return management.room(room)
    if create is not None:
        return _created(management, create)
    for found in management.rooms():
        if found["name"] == DEMO:
            return found
    return _created(management, DEMO)


def _created(management: Management, name: str) -> dict[str, Any]:
    created = management.create_room(name)
    print(f"created the room {name!r} with the id {created['id']}", file=sys.stderr)  # noqa: T201  - for people
    return created
