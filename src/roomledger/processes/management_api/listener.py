"""The HTTP listener: uvicorn inside a loop that is there already, with signals left to others."""

import asyncio
import errno
import socket
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

import uvicorn
from starlette.types import ASGIApp

from roomledger.processes.management_api.errors import ApiNotListening, ApiPortInUse

GRACE_S: Final = 3
"""How long requests under way may go on when the listener stops."""
KEEP_ALIVE_S: Final = 15
BACKLOG: Final = 1024
_PAUSE_S: Final = 0.005


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Generator[None]:
        """Leave the signals to the composer."""
        yield


class Listener:
    """Answers HTTP requests with an application.

    Args:
        app: The application.
        host: The address to bind.
        port: 0 for any free one.
    """

    def __init__(self, app: ASGIApp, host: str, port: int) -> None:
        self._host = host
        self._port = port
        self._server = _Server(
            uvicorn.Config(
                app,
                log_config=None,
                log_level="warning",
                access_log=False,
                lifespan="off",
                ws="none",
                server_header=False,
                proxy_headers=False,
                backlog=BACKLOG,
                timeout_keep_alive=KEEP_ALIVE_S,
                timeout_graceful_shutdown=GRACE_S,
            )
        )
        self._serving: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        """Where it listens."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._port}"

    async def start(self) -> None:
        """Return when it answers.

        Raises:
            ApiPortInUse: Somebody listens there already.
            ApiNotListening: The address cannot be bound for another reason.
        """
        bound = self._bind()
        self._port = bound.getsockname()[1]
        self._serving = asyncio.create_task(self._server.serve(sockets=[bound]), name="management API")
        while not self._server.started:
            await asyncio.sleep(_PAUSE_S)
            if self._serving.done():
                raise ApiNotListening(self._host, self._port, str(self._serving.exception()))

    async def ended(self) -> BaseException:
        """Return what ended it, if not `stop` did."""
        if self._serving is None:
            raise RuntimeError("the listener has not been started")
        await asyncio.wait({self._serving})
        return self._serving.exception() or ApiNotListening(self._host, self._port, "it ended by itself")

    async def stop(self) -> None:
        """Take no more requests, and finish those under way; after `GRACE_S` they are cut off."""
        if self._serving is None:
            return
        self._server.should_exit = True
        await asyncio.wait({self._serving})

    def _bind(self) -> socket.socket:
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        bound = socket.socket(family, socket.SOCK_STREAM)
        try:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind((self._host, self._port))
            bound.listen(BACKLOG)
            bound.setblocking(False)  # noqa: FBT003  - the socket's signature
        except OSError as error:
            bound.close()
            if error.errno == errno.EADDRINUSE:
                raise ApiPortInUse(self._host, self._port) from error
            raise ApiNotListening(self._host, self._port, error.strerror or str(error)) from error
        return bound
