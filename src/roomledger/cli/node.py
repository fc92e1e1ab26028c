"""The command ``node``: one node of a conference worker, which starts it and tells it what to be.

The worker runs this very module: to load the other commands as well takes as long as all the rest.
"""

import asyncio
import signal
import sys
from datetime import timedelta

import msgspec
import structlog

from roomledger.cli import log_lines
from roomledger.processes.conference.node import Node
from roomledger.processes.conference.node_process import NodeOrder, die_with
from roomledger.runtime.access import open_access, subjects
from roomledger.runtime.garbage import collect_rarely
from roomledger.settings import Settings

log = structlog.get_logger(__name__)


def node(verbose: bool = False) -> None:  # noqa: FBT001, FBT002  - a flag
    """Run one node; a conference worker starts it and tells it what to be."""
    log_lines.set_up(verbose=verbose)
    try:
        order = msgspec.json.decode(sys.stdin.buffer.readline(), type=NodeOrder)
    except msgspec.DecodeError as error:
        raise SystemExit(
            f"roomledger: a conference worker starts nodes; nothing did here ({error})"
        ) from None
    die_with(order.parent)
    settings = Settings(**order.settings)  # type: ignore[arg-type]  # pydantic checks the values
    try:
        import uvloop  # noqa: PLC0415  - it is not to be had everywhere
    except ImportError:
        asyncio.run(_run(order, settings))
    else:
        uvloop.run(_run(order, settings))


async def _run(order: NodeOrder, settings: Settings) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopping.set)
    # The worker holds the other end of standard input, and says nothing more there but its end.
    loop.add_reader(sys.stdin.fileno(), stopping.set)
    access = await open_access(settings, name=f"roomledger node {order.node}")
    try:
        running = Node(
            access.broker,
            access.store,
            subjects(settings),
            node=order.node,
            worker=order.worker,
            release_after=timedelta(milliseconds=settings.room_release_ms),
            grace_ms=settings.reconnection_timeout_ms,
        )
        await running.start()
        collect_rarely()
        log.info("started", process="node", node=order.node, worker=order.worker)
        await stopping.wait()
        await running.stop()
    finally:
        await access.close()


if __name__ == "__main__":
    node()
