"""Reads the log in bulk: a push consumer with flow control, on a connection that does nothing else.

It is several times as fast as reading through nats-py, which builds an object with headers for each message.
What it understands of the NATS protocol is what such a connection meets: INFO, PING, PONG, MSG, HMSG, -ERR.
It needs a server that is reached by plain TCP with a user and a password; everybody else reads by `pull`.
"""

import asyncio
from collections.abc import Sequence
from typing import Any, Final, cast

import msgspec

from roomledger.event_store.connection import Connection
from roomledger.event_store.layout import NANOSECONDS
from roomledger.event_store.pull import INACTIVE_S, Interrupted, Message
from roomledger.event_store.requests import API, Requests
from roomledger_events.identifiers import new_id

WORTHWHILE: Final = 5_000
"""From so many messages on it is worth a connection of its own."""

_SHORT: Final = 9
_STATUS: Final = b"NATS/1.0 "
_STALLED: Final = b"Nats-Consumer-Stalled: "
_encode: Final = msgspec.json.Encoder().encode


def is_possible(connection: Connection) -> bool:
    """Whether the server can be reached like this."""
    url, options = connection.connected_url, connection.options
    return url is not None and url.scheme == "nats" and "tls" not in options and bool(options.get("user"))


class LeanConsumer:
    """One push consumer, for reading what is there; used like a `PullConsumer`.

    Args:
        requests: The way to JetStream, and to where the server is.
        log: The log's name.
        heartbeat_s: How often the server shows that it is there while nothing comes, in seconds.
        tidy: Whether this user may remove the consumer; otherwise it is left to go by itself.

    Attributes:
        pending: How many messages matched when it was made.
    """

    def __init__(self, requests: Requests, log: str, *, heartbeat_s: float, tidy: bool) -> None:
        self.pending = 0
        self._requests = requests
        self._connection = requests.connection
        self._log = log
        self._heartbeat_s = heartbeat_s
        self._tidy = tidy
        self._name = new_id()
        self._line = _Line(self._connection.new_inbox().encode())
        self._last = 0
        self._to_answer: list[bytes] = []

    async def open(self, patterns: Sequence[str], start: int, *, within_s: float) -> None:
        """Connect and make the consumer.

        Args:
            patterns: The subjects to read; none means all.
            start: The first sequence.
            within_s: How long to try, in seconds.

        Raises:
            Interrupted: The server does not let us in like this.
            ApiError: JetStream refused.
            LogUnavailable: No answer came in time.
        """
        await self._line.open(self._connection, within_s)
        made = await self._requests.ask(
            f"reading {self._log}",
            f"{API}.CONSUMER.CREATE.{self._log}.{self._name}",
            _encode(
                {
                    "stream_name": self._log,
                    "config": {
                        "name": self._name,
                        "filter_subjects": patterns,
                        "deliver_policy": "by_start_sequence",
                        "opt_start_seq": start,
                        "deliver_subject": self._line.inbox.decode(),
                        "flow_control": True,
                        "idle_heartbeat": int(self._heartbeat_s * NANOSECONDS),
                        "ack_policy": "none",
                        "replay_policy": "instant",
                        "mem_storage": True,
                        "num_replicas": 1,
                        "inactive_threshold": INACTIVE_S * NANOSECONDS,
                    },
                }
            ),
            within_s=within_s,
        )
        self.pending = made["num_pending"]

    async def take(self) -> list[Message]:
        """Return the next messages in order, waiting for them; none at the end of the log.

        Raises:
            Interrupted: Something is missing or nothing comes any more.
        """
        line = self._line
        # What was taken before has been worked on by now: the server may send as much again.
        for subject in self._to_answer:
            line.publish(subject)
        while not line.received:
            if line.fault:
                raise Interrupted(line.fault)
            line.something.clear()
            try:
                async with asyncio.timeout(2.5 * self._heartbeat_s):
                    await line.something.wait()
            except TimeoutError:
                raise Interrupted("nothing was heard any more") from None
            if not line.received:
                self._answer()
                if line.idle and await self._is_at_end():
                    return []
        received, line.received = line.received, []
        self._to_answer, line.flow = line.flow, []
        return self._read(received)

    async def close(self) -> None:
        """Close the connection and remove the consumer; it goes by itself where that does not succeed."""
        self._line.close()
        if self._tidy and self._connection.is_connected:
            await self._connection.publish(f"{API}.CONSUMER.DELETE.{self._log}.{self._name}")

    async def _is_at_end(self) -> bool:
        """Whether there is nothing more, because the rest has expired before it could be delivered."""
        self._line.idle = False
        subject = f"{API}.CONSUMER.INFO.{self._log}.{self._name}"
        info = await self._requests.ask(f"reading {self._log}", subject, within_s=self._heartbeat_s)
        return not info["num_pending"] and info["delivered"]["consumer_seq"] == self._last

    def _answer(self) -> None:
        for subject in self._line.flow:
            self._line.publish(subject)
        self._line.flow = []

    def _read(self, received: list[tuple[bytes, bytes, bytes]]) -> list[Message]:
        messages = []
        for subject, reply, body in received:
            parts = reply.split(b".")
            first = 5 if len(parts) == _SHORT else 7
            number = int(parts[first + 1])
            if number != self._last + 1:
                self._line.fault = f"message {self._last + 1} of the consumer is missing"
                break
            self._last = number
            messages.append(
                Message(
                    int(parts[first]), int(parts[first + 2]), int(parts[first + 3]), subject.decode(), body
                )
            )
        if not messages:
            raise Interrupted(self._line.fault)
        return messages


