"""Where existing clients knock: an HTTP listener with Socket.IO at ``/socket.io/``, and a word for others."""

import ssl
from collections.abc import Sequence
from typing import Final

import structlog
from socketio import ASGIApp
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from roomledger.processes.portal.errors import CannotListen
from roomledger.processes.portal.socketio_engine import ABORT, Client, Greet, SocketServer
from roomledger.runtime.listener import Listener

PATH: Final = "/socket.io/"
_HELLO: Final = PlainTextResponse(
    f"This is a roomledger portal. Existing clients talk to it by Socket.IO, at {PATH}\n", status_code=404
)

log = structlog.get_logger(__name__)


class _WebSocket(WebSocketsSansIOProtocol):
    """A WebSocket whose connection can be cut, for clients that do not even read that it is closed."""

    async def run_asgi(self) -> None:
        """Run the application."""
        self.scope["extensions"] = {ABORT: {"abort": self.transport.abort}}
        await super().run_asgi()


class _Door:
    """The application."""

    def __init__(self, server: SocketServer) -> None:
        self._socketio = ASGIApp(server, socketio_path=PATH)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"].startswith(PATH):
            try:
                await self._socketio(scope, receive, send)
            except Exception:
                log.exception("a request of an existing client failed")
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close"})
        else:
            await _HELLO(scope, receive, send)


class SocketListener:
    """Listens for existing clients.

    Args:
        host: The address to bind.
        port: 0 for any free one.
        greet: Gives a new line its client.
        limit: How many there may be.
        max_message: The longest message of a client, in bytes.
        origins: The origins whose pages may connect; any if there is none.
        tls: With which certificate, where it is TLS.
    """

    def __init__(
        self,
        host: str,
        port: int,
        greet: Greet,
        *,
        limit: int,
        max_message: int,
        origins: Sequence[str] = (),
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._server = SocketServer(
            greet, is_full=lambda: self.connections >= limit, max_message=max_message, origins=origins
        )
        self._listener = Listener(
            _Door(self._server), host, port, websocket=_WebSocket, max_message=max_message, tls=tls
        )

    @property
    def url(self) -> str:
        """Where it listens."""
        return self._listener.url

    @property
    def port(self) -> int:
        """On which port."""
        return self._listener.port

    @property
    def connections(self) -> int:
        """How many clients are connected."""
        return len(self._server.eio.sockets)

    @property
    def clients(self) -> list[Client]:
        """Those who are connected."""
        return [line.client for line in self._server.lines]

    def bind(self) -> None:
        """Take the address, without serving anybody yet.

        Raises:
            CannotListen: The address cannot be had.
        """
        try:
            self._listener.bind()
        except OSError as error:
            why = error.strerror or str(error)
            raise CannotListen(self._listener.host, self._listener.port, why, "SOCKETIO") from error

    async def start(self) -> None:
        """Serve clients."""
        await self._listener.start()

    async def stop(self) -> None:
        """Close all lines, so that clients try to connect again, and let nobody in any more."""
        await self._server.hang_up()
        await self._listener.stop()
        await self._server.shutdown()
