"""The command ``nats-context``: a context file, with which the `nats` tool works at once.

The format is the tool's own (`orbit.go/natscontext`): one JSON object a file, its name is the context's.
`context.txt` beside their directory names the one that is used when none is asked for.
"""

import json
import os
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from roomledger import settings
from roomledger.runtime.data_directory import OWNER_ONLY_DIRECTORY, OWNER_ONLY_FILE, DataDirectory
from roomledger.runtime.errors import NatsContextNotWritten
from roomledger.runtime.nats_credentials import INBOX_PREFIX, password_variable, read_credentials
from roomledger.runtime.nats_server import URL_FILE

NAME: Final = "roomledger"


class User(StrEnum):
    """As whom the tool connects."""

    SERVICE = "service"
    AUDIT = "audit"
    ADMIN = "admin"


def default_name(user: str) -> str:
    """Return a context's name: the service's has no suffix, it is the one that is used most."""
    return NAME if user == User.SERVICE else f"{NAME}-{user}"


def context_directory(environ: Mapping[str, str]) -> Path:
    """Return where the `nats` tool looks for contexts."""
    configuration = environ.get("XDG_CONFIG_HOME") or Path(environ.get("HOME") or Path.home()) / ".config"
    return Path(configuration) / "nats" / "context"


def context(url: str, user: str, password: str, *, data: Path, ca: Path | None = None) -> dict[str, str]:
    """Return a context's content.

    Args:
        url: Where the server is.
        user: As whom to connect.
        password: That user's.
        data: The data directory; a context says whose it is, so that it may be replaced later.
        ca: A file with the certificates to trust.
    """
    content = {
        "description": f"roomledger with the data directory {data}",
        "url": url,
        "user": user,
        "password": password,
        "inbox_prefix": INBOX_PREFIX[user],
    }
    return content if ca is None else content | {"ca": str(ca.absolute())}


def may_replace(found: str | None, content: Mapping[str, str]) -> bool:
    """Tell whether a context may be written over: it says the same, or is ours for this data directory."""
    if found is None:
        return True
    try:
        old = json.loads(found)
    except ValueError:
        return False
    if not isinstance(old, dict):
        return False
    ours = old.get("description") == content["description"]
    return ours or all(old.get(name) == value for name, value in content.items() if name != "description")


def write_context(directory: Path, name: str, content: Mapping[str, str], *, force: bool = False) -> Path:
    """Write a context's file, for the owner's eyes only, and return its path.

    Raises:
        NatsContextNotWritten: There is another one of that name.
        OSError: It cannot be written.
    """
    path = directory / f"{name}.json"
    found = path.read_text(encoding="utf-8", errors="replace") if path.exists() else None
    if not force and not may_replace(found, content):
        reason = f"{path} is another one; choose a name with --name, or replace it with --force"
        raise NatsContextNotWritten(name, reason)
    _write(path, json.dumps(content, indent=2) + "\n")
    return path


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(mode=OWNER_ONLY_DIRECTORY, parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, OWNER_ONLY_FILE), "w") as file:
        file.write(text)
    new.replace(path)


def _chosen(name: str | None) -> str | None:
    if name is not None and not (name.replace("-", "").replace("_", "").isalnum() and name.isascii()):
        message = "letters, digits, - and _ only"
        raise typer.BadParameter(message)
    return name


def nats_context(
    *,
    user: Annotated[User, typer.Option(help="As whom the tool connects.")] = User.SERVICE,
    name: Annotated[
        str | None,
        typer.Option(
            callback=_chosen, help="The context's name.", show_default="roomledger, or roomledger-USER"
        ),
    ] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Where the passwords are.")] = None,
    nats: Annotated[
        str | None,
        typer.Option(help="The server's url.", show_default="the one that runs on the data directory"),
    ] = None,
    select: Annotated[bool, typer.Option("--select", help="Make it the tool's default.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace a context of somebody else.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Say what was written as JSON.")] = False,
) -> None:
    """Write a context file, so that the nats tool works with this cluster at once."""
    configured = settings.load(data_dir=data_dir, nats_url=nats)
    data = DataDirectory(configured.data_dir)
    chosen = name or default_name(user)
    url = configured.nats_url or (data.read(URL_FILE) or "").strip()
    if not url:
        reason = (
            f"no roomledger serves on {data.path} now; start `roomledger serve`, or name a server with --nats"
        )
        raise NatsContextNotWritten(chosen, reason)
    password = _password(configured, data, user)
    if password is None:
        reason = f"the password of {user} is not known; it is in {password_variable(user)} or in {data.path}"
        raise NatsContextNotWritten(chosen, reason)
    directory = context_directory(os.environ)
    content = context(url, user, password, data=data.path, ca=configured.nats_tls_ca)
    path = write_context(directory, chosen, content, force=force)
    if select:
        _write(directory.parent / "context.txt", chosen)
    told: dict[str, Any] = {
        "context": chosen,
        "path": str(path),
        "url": url,
        "user": user,
        "selected": select,
    }
    if as_json:
        typer.echo(json.dumps(told))
        return
    typer.echo(f"wrote {path}")
    typer.echo(f"try:  nats {'' if select else f'--context {chosen} '}sub '{configured.feed}.>'")


def _password(configured: settings.Settings, data: DataDirectory, user: str) -> str | None:
    if configured.nats_password is not None and configured.nats_user == user:
        return configured.nats_password.get_secret_value()
    return read_credentials(data, os.environ).get(user)
