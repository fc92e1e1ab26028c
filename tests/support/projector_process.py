"""A process that runs a projector, for a test to kill: ``projector_process.py URL PASSWORD DIRECTORY``.

It writes a line when it has started, and one when it has read what was there.
"""

import asyncio
import sys
from pathlib import Path

from roomledger.event_store.connection import connect
from roomledger.event_store.jetstream import JetStreamStore
from roomledger.event_store.layout import Layout
from roomledger.runtime.projector import Projector


async def run(url: str, password: str, directory: str) -> None:
    connection = await connect(url, "service", password)
    store = await JetStreamStore.open(connection, Layout(max_bytes=256 * 1024**2))
    projector = Projector(store, Path(directory))
    await projector.start()
    sys.stdout.write("started\n")
    sys.stdout.flush()
    await projector.caught_up(timeout_s=60)
    sys.stdout.write("following\n")
    sys.stdout.flush()
    raise await projector.failed()


if __name__ == "__main__":
    asyncio.run(run(*sys.argv[1:]))
