"""The management API as a process."""

import asyncio
import errno
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from nats.aio.client import Client
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse

from roomledger import __version__
from roomledger.domain.errors import Code, Refusal
from roomledger.event_store.errors import EventStoreError
from roomledger.event_store.store import EventStore
from roomledger.processes.management_api.audits import Audits
from roomledger.processes.management_api.authentication import Authentication
from roomledger.processes.management_api.cluster_routes import cluster_routes
from roomledger.processes.management_api.controllers import Controllers
from roomledger.processes.management_api.description import TEXT, described
from roomledger.processes.management_api.doorway import SEQUENCE, Doorway
from roomledger.processes.management_api.errors import ApiNotListening, ApiPortInUse, Problem
from roomledger.processes.management_api.health import health
from roomledger.processes.management_api.log_routes import log_routes
from roomledger.processes.management_api.mauth import Replays
from roomledger.processes.management_api.metrics import Metrics
from roomledger.processes.management_api.participant_routes import participant_routes
from roomledger.processes.management_api.participants import Participants
from roomledger.processes.management_api.problems import answer, problem_of
from roomledger.processes.management_api.rates import Rates
from roomledger.processes.management_api.repetitions import Repetitions
from roomledger.processes.management_api.room_routes import room_routes
from roomledger.processes.management_api.rooms import Rooms
from roomledger.processes.management_api.service_routes import service_routes
from roomledger.processes.management_api.services import First, Services
from roomledger.processes.management_api.states import States
from roomledger.processes.management_api.token_routes import TokenPath, token_routes
from roomledger.processes.management_api.tokens import Tokens
from roomledger.processes.management_api.workers import Workers
from roomledger.runtime.checkpoints import Checkpoints
from roomledger.runtime.listener import Listener
from roomledger.runtime.projector import FOLDER, Projector
from roomledger.runtime.token_keys import TokenKeys
from roomledger.sdk.cluster import Cluster
from roomledger.settings import Settings
from roomledger_events.envelope import Commit
from roomledger_events.identifiers import new_secret_id
from roomledger_projections.errors import ProjectionError

NAME: Final = "management-api"
_NEVER: Final = 1e9
GATHER_S: Final = 0.05
"""How long what is in the log may be unknown here while nobody asks for it: less work for the files."""
CHECKPOINTS: Final = "checkpoints"
"""The folder of states at earlier moments in the data directory."""
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
        self._store = store
        self._projector = Projector(
            store,
            settings.data_dir / FOLDER,
            holds=settings.unreadable_events == "hold",
            gather_s=GATHER_S,
            told=self._take_in,
        )
        cluster = Cluster(broker, actor=NAME)
        self._rooms = Rooms(store, self._projector, source=source)
        self._tokens = Tokens(
            store,
            cluster,
            self._keys,
            rooms=self._rooms,
            projector=self._projector,
            settings=settings,
            source=source,
        )
        controllers = Controllers(broker, cluster, actor=NAME)
        participants = Participants(store, self._projector, rooms=self._rooms, controllers=controllers)
        workers = Workers(cluster, self._projector, rooms=self._rooms)
        reach = settings.state_max_commits
        self._states = States(Checkpoints(store, settings.data_dir / CHECKPOINTS, reach=reach))
        metrics = Metrics(lambda: self._projector.position)
        app = _application()
        app.include_router(token_routes(self._tokens))
        app.include_router(room_routes(self._rooms, self._tokens))
        app.include_router(participant_routes(participants))
        app.include_router(cluster_routes(workers, self._services))
        app.include_router(log_routes(self._states, Audits(store, self._projector), self._services))
        app.include_router(service_routes(self._services))
        app.include_router(health(broker, store, self._projector, metrics))
        door = Doorway(
            Repetitions(TokenPath(app, self._tokens), broker, settings),
            authentication=Authentication(self._services, Replays(broker, settings)),
            rates=Rates(settings.rate_limit),
            metrics=metrics,
            known=lambda: max(0, self._projector.position),
            know=self._know,
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
            await self._listen()
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

    def _take_in(self, commits: Sequence[Commit]) -> None:
        self._rooms.take_in(commits)

    async def _listen(self) -> None:
        try:
            await self._listener.start()
        except OSError as error:
            where = self._listener.host, self._listener.port
            if error.errno == errno.EADDRINUSE:
                raise ApiPortInUse(*where) from error
            raise ApiNotListening(*where, error.strerror or str(error)) from error

    async def _know(self, sequence: int) -> None:
        """Return when what is known reflects a sequence.

        Raises:
            Problem: The log ends before it (400).
            Refusal: That is not so in time.
            EventStoreError: The log cannot be read.
        """
        head = await self._store.position()
        if sequence > head.sequence:
            raise Problem(
                HTTPStatus.BAD_REQUEST,
                Code.INVALID_ARGUMENT,
                f"{SEQUENCE}: the log ends at {head.sequence}, before {sequence}",
            )
        await self._projector.caught_up(sequence)

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
        description=TEXT,
    )
    document: dict[str, Any] = {}

    def describe() -> dict[str, Any]:
        document.update(document or described(app))
        return document

    app.openapi = describe  # type: ignore[method-assign]  # FastAPI's own way to extend it
    for kind in ERRORS:
        app.add_exception_handler(kind, _on_error)
    return app


async def _on_error(_: Request, error: Exception) -> JSONResponse:
    return answer(problem_of(error))
