"""The command ``import``: an exported log brought into a new one."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated

import typer

from roomledger import settings
from roomledger.cli.embedded import embedded_nats
from roomledger.cli.live import AsJson, Nats
from roomledger.cli.progress import opened_file, progress_shown
from roomledger.event_store.errors import NotPermitted
from roomledger.runtime.access import AUDIT, Access, open_access
from roomledger.runtime.data_directory import DataDirectory
from roomledger.runtime.importing import Imported, import_into, must_be_whole
from roomledger.runtime.nats_server import URL_FILE
from roomledger.settings import Settings
from roomledger_events.envelope import to_json


def import_log(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="What `export` wrote, of the whole log.")],
    *,
    as_json: AsJson = False,
    nats: Nats = None,
    data_dir: Annotated[
        Path | None, typer.Option(help="Where the new log is to be; `serve` finds it there.")
    ] = None,
) -> None:
    """Bring an exported log into a new, empty one; every commit keeps its sequence.

    An import that broke off goes on when it is run again.
    """
    known = settings.load(nats_url=nats, data_dir=data_dir)
    if known.nats_user == AUDIT:
        raise NotPermitted(AUDIT)
    imported = asyncio.run(_import(known, path))
    if as_json:
        typer.echo(to_json(imported._asdict()))
        return
    if imported.before:
        typer.echo(f"sequences up to {imported.before} were there already", err=True)
    gaps = f", {imported.gaps} sequences are empty as they were" if imported.gaps else ""
    typer.echo(f"{imported.commits} commits, {imported.events} events, up to sequence {imported.last}{gaps}")


async def _import(known: Settings, path: Path) -> Imported:
    file = opened_file(path)
    try:
        must_be_whole(file)  # before a log is made for it
        async with _access(known) as access:
            with progress_shown("import") as on_progress:
                return await import_into(access, file, on_progress=on_progress)
    finally:
        file.close()


@asynccontextmanager
async def _access(known: Settings) -> AsyncIterator[Access]:
    """Open the log on a server, or where none serves on one that runs as long as it takes."""
    directory = DataDirectory(known.data_dir)
    if known.nats_url is not None or directory.read(URL_FILE):
        access = await open_access(known, name="roomledger import", create=True)
        try:
            yield access
        finally:
            await access.close()
        return
    with directory:
        async with embedded_nats(known, directory, port=0) as server:
            own = known.model_copy(update={"nats_url": server.url})
            access = await open_access(own, name="roomledger import", create=True)
            try:
                yield access
            finally:
                await access.close()