class _Line(asyncio.Protocol):
    """The connection: bytes in, messages out.

    Attributes:
        inbox: What it subscribes to.
        received: Subject, reply subject and body of each message, in order.
        flow: Where the server waits for a sign that we have come so far.
        idle: Whether the server has said that it has nothing to send.
        fault: Why nothing comes any more; empty while all is well.
        something: Set when one of these has changed.
    """

    def __init__(self, inbox: bytes) -> None:
        self.inbox = inbox
        self.received: list[tuple[bytes, bytes, bytes]] = []
        self.flow: list[bytes] = []
        self.idle = False
        self.fault = ""
        self.something = asyncio.Event()
        self._ready = asyncio.Event()
        self._rest = b""
        self._transport: asyncio.Transport | None = None

    async def open(self, connection: Connection, within_s: float) -> None:
        """Connect to the server that a connection is connected to, as the same user, and subscribe."""
        url = connection.connected_url
        if url is None or url.hostname is None or url.port is None:
            raise Interrupted("the connection was lost")
        host, port, options = url.hostname, url.port, connection.options
        hello: dict[str, Any] = {
            "verbose": False,
            "pedantic": False,
            "headers": True,
            "no_responders": True,
            "protocol": 1,
            "lang": "python3",
            "version": "1",
            "name": f"{options['name']} reading",
            "user": options["user"],
            "pass": options["password"],
        }
        try:
            async with asyncio.timeout(within_s):
                loop = asyncio.get_running_loop()
                await loop.create_connection(lambda: self, host, port)
                self._write(b"CONNECT " + _encode(hello) + b"\r\nSUB " + self.inbox + b" 1\r\nPING\r\n")
                await self._ready.wait()
        except (OSError, TimeoutError) as error:
            raise Interrupted(f"no connection for reading: {error}") from error
        if self.fault:
            raise Interrupted(self.fault)

    def publish(self, subject: bytes) -> None:
        """Publish an empty message."""
        self._write(b"PUB " + subject + b" 0\r\n\r\n")

    def close(self) -> None:
        """Close it; harmless when it is closed."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take note of the way to the server."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are like it, but no subclasses

    def connection_lost(self, exc: Exception | None) -> None:
        """Take note that nothing more will come."""
        self._fail(f"the connection was lost{f': {exc}' if exc else ''}")

    def data_received(self, data: bytes) -> None:
        """Take in what has come; what is not complete waits for the rest."""
        data = self._rest + data if self._rest else data
        position = 0
        while (end := data.find(b"\r\n", position)) >= 0:
            word, _, arguments = data[position:end].partition(b" ")
            position = end + 2
            if word in (b"HMSG", b"MSG"):
                parts = arguments.split(b" ")
                size = int(parts[-1])
                if len(data) < position + size + 2:
                    position = end - len(word) - len(arguments) - 1
                    break
                head = int(parts[-2]) if word == b"HMSG" else 0
                self._take(parts, data[position : position + head], data[position + head : position + size])
                position += size + 2
            else:
                self._control(word, arguments)
        self._rest = data[position:]
        self.something.set()

    def _take(self, parts: list[bytes], head: bytes, body: bytes) -> None:
        if parts[0] != self.inbox:
            self.received.append((parts[0], parts[2], body))
        elif head.startswith(_STATUS + b"100"):
            stalled = head.partition(_STALLED)[2].partition(b"\r\n")[0]
            if stalled:
                self.flow.append(stalled)
            elif b"FlowControl" in head:
                self.flow.append(parts[2])
            else:
                self.idle = True
        else:
            self._fail(head.partition(b"\r\n")[0].removeprefix(_STATUS).decode(errors="replace"))

    def _control(self, word: bytes, arguments: bytes) -> None:
        if word == b"PING":
            self._write(b"PONG\r\n")
        elif word == b"PONG":
            self._ready.set()
        elif word == b"-ERR":
            self._fail(arguments.decode(errors="replace"))

    def _fail(self, fault: str) -> None:
        self.fault = self.fault or fault
        self._ready.set()
        self.something.set()

    def _write(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)
