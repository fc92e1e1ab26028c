"""The commands ``token-key rotate`` and ``token-key show``: since when there is which key, never a secret."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from roomledger import settings
from roomledger.cli.api_access import show as show_table
from roomledger.cli.live import AsJson, Nats, add, table
from roomledger.runtime.access import open_access
from roomledger.runtime.token_keys import TokenKey, TokenKeys

token_key = typer.Typer(help="See and replace the key that tokens are signed with.", no_args_is_help=True)


@token_key.command("rotate")
def rotate(
    *,
    force: Annotated[
        bool, typer.Option("--force", help="Also if tokens out that the key before has signed get void.")
    ] = False,
    as_json: AsJson = False,
    nats: Nats = None,
) -> None:
    """Make a new key; tokens that are out stay good, and all processes take it up by themselves."""
    _show(_asked(nats, lambda keys: keys.rotate(force=force)), as_json=as_json)


@token_key.command("show")
def show(*, as_json: AsJson = False, nats: Nats = None) -> None:
    """Show since when there are which keys; they themselves are not shown."""
    _show(_asked(nats, lambda keys: keys.load()), as_json=as_json)


def _asked(nats: str | None, ask: Callable[[TokenKeys], Awaitable[object]]) -> list[dict[str, Any]]:
    """Do something with the keys, and return how they are then."""

    async def work() -> list[dict[str, Any]]:
        known = settings.load(nats_url=nats)
        access = await open_access(known, name="roomledger token-key")
        try:
            keys = TokenKeys(access.broker, known)
            await ask(keys)
            return [_told(key) for key in keys.keys]
        finally:
            await access.close()

    return asyncio.run(work())


def _told(key: TokenKey) -> dict[str, Any]:
    now = datetime.now(UTC)
    if key.signs_from is not None and key.signs_from > now:
        state = "signs soon"
    elif key.good_until is None:
        state = "signs"
    else:
        state = "still good" if key.good_until > now else "void"
    return {
        "state": state,
        "created": _time(key.created),
        "signs_from": _time(key.signs_from or key.created),
        "good_until": None if key.good_until is None else _time(key.good_until),
    }


def _time(moment: datetime) -> str:
    return f"{moment:%FT%TZ}"


def _show(keys: list[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps({"keys": keys}))
        return
    shown = table("token keys", "state", "created", "signs from", "good until")
    for key in keys:
        add(shown, key["state"], key["created"], key["signs_from"], key["good_until"] or "-")
    show_table(shown)
