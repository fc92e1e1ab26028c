"""The management API as a process."""

import asyncio
from typing import Final

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from nats.aio.client import Client
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse

from roomledger import __version__
from roomledger.domain.errors import Refusal
from roomledger.event_store.errors import EventStoreError
from roomledger.event_store.store import EventStore
from roomledger.processes.management_api.authentication import Authentication
from roomledger.processes.management_api.doorway import Doorway
from roomledger.processes.management_api.errors import Problem
from roomledger.processes.management_api.health import health
from roomledger.processes.management_api.listener import Listener
from roomledger.processes.management_api.problems import answer, problem_of
from roomledger.processes.management_api.rooms import Rooms
from roomledger.processes.management_api.routes import routes
from roomledger.processes.management_api.services import First, Services
from roomledger.processes.management_api.tokens import Tokens
from roomledger.runtime.projector import Projector
from roomledger.runtime.token_keys import TokenKeys
from roomledger.sdk.cluster import Cluster
from roomledger.settings import Settings
from roomledger_events.identifiers import new_secret_id
from roomledger_projections.errors import ProjectionError

NAME: Final = "management-api"
_NEVER: Final = 1e9
PROJECTIONS: Final = "projections"
"""The folder of the projections in the data directory."""
ERRORS: Final = (
    *(Problem, Refusal, EventStoreError, ProjectionError),
    *(RequestValidationError, HTTPException, Exception),
)
"""What a request may end with; all of it becomes a problem."""


class ManagementApi:
    """Rooms and tokens over HTTP, for those who run applications.

    Args:
        settings: What can be set.
        broker: The connection.
        store: The log.
    """

    def __init__(self, settings: Settings, broker: Client, store: EventStore) -> None:
        source = f"{NAME}/{new_secret_id()[:8]}"
        self._first_service: First | None = None
        self._settings = settings
        self._services = Services(broker, settings)
        self._keys = TokenKeys(broker, settings)
        self._projector = Projector(store, settings.data_dir / PROJECTIONS)
        rooms = Rooms(store, self._projector, source=source)
        self._tokens = Tokens(
            store,
            Cluster(broker, actor=NAME),
            self._keys,
            rooms=rooms,
            projector=self._projector,
            settings=settings,
            source=source,
        )
        app = _application()
        app.include_router(routes(rooms, self._tokens, self._projector, store))
        app.include_router(health(broker, store, self._projector))
        door = Doorway(
            app,
            authentication=Authentication(self._services),
            sequence=lambda: max(0, self._projector.position),
            max_bytes=settings.max_message_bytes,
        )
        self._listener = Listener(door, settings.host, settings.api_port)

    @property
    def url(self) -> str:
        """Where it listens."""
        return self._listener.url

    @property
    def first_service(self) -> First:
        """The first service: its id, its key, and whether it was created just now.

        Raises:
            RuntimeError: It has not been started.
        """
        if self._first_service is None:
            raise RuntimeError("the management API has not been started")
        return self._first_service

    async def start(self) -> None:
        """Return when it answers requests.

        Raises:
            ManagementApiFailure: It cannot listen.
            EventStoreError: The broker does not answer, or its log is not the one that was known.
            ProjectionError: The files with what is known cannot be used.
        """
        await self._keys.load()
        self._first_service = await self._services.ensure_first(self._settings)
        await self._projector.start()
        try:
            await self._listener.start()
            # From here on /healthz answers; the rest follows when the log has been read.
            await self._ready()
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Take no more requests, finish those under way, and close the files."""
        await self._listener.stop()
        await self._tokens.finish()
        await self._projector.stop()

    async def failed(self) -> BaseException:
        """Return what ended it that it cannot mend."""
        ends = [
            asyncio.create_task(self._listener.ended()),
            asyncio.create_task(self._projector.failed()),
        ]
        try:
            done, _ = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            return done.pop().result()
        finally:
            for end in ends:
                end.cancel()

    async def _ready(self) -> None:
        """Return when what is known has caught up with the log; a long log takes its time."""
        known = asyncio.ensure_future(self._projector.caught_up(timeout_s=_NEVER))
        failed = asyncio.ensure_future(self._projector.failed())
        try:
            done, _ = await asyncio.wait({known, failed}, return_when=asyncio.FIRST_COMPLETED)
            if failed in done:
                raise failed.result()
            await known
        finally:
            known.cancel()
            failed.cancel()
            await asyncio.gather(known, failed, return_exceptions=True)


def _application() -> FastAPI:
    app = FastAPI(
        title="roomledger",
        version=__version__,
        summary="Rooms, and the tokens that open them.",
        description=(
            "Errors are problems (RFC 9457); callers tell them apart by `code`. Every answer says in"
            " `Ledger-Sequence` which sequence of the log it reflects; a request may carry it back and then"
            " sees at least that. What is answered 503 goes away by itself: `Retry-After` says when."
        ),
    )
    for kind in ERRORS:
        app.add_exception_handler(kind, _on_error)
    return app


async def _on_error(_: Request, error: Exception) -> JSONResponse:
    return answer(problem_of(error))
