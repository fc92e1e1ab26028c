"""The HTTP listener: uvicorn inside a loop that is there already, with signals left to others."""

import asyncio
import logging
import socket
import ssl
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

GRACE_S: Final = 3
"""How long requests under way may go on when the listener stops."""
KEEP_ALIVE_S: Final = 15
OPEN_S: Final = 10.0
"""How long a connection may take for the headers of its first request."""
BACKLOG: Final = 1024
_PAUSE_S: Final = 0.005
_NOISE: Final = ("Invalid HTTP request", "Invalid UTF-8 sequence", "Unsupported upgrade request")
"""What strangers on the port can make uvicorn say; nobody has to know."""


class _Http(HttpToolsProtocol):
    """A connection that is closed if nothing is asked on it."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        self._opening = self.loop.call_later(OPEN_S, transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        self._opening.cancel()
        super().connection_lost(exc)

    def on_headers_complete(self) -> None:
        self._opening.cancel()
        super().on_headers_complete()


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
        websocket: What speaks WebSocket on a connection; without it an upgrade is not taken up.
        max_message: The longest message by WebSocket, in bytes.
        tls: With which certificate, where it is TLS.
    """

    def __init__(
        self,
        app: ASGIApp,
        host: str,
        port: int,
        *,
        websocket: type[asyncio.Protocol] | None = None,
        max_message: int = 64 * 1024,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.host = host
        self.port = port
        self._bound: socket.socket | None = None
        self._server = _Server(
            uvicorn.Config(
                app,
                http=_Http,
                log_config=None,
                log_level="warning",
                access_log=False,
                lifespan="off",
                ws=websocket or "none",
                ws_max_size=max_message,
                ws_ping_interval=None,
                ws_per_message_deflate=False,
                server_header=False,
                proxy_headers=False,
                backlog=BACKLOG,
                timeout_keep_alive=KEEP_ALIVE_S,
                timeout_graceful_shutdown=GRACE_S,
                ssl_context_factory=None if tls is None else lambda _config, _default: tls,
            )
        )
        self._serving: asyncio.Task[None] | None = None
        _be_quiet()

    @property
    def url(self) -> str:
        """Where it listens."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self._server.config.is_ssl else 'http'}://{host}:{self.port}"

    def bind(self) -> int:
        """Take the address, without answering anybody yet, and return its port.

        Raises:
            OSError: The address cannot be had.
        """
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        bound = socket.socket(family, socket.SOCK_STREAM)
        try:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind((self.host, self.port))
            bound.listen(BACKLOG)
            bound.setblocking(False)  # noqa: FBT003  - the socket's signature
        except OSError:
            bound.close()
            raise
        self._bound = bound
        port: int = bound.getsockname()[1]
        self.port = port
        return port

    async def start(self) -> None:
        """Return when it answers.

        Raises:
            OSError: The address cannot be had.
        """
        if self._bound is None:
            self.bind()
        bound = self._bound
        serving = self._serving = asyncio.create_task(
            self._server.serve(sockets=[] if bound is None else [bound]), name=f"listener on port {self.port}"
        )
        while not self._server.started:
            await asyncio.sleep(_PAUSE_S)
            if serving.done():
                raise OSError(str(serving.exception()))

    async def ended(self) -> BaseException:
        """Return what ended it, if not `stop` did."""
        if self._serving is None:
            raise RuntimeError("the listener has not been started")
        await asyncio.wait({self._serving})
        return self._serving.exception() or OSError("it ended by itself")

    async def stop(self) -> None:
        """Take no more requests, and finish those under way; after `GRACE_S` they are cut off."""
        if self._serving is not None:
            self._server.should_exit = True
            await asyncio.wait({self._serving})
        elif self._bound is not None:
            self._bound.close()


def _be_quiet() -> None:
    log = logging.getLogger("uvicorn.error")
    if not log.filters:
        log.addFilter(lambda record: not record.getMessage().startswith(_NOISE))
