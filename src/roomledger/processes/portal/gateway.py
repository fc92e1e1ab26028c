"""The native gateway: a WebSocket server around sessions.

It keeps strangers out, and gives each client a connection of its own, which does the rest.
"""

import logging
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import structlog
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.http11 import Request, Response
from websockets.typing import Origin, Subprotocol

from roomledger.processes.portal import native
from roomledger.processes.portal.errors import CannotListen
from roomledger.processes.portal.lobby import Lobby
from roomledger.processes.portal.native_connection import CLOSE_LIMIT_S, NativeConnection
from roomledger.processes.portal.session_effects import CloseCode

PING_S: Final = 25.0
PING_LIMIT_S: Final = 20.0
OPEN_LIMIT_S: Final = 10.0
_HELLO: Final = (
    "This is a roomledger portal. Clients talk to it over WebSocket, with the subprotocol"
    f" {native.SUBPROTOCOL}.\n"
)
_OTHER_METHODS: Final = frozenset({b"POST", b"PUT", b"PATCH", b"DELETE", b"HEAD", b"OPTIONS"})
_NOT_ALLOWED: Final = (
    "HTTP/1.1 405 Method Not Allowed\r\nAllow: GET\r\nConnection: close\r\n"
    f"Content-Type: text/plain; charset=utf-8\r\nContent-Length: {len(_HELLO)}\r\n\r\n{_HELLO}"
).encode()

log = structlog.get_logger(__name__)


class _Door(ServerConnection):
    """A connection that also answers a request with a body; websockets hangs up on it without a word."""

    def data_received(self, data: bytes) -> None:
        if self.request is None and data.partition(b" ")[0] in _OTHER_METHODS:
            self.transport.write(_NOT_ALLOWED)
            self.transport.close()
        else:
            super().data_received(data)


class Gateway:
    """Listens for clients.

    Args:
        login_s: A connection that has not logged in by then is closed, in seconds.
        max_message: The longest message of a client, in bytes.
        limit: How many connections there may be.
        rate: How many messages a client may send in a second.
        tls: The portal's certificate, where clients are to use TLS.
        origins: The origins whose pages may connect; any if there is none.
    """

    def __init__(
        self,
        *,
        login_s: float,
        max_message: int,
        limit: int,
        rate: float,
        tls: ssl.SSLContext | None = None,
        origins: Sequence[str] = (),
    ) -> None:
        self._login_s = login_s
        self._max_message = max_message
        self._limit = limit
        self._rate = rate
        self._tls = tls
        # A client that is no page says nothing of its origin.
        self._origins = [None, *(Origin(origin) for origin in origins)] if origins else None
        self._lobby: Lobby | None = None
        self._server: Server | None = None
        self._connections: set[NativeConnection] = set()

    @property
    def connections(self) -> int:
        """How many clients are connected."""
        return len(self._connections)

    async def bind(self, host: str, port: int) -> int:
        """Take an address, without serving anybody yet, and return its port.

        Args:
            host: The address.
            port: 0 for any free one.

        Raises:
            CannotListen: The address cannot be had.
        """
        try:
            self._server = await serve(
                self._serve,
                host,
                port,
                start_serving=False,
                ssl=self._tls,
                origins=self._origins,
                subprotocols=[Subprotocol(native.SUBPROTOCOL)],
                process_request=self._look_at,
                create_connection=_Door,
                compression=None,
                server_header=None,
                open_timeout=OPEN_LIMIT_S,
                ping_interval=PING_S,
                ping_timeout=PING_LIMIT_S,
                close_timeout=CLOSE_LIMIT_S,
                max_size=self._max_message,
                logger=_quiet(),
            )
        except OSError as error:
            raise CannotListen(host, port, error.strerror or str(error)) from error
        bound: int = next(iter(self._server.sockets)).getsockname()[1]
        return bound

    async def open(self, lobby: Lobby) -> None:
        """Serve clients.

        Args:
            lobby: Has done what their sessions want.
        """
        if self._server is None:
            raise RuntimeError("there is no address yet: bind first")
        self._lobby = lobby
        await self._server.start_serving()

    async def stop(self) -> None:
        """Close all connections, and let nobody in any more; who may come back does so elsewhere."""
        if self._server is None:
            return
        self.empty("the portal stops")
        self._server.close()
        await self._server.wait_closed()

    def empty(self, reason: str) -> None:
        """Close all connections, so that clients come back elsewhere."""
        for connection in list(self._connections):
            connection.end(CloseCode.RESTART, reason)

    async def _serve(self, socket: ServerConnection) -> None:
        if self._lobby is None:
            raise RuntimeError("nobody is served before `open`")
        connection = NativeConnection(socket, self._lobby, login_s=self._login_s, rate=self._rate)
        self._connections.add(connection)
        try:
            await connection.run()
        except Exception:
            log.exception("a connection failed")
        finally:
            self._connections.discard(connection)

    def _look_at(self, socket: ServerConnection, request: Request) -> Response | None:
        if "websocket" not in request.headers.get("Upgrade", "").lower():
            answer = socket.respond(426, _HELLO)
            answer.headers["Upgrade"] = "websocket"
            return answer
        if len(self._connections) >= self._limit:
            return socket.respond(503, "This portal is full; ask for another token, or come back later.\n")
        return None


def tls_context(cert: Path | None, key: Path | None) -> ssl.SSLContext | None:
    """Return how to speak TLS; None where no certificate is named.

    Raises:
        OSError: The files cannot be read.
        ssl.SSLError: They are no certificate and key that belong together.
    """
    if cert is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    return context


def _quiet() -> logging.Logger:
    """Return a log for websockets that does not tell of each stranger who knocks on the port."""
    quiet = logging.getLogger("roomledger.portal.websockets")
    quiet.setLevel(logging.ERROR)
    if not quiet.filters:
        quiet.addFilter(lambda record: "handshake failed" not in record.getMessage())
    return quiet
