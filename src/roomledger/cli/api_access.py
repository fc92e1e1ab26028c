"""What commands have in common that call the management API: where it is, and as which service."""

import json
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.table import Table

from roomledger import settings
from roomledger.cli.live import WIDE
from roomledger.sdk.errors import ApiUnreachable, NoServiceKey
from roomledger.sdk.management import Management
from roomledger.settings import Settings

ENDPOINTS_FILE: Final = "endpoints.json"
SERVICE_FILE: Final = "service.json"

Api = Annotated[str | None, typer.Option(help="The management API; by default that of `serve`.")]
Key = Annotated[str | None, typer.Option(help="The service's key; by default the first one's.")]


def management_of(api: str | None, key: str | None) -> Management:
    """Return a client; what is not named is taken from what `serve` left in the data directory.

    Raises:
        ApiUnreachable: Nothing tells where the API is.
        NoServiceKey: Nothing tells the key.
        OSError: A file of `serve` cannot be read.
    """
    known = settings.load()
    return Management(api or _api_url(known), key or _key(known))


def show(table: Table) -> None:
    """Show people a table; in a file it is as wide as it needs."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = WIDE
    console.print(table)


def _api_url(known: Settings) -> str:
    told = _file(known, ENDPOINTS_FILE)
    if told is not None and told.get("api"):
        return str(told["api"])
    url = f"http://{known.host}:{known.api_port}"
    if known.api_port == 0:
        raise ApiUnreachable(url, f"no {ENDPOINTS_FILE} in {known.data_dir} tells its port; name it by --api")
    return url


def _key(known: Settings) -> str:
    if known.service_key is not None:
        return known.service_key.get_secret_value()
    told = _file(known, SERVICE_FILE)
    if told is None or not told.get("service_key"):
        raise NoServiceKey(known.data_dir / SERVICE_FILE)
    return str(told["service_key"])


def _file(known: Settings, name: str) -> dict[str, Any] | None:
    """Return what `serve` left in the data directory, if it did."""
    path: Path = known.data_dir / name
    try:
        told = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise OSError(f"{path} cannot be read as JSON: {error}") from error
    return told if isinstance(told, dict) else None
