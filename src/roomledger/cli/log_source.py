"""Where a command reads the log: on a server, or in an exported file."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from roomledger import settings
from roomledger.cli.live import DataDir, Nats
from roomledger.cli.progress import opened_file
from roomledger.event_store.file_log import FileLog
from roomledger.event_store.store import ReadableLog, StoredLog
from roomledger.runtime.access import open_access
from roomledger.runtime.errors import LogInPart
from roomledger.settings import Settings

__all__ = ["DataDir", "LogFile", "LogSource", "Nats", "check_begins", "log_source", "opened"]

LogFile = Annotated[
    Path | None, typer.Option("--log", metavar="FILE", help="An exported log instead of a server.")
]


class LogSource(NamedTuple):
    """Where to read the log.

    Attributes:
        settings: Of this command; they tell the server, too.
        file: An exported log; None for the server.
    """

    settings: Settings
    file: Path | None


def log_source(nats: str | None, data_dir: Path | None, file: Path | None) -> LogSource:
    """Return what these options say.

    Raises:
        typer.BadParameter: They name both a server and a file.
        ValueError: The settings cannot be read.
    """
    if file is not None and (nats is not None or data_dir is not None):
        message = "a log is read from a file or from a server: give one of them"
        raise typer.BadParameter(message, param_hint="--log, --nats and --data-dir")
    return LogSource(settings.load(nats_url=nats, data_dir=data_dir), file)


@asynccontextmanager
async def opened(source: LogSource, *, name: str) -> AsyncGenerator[StoredLog]:
    """Open the log for the time of a block.

    Args:
        source: Where it is.
        name: What the server's list of connections shows, such as ``roomledger replay``.

    Raises:
        EventStoreError: It cannot be opened.
        OSError: The file cannot be read.
    """
    if source.file is not None:
        log = opened_file(source.file)
        if log.header.first > 1:
            typer.echo(
                f"{source.file} begins at sequence {log.header.first}: what happened before is not known",
                err=True,
            )
        try:
            yield log
        finally:
            log.close()
        return
    access = await open_access(source.settings, name=name)
    try:
        yield access.store
    finally:
        await access.close()


def check_begins(log: ReadableLog, *, whole: bool = False) -> None:
    """Make sure that an exported log holds what has to be folded from the beginning.

    Args:
        log: Any log; one on a server is always whole.
        whole: Whether nothing may be left out either, such as rooms.

    Raises:
        LogInPart: It does not.
    """
    if not isinstance(log, FileLog):
        return
    if log.header.first > 1:
        raise LogInPart(log.path, "the log from its beginning on")
    if whole and not log.header.whole:
        raise LogInPart(log.path, "all rooms")
