"""A connection to nats-server that outlives the server, and tells those who wait when it is lost and back.

What nats-py 2.16 does by default does not suit a service that is to resume by itself: it gives up after 60
attempts, waits two seconds before each, notices a peer that fell silent only after minutes, and tries a first
connect for ever when it is told never to give up.
"""

import asyncio
import contextlib
import re
import ssl
from collections.abc import Callable
from typing import Final

import nats.errors
import structlog
from nats.aio.client import Client, Srv

from roomledger.event_store.errors import NotConnected

log = structlog.get_logger(__name__)

PENDING_BYTES: Final = 64 * 1024 * 1024
"""What may wait to be written: nats-py's 2 MB are less than a few large commits at once."""

INBOX: Final = "_INBOX"
"""The prefix of the subjects that answers come to; a user may be confined to one of its own."""

_FLUSHES: Final = 64 * 1024
_PING_S: Final = 5
_RECONNECT_S: Final = 0.2
_FORBIDDEN: Final = re.compile(r'permissions violation for publish to "([^"]*)"', re.IGNORECASE)


class Connection(Client):
    """A nats-py client that can be waited for and that tells at once when it is lost.

    Attributes:
        up: Set while it is connected, and for good once it is closed, so that nobody waits for ever.
        on_lost: Called when the connection is lost or closed; whoever waits for an answer need not wait on.
        first_error: What the last attempt of the first connect failed with.
        refused: Set when the first connect met a server that did not let us in.
        forbidden: What the server said last that this user may not publish to; None for nothing so far.
        denied: Set when it says so.
    """

    def __init__(self) -> None:
        super().__init__()
        self.up = asyncio.Event()
        self.on_lost: set[Callable[[], None]] = set()
        self.first_error: Exception | None = None
        self.refused = asyncio.Event()
        self.forbidden: str | None = None
        self.denied = asyncio.Event()
        self._established = False
        self._told = ""

    @property
    def inbox(self) -> str:
        """The prefix of the subjects that answers come to."""
        return self._inbox_prefix.decode()

    def establish(self) -> None:
        """Take note that the first connect has succeeded."""
        self._established = True
        self.up.set()

    async def lost(self) -> None:
        """Take note that the connection is lost."""
        self.up.clear()
        for tell in list(self.on_lost):
            tell()

    async def back(self) -> None:
        """Take note that the connection is back."""
        self._told = ""
        self.up.set()
        log.info("connected to nats-server again")

    async def ended(self) -> None:
        """Take note that the connection is closed for good."""
        await self.lost()
        self.up.set()

    async def close(self) -> None:
        """Close the connection for good; harmless when it is lost or closed already."""
        with contextlib.suppress(OSError):  # what was still to be written, over a connection that is gone
            await super().close()
        self.up.set()

    async def flush(self, timeout: int = 10) -> None:  # noqa: ASYNC109  - nats-py's signature
        """Return when the server has taken in all that was published and subscribed to before.

        Raises:
            nats.errors.Error: The connection is closed, or no answer came in so many seconds.
        """
        # nats-py writes its PING at once, past what still waits to be sent.
        if self._transport and self.is_connected and self._pending:
            self._transport.writelines(self._pending)
            self._pending, self._pending_data_size = [], 0
        await super().flush(timeout)

    async def _connect_to_server(self, s: Srv) -> None:
        # nats-py forgets the socket of an attempt that got no further than to be accepted.
        if self._transport:
            self._transport.close()  # type: ignore[no-untyped-call]  # nats-py has no annotation there
        await super()._connect_to_server(s)

    async def report(self, error: Exception) -> None:
        """Log what went wrong; of attempts to reconnect only when something new goes wrong."""
        if not self._established:
            self.first_error = error
            if "authorization violation" in str(error).lower():
                self.refused.set()
            return
        told = _say(error)
        if (found := _FORBIDDEN.search(told)) is not None:
            self.forbidden = found[1]
            self.denied.set()
        if self.is_connected and not isinstance(error, OSError | nats.errors.UnexpectedEOF):
            log.warning("nats-server reports an error", error=told)
        elif told != self._told:
            self._told = told
            log.warning("nats-server cannot be reached; trying again", error=told)


async def connect(
    url: str,
    user: str | None = None,
    password: str | None = None,
    *,
    name: str = "roomledger",
    inbox_prefix: str = INBOX,
    tls: ssl.SSLContext | None = None,
    timeout_s: float = 5.0,
) -> Connection:
    """Connect to a server or a cluster; from then on the connection comes back by itself whenever it is lost.

    Args:
        url: Where the server listens; several, separated by commas, for a cluster.
        user: Whom the server knows us as.
        password: That user's.
        name: What the server's lists of connections show.
        inbox_prefix: The prefix of the answers' subjects, for a user who may listen to nothing else.
        tls: For ``tls://`` urls, whom to trust.
        timeout_s: How long the first connect may take in all.

    Raises:
        NotConnected: No server could be reached in time, or it did not let us in.
    """
    connection = Connection()
    connecting = asyncio.ensure_future(
        connection.connect(
            servers=[server.strip() for server in url.split(",")],
            error_cb=connection.report,
            disconnected_cb=connection.lost,
            reconnected_cb=connection.back,
            closed_cb=connection.ended,
            name=name,
            max_reconnect_attempts=-1,
            reconnect_time_wait=_RECONNECT_S,  # type: ignore[arg-type]  # seconds; nats-py only sleeps on it
            connect_timeout=2,
            ping_interval=_PING_S,
            flusher_queue_size=_FLUSHES,
            pending_size=PENDING_BYTES,
            user=user,
            password=password,
            tls=tls,
            inbox_prefix=inbox_prefix,
        )
    )
    refusal = asyncio.ensure_future(connection.refused.wait())
    try:
        await asyncio.wait({connecting, refusal}, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        if connecting.done():
            await connecting
            connection.establish()
            return connection
    except (OSError, nats.errors.Error, ValueError) as error:
        connection.first_error = error
    finally:
        refusal.cancel()
        if not connection.up.is_set():
            connecting.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await connecting
            await connection.close()
    refused = connection.refused.is_set()
    raise NotConnected(url, "the user or the password is wrong" if refused else _say(connection.first_error))


def _say(error: Exception | None) -> str:
    """Return what an error says, for people."""
    if error is None:
        return "no answer"
    return str(error).removeprefix("nats: ") or type(error).__name__
