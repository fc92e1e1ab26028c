"""The gateway for existing clients: Socket.IO around sessions."""

import ssl
from collections.abc import Sequence

from roomledger.processes.portal.lobby import Lobby
from roomledger.processes.portal.session_effects import CloseCode
from roomledger.processes.portal.socketio_client import SocketClient
from roomledger.processes.portal.socketio_engine import Line
from roomledger.processes.portal.socketio_listener import SocketListener


class SocketGateway:
    """Listens for existing clients, as `Gateway` does for native ones.

    Args:
        host: The address to bind.
        port: 0 for any free one.
        login_s: A client that has not logged in by then is sent away, in seconds.
        max_message: The longest message of a client, in bytes.
        limit: How many connections there may be.
        rate: How many requests a client may send in a second.
        tls: The portal's certificate, where clients are to use TLS.
        origins: The origins whose pages may connect; any if there is none.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        login_s: float,
        max_message: int,
        limit: int,
        rate: float,
        tls: ssl.SSLContext | None = None,
        origins: Sequence[str] = (),
    ) -> None:
        self._login_s = login_s
        self._rate = rate
        self._lobby: Lobby | None = None
        self._listener = SocketListener(
            host, port, self._greet, limit=limit, max_message=max_message, origins=origins, tls=tls
        )

    @property
    def connections(self) -> int:
        """How many clients are connected."""
        return self._listener.connections

    @property
    def url(self) -> str:
        """Where it listens, once it is bound."""
        return self._listener.url

    @property
    def port(self) -> int:
        """On which port, once it is bound."""
        return self._listener.port

    def bind(self) -> None:
        """Take the address, without serving anybody yet.

        Raises:
            CannotListen: It cannot be had.
        """
        self._listener.bind()

    async def open(self, lobby: Lobby) -> None:
        """Serve clients.

        Args:
            lobby: Has done what their sessions want.
        """
        self._lobby = lobby
        await self._listener.start()

    async def stop(self) -> None:
        """Close all connections, and let nobody in any more; who may come back does so elsewhere."""
        self.empty("the portal stops")
        await self._listener.stop()

    def empty(self, reason: str) -> None:
        """Close all connections, so that clients come back elsewhere."""
        for client in self._listener.clients:
            if isinstance(client, SocketClient):
                client.end(CloseCode.RESTART, reason)

    def _greet(self, line: Line) -> SocketClient:
        if self._lobby is None:
            raise RuntimeError("nobody is served before `open`")
        return SocketClient(line, self._lobby, login_s=self._login_s, rate=self._rate)
