"""The command ``kick``: remove somebody from a room."""

import json
from typing import Annotated

import typer

from roomledger.cli.api_access import Api, Key, management_of
from roomledger.cli.live import AsJson
from roomledger.cli.room import RoomId


def kick(
    room_id: RoomId,
    participant: Annotated[str, typer.Argument(help="The participant's id; `participants` tells it.")],
    *,
    reason: Annotated[str | None, typer.Option(help="What the participant is told.")] = None,
    as_json: AsJson = False,
    api: Api = None,
    key: Key = None,
) -> None:
    """Remove a participant from a room."""
    with management_of(api, key) as management:
        management.remove_participant(room_id, participant, reason=reason)
    told = {"room": room_id, "participant": participant, "reason": reason}
    typer.echo(json.dumps(told) if as_json else f"removed {participant} from {room_id}")
