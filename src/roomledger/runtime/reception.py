"""By which way requests come in and replies go out: a line of its own where that is possible, else nats-py.

Both do the same; the first one costs a tenth.
"""

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple, Protocol

import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import Error as BrokerError

from roomledger.event_store.connection import Connection
from roomledger.event_store.line import Line, LineBroken, Receive, is_possible
from roomledger.runtime.ending import end

CONNECT_S: Final = 2.0
"""How long one attempt to connect may take, and how long to wait for what is still to come in at the end."""

PING_S: Final = 5.0
"""A line that is silent for twice as long is given up."""

_FIRST_PAUSE_S: Final = 0.02
_LONGEST_PAUSE_S: Final = 1.0

log = structlog.get_logger(__name__)


class Listened(NamedTuple):
    """A subject to listen on; those that listen in the same queue share what comes."""

    subject: str
    queue: str = ""


class Reception(Protocol):
    """A way."""

    async def open(self) -> None:
        """Return when requests come in; some may have come before.

        Raises:
            LineBroken: They cannot, by this way.
            nats.errors.Error: The connection is closed.
        """

    def send(self, subject: bytes, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        """Send a reply; while the connection is lost it goes nowhere, and the caller asks again."""

    async def listen_no_more(self) -> None:
        """Return when no more requests come in."""

    async def close(self) -> None:
        """End it; what was sent goes out before."""


def reception(broker: Client, listened: Sequence[Listened], receive: Receive) -> "Reception":
    """Return the best way that there is beside a connection.

    Args:
        broker: The connection; when it is closed for good, so is the way.
        listened: The subjects.
        receive: Gets what comes; it must not raise.
    """
    if isinstance(broker, Connection) and is_possible(broker):
        return ByLine(broker, listened, receive)
    return ByBroker(broker, listened, receive)


class ByLine:
    """A line, and a new one whenever it is lost."""

    def __init__(self, connection: Connection, listened: Sequence[Listened], receive: Receive) -> None:
        self._connection = connection
        self._listened = listened
        self._receive = receive
        self._line: Line | None = None
        self._lost = asyncio.Event()
        self._keeping: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Return when requests come in.

        Raises:
            LineBroken: They cannot, by this way.
        """
        await self._connect()
        self._connection.on_lost.add(self._follow)
        self._keeping = asyncio.create_task(self._keep(), name="keeping a line")

    def send(self, subject: bytes, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        """Send a reply."""
        line = self._line
        if line is None:
            return
        if headers is None:
            line.publish(subject, body)
        else:
            fields = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
            line.publish_with_header(subject, f"NATS/1.0\r\n{fields}\r\n".encode(), body)

    async def listen_no_more(self) -> None:
        """Return when no more requests come in."""
        await end(self._keeping)
        line = self._line
        if line is not None:
            for number, _ in enumerate(self._listened):
                line.unsubscribe(number)
            with contextlib.suppress(LineBroken, TimeoutError):
                async with asyncio.timeout(CONNECT_S):
                    await line.flush()

    async def close(self) -> None:
        """End it."""
        await end(self._keeping)
        self._connection.on_lost.discard(self._follow)
        if self._line is not None:
            self._line.hang_up()

    async def _connect(self) -> None:
        lost = asyncio.Event()
        line = Line(self._receive, self._note_refusal, lambda _: lost.set())
        try:
            async with asyncio.timeout(CONNECT_S):
                name = f"{self._connection.options['name']} answering"
                await line.open(self._connection, name=name, within_s=CONNECT_S)
                for number, (subject, queue) in enumerate(self._listened):
                    line.subscribe(number, subject.encode(), queue.encode())
                self._line, self._lost = line, lost  # requests may come in from here on
                await line.flush()
        except BaseException as error:
            self._line = None
            line.close()
            if isinstance(error, TimeoutError):
                raise LineBroken("no answer") from error
            raise

    async def _keep(self) -> None:
        while self._line is not None:
            await self._until_lost(self._line)
            self._line = None
            log.info("the line for requests is lost")
            await self._reconnect()

    async def _until_lost(self, line: Line) -> None:
        silent = 0
        while not self._lost.is_set():
            line.heard = False
            line.ping()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PING_S):
                    await self._lost.wait()
            silent = 0 if line.heard else silent + 1
            if silent > 1:
                line.close()

    async def _reconnect(self) -> None:
        """Connect again, however long it takes; give it up when the connection is closed for good."""
        pause = _FIRST_PAUSE_S
        while True:
            await self._connection.up.wait()
            if self._connection.is_closed:
                return
            try:
                await self._connect()
            except LineBroken as error:
                log.debug("the line for requests is not back yet", why=str(error))
            else:
                log.info("the line for requests is back")
                return
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_S)

    def _follow(self) -> None:
        """Leave the server that the connection has lost: it will be at another one, or closed."""
        if self._line is not None:
            self._line.close()

    @staticmethod
    def _note_refusal(told: str) -> None:
        log.warning("nats-server reports an error", error=told)


class ByBroker:
    """nats-py, for servers that want more than a user and a password."""

    def __init__(self, broker: Client, listened: Sequence[Listened], receive: Receive) -> None:
        self._broker = broker
        self._listened = listened
        self._receive = receive
        self._subscriptions: list[Subscription] = []
        self._sending: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Return when requests come in.

        Raises:
            nats.errors.Error: The connection is closed.
        """
        for subject, queue in self._listened:
            self._subscriptions.append(await self._broker.subscribe(subject, queue, cb=self._take))
        await self._broker.flush()

    def send(self, subject: bytes, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        """Send a reply."""
        task = asyncio.create_task(self._publish(subject.decode(), body, headers))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def listen_no_more(self) -> None:
        """Return when no more requests come in."""
        with contextlib.suppress(BrokerError, TimeoutError):
            async with asyncio.timeout(CONNECT_S):
                for each in self._subscriptions:
                    await each.drain()  # type: ignore[no-untyped-call]  # nats-py has no annotation there
        self._subscriptions.clear()

    async def close(self) -> None:
        """End it."""
        await self.listen_no_more()
        if self._sending:
            await asyncio.wait(self._sending, timeout=CONNECT_S)

    async def _take(self, message: Msg) -> None:
        self._receive(message.subject.encode(), message.reply.encode(), b"", message.data)

    async def _publish(self, subject: str, body: bytes, headers: Mapping[str, str] | None) -> None:
        with contextlib.suppress(BrokerError):  # whoever waits for it asks again
            await self._broker.publish(subject, body, headers=None if headers is None else dict(headers))
