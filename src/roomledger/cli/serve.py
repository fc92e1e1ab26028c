"""The commands that run processes: ``serve`` for all of them in one, and one command for each alone."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, Protocol

import structlog
from rich.console import Console
from rich.table import Table

from roomledger.cli.embedded import embedded_nats
from roomledger.event_store.connection import Connection
from roomledger.event_store.store import EventStore
from roomledger.runtime.access import open_access
from roomledger.runtime.data_directory import DataDirectory
from roomledger.runtime.garbage import collect_nothing_yet, collect_rarely
from roomledger.settings import Settings
from roomledger_events.identifiers import new_secret_id

if TYPE_CHECKING:
    from roomledger.processes.management_api.api import ManagementApi
    from roomledger.processes.portal.portal import Portal

ENDPOINTS_FILE: Final = "endpoints.json"
SERVICE_FILE: Final = "service.json"
STOP_S: Final = 10.0
"""How long a process may take to stop."""

log = structlog.get_logger(__name__)


class Process(Protocol):
    """What runs."""

    async def start(self) -> None:
        """Return when it serves."""

    async def stop(self) -> None:
        """End cleanly."""

    async def failed(self) -> BaseException:
        """Return what ended it that it cannot mend."""


PROCESSES: Final = {
    "cluster-manager": "cluster_manager.manager:ClusterManager",
    "conference": "conference.conference:Conference",
    "portal": "portal.portal:Portal",
    "management-api": "management_api.api:ManagementApi",
}
"""Name → module and class, in the order of their start; imported then, because nobody needs all of them."""


async def serve(settings: Settings, names: Sequence[str], *, embedded: bool) -> int:
    """Run processes until SIGINT or SIGTERM, and return the exit code.

    Args:
        settings: What can be set.
        names: Which processes.
        embedded: Whether to start a nats-server, where no url names one.
    """
    collect_nothing_yet()
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopping.set)
    async with AsyncExitStack() as stack:
        directory = stack.enter_context(DataDirectory(settings.data_dir))
        failures: list[Callable[[], Awaitable[BaseException]]] = []
        if embedded and settings.nats_url is None:
            nats = await stack.enter_async_context(embedded_nats(settings, directory))
            settings = settings.model_copy(update={"nats_url": nats.url})
            failures.append(nats.died)
        if settings.node_processes is None:
            settings = settings.model_copy(update={"node_processes": len(names) == 1})
        running: dict[str, Any] = {}
        for name in names:
            own = _identified(settings, directory, name, alone=len(names) == 1)
            process = await stack.enter_async_context(_started(name, own, stopping))
            if process is None:
                return 0
            running[name] = process
            failures.append(process.failed)
        collect_rarely()
        _tell(settings, directory, running)
        stack.callback(directory.remove, ENDPOINTS_FILE)
        return await _until(stopping, failures)


def _identified(settings: Settings, directory: DataDirectory, name: str, *, alone: bool) -> Settings:
    """Return the settings with the ids of one process.

    They are the same after a restart: a manager then need not wait for its own lease, and a worker takes its
    own place instead of being missed for a while.
    """
    manager_id = settings.manager_id or _kept_id(directory, "manager")
    if settings.worker_id is None:
        worker_id = _kept_id(directory, name)
    else:
        worker_id = settings.worker_id if alone else f"{name}-{settings.worker_id}"
    return settings.model_copy(update={"manager_id": manager_id, "worker_id": worker_id})


def _kept_id(directory: DataDirectory, name: str) -> str:
    kept = directory.read(f"{name}-id")
    if kept is None:
        kept = f"{name}-{new_secret_id()[:8]}"
        directory.write(f"{name}-id", kept + "\n")
    return kept.strip()


def _imported(name: str) -> Callable[[Settings, Connection, EventStore], Process]:
    module, _, made = PROCESSES[name].partition(":")
    found: Callable[[Settings, Connection, EventStore], Process]
    found = getattr(import_module(f"roomledger.processes.{module}"), made)
    return found


@asynccontextmanager
async def _started(name: str, settings: Settings, stopping: asyncio.Event) -> AsyncIterator[Process | None]:
    """Start a process on a connection of its own, and stop it at the end; None if told to stop meanwhile."""
    access = await open_access(settings, name=f"roomledger {name}", create=True)
    try:
        make = await asyncio.to_thread(_imported, name)
        process = make(settings, access.broker, access.store)
        starting = asyncio.ensure_future(process.start())
        stop = asyncio.ensure_future(stopping.wait())
        try:
            await asyncio.wait({starting, stop}, return_when=asyncio.FIRST_COMPLETED)
            if not starting.done():
                starting.cancel()
                await asyncio.gather(starting, return_exceptions=True)
                yield None
                return
            await starting
        finally:
            stop.cancel()
        log.info("started", process=name)
        try:
            yield process
        finally:
            try:
                async with asyncio.timeout(STOP_S):
                    await process.stop()
            except TimeoutError:
                log.warning("did not stop in time", process=name, seconds=STOP_S)
            log.info("stopped", process=name)
    finally:
        await access.close()


async def _until(stopping: asyncio.Event, failures: list[Callable[[], Awaitable[BaseException]]]) -> int:
    stop = asyncio.ensure_future(stopping.wait())
    watched = [asyncio.ensure_future(failure()) for failure in failures]
    await asyncio.wait({stop, *watched}, return_when=asyncio.FIRST_COMPLETED)
    ended = [task for task in watched if task.done()]
    for task in (stop, *watched):
        task.cancel()
    await asyncio.gather(stop, *watched, return_exceptions=True)
    if not ended:
        return 0
    for task in ended:
        log.error("ended by a failure", why=str(task.exception() or task.result()))
    return 1


def _tell(settings: Settings, directory: DataDirectory, running: dict[str, Any]) -> None:
    """Say what listens where: to whoever waits for it, and to the files that other commands read."""
    api: ManagementApi | None = running.get("management-api")
    portal: Portal | None = running.get("portal")
    endpoints = {
        "nats": settings.nats_url,
        "api": None if api is None else api.url,
        "portal": None if portal is None else portal.url,
        "socketio": None if portal is None else portal.socketio_url,
    }
    directory.write(ENDPOINTS_FILE, json.dumps(endpoints | {"pid": os.getpid()}) + "\n")
    service_id = service_key = None
    created = False
    if api is not None:
        service_id, service_key, created = api.first_service
        if service_key is not None:
            secret = {"service_id": service_id, "service_key": service_key}
            directory.write(SERVICE_FILE, json.dumps(secret) + "\n")
    if not sys.stdout.isatty():
        ready = {"event": "ready", **endpoints, "service_id": service_id, "service_key": service_key}
        with contextlib.suppress(BrokenPipeError):
            print(json.dumps(ready), flush=True)  # noqa: T201  - the line that scripts wait for
        return
    table = Table("what", "where", title="roomledger is ready", title_justify="left")
    for what, where in endpoints.items():
        if where is not None:
            table.add_row(what, where)
    if service_id is not None:
        table.add_row("service", service_id)
        if created:
            table.add_row("service key (shown once)", service_key)
        table.add_row("its key is kept in", str(directory.path / SERVICE_FILE))
    console = Console()
    console.print(table)
    console.print("Ctrl-C stops everything.")
