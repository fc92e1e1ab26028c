"""A plain connection to nats-server: bytes in, messages out, and no object made for what nobody looks at.

It is for the few places that see very many messages: it costs a fraction of what nats-py does, which makes an
object with headers and wakes a task for each of them.  Of the NATS client protocol it understands what such a
connection meets: INFO, PING, PONG, MSG, HMSG, -ERR
(https://docs.nats.io/reference/reference-protocols/nats-protocol).  It does not come back by itself when it
is lost.  It needs a server that is reached by plain TCP with a user and a password; everywhere else nats-py
does the work.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Final, cast

import msgspec

from roomledger.event_store.connection import Connection

Receive = Callable[[bytes, bytes, bytes, bytes], None]
"""Takes the subject, the reply subject, the header and the body of a message; what is not there is empty."""

WRITE_BUFFER: Final = 8 * 1024 * 1024
"""While so many bytes wait to be sent nothing more is taken in."""

_PERMISSIONS: Final = b"'Permissions Violation"
_encode: Final = msgspec.json.Encoder().encode


class LineBroken(Exception):
    """The server was not reached by a line, did not let it in, or it is lost.

    Attributes:
        reason: Why.
    """

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)

    def __str__(self) -> str:
        return self.reason


def is_possible(connection: Connection) -> bool:
    """Whether the server that a connection is connected to can be reached by a line."""
    url, options = connection.connected_url, connection.options
    return url is not None and url.scheme == "nats" and "tls" not in options and bool(options.get("user"))


class Line(asyncio.Protocol):
    """One connection.

    Args:
        receive: Gets each message, in the order in which they come.
        refused: Gets what the server says that it does not permit, which does not end the line.
        lost: Gets the fault that ended the line, once.

    Attributes:
        fault: Why nothing comes any more; empty while all is well.
        heard: Set to True whenever something comes.
        max_payload: The largest body and header that the server takes, in bytes.
    """

    def __init__(self, receive: Receive, refused: Callable[[str], None], lost: Callable[[str], None]) -> None:
        self.fault = ""
        self.heard = False
        self.max_payload = 0
        self._receive = receive
        self._refused = refused
        self._lost = lost
        self._loop = asyncio.get_running_loop()
        self._informed = self._loop.create_future()
        self._pongs: list[asyncio.Future[None]] = []
        self._rest = b""
        self._to_write: list[bytes] = []
        self._transport: asyncio.Transport | None = None

    # -- What it can be told

    async def open(self, connection: Connection, *, name: str, within_s: float) -> None:
        """Connect to the server that a connection is connected to, as the same user.

        Args:
            connection: The one beside which this is a further one.
            name: What the server's list of connections shows.
            within_s: How long to try, in seconds.

        Raises:
            LineBroken: That did not succeed.
        """
        url = connection.connected_url
        if url is None or url.hostname is None or url.port is None:
            raise LineBroken("the connection was lost")
        host, port = url.hostname, url.port
        try:
            async with asyncio.timeout(within_s):
                await self._loop.create_connection(lambda: self, host, port)
                await self._informed
                self.write(b"CONNECT " + _encode(_hello(connection.options, name)) + b"\r\n")
                await self.flush()
        except (OSError, TimeoutError) as error:
            self.close()
            raise LineBroken(f"no further connection: {str(error) or 'no answer'}") from error
        except BaseException:
            self.close()
            raise

    def subscribe(self, number: int, subject: bytes, queue: bytes = b"") -> None:
        """Have the messages on a subject sent, under a number that is not in use.

        Args:
            number: What `unsubscribe` is told.
            subject: Which subject, or pattern of subjects.
            queue: Those that subscribe with the same one share the messages; without, everybody gets each.
        """
        group = b" " + queue if queue else b""
        self.write(b"SUB %b%b %d\r\n" % (subject, group, number))

    def unsubscribe(self, number: int) -> None:
        """Have no more messages sent by a subscription; some may be on their way (see `flush`)."""
        self.write(b"UNSUB %d\r\n" % number)

    def publish(self, subject: bytes, body: bytes = b"") -> None:
        """Publish a message; its body must not be larger than `max_payload`."""
        self.write(b"PUB %b %d\r\n%b\r\n" % (subject, len(body), body))

    def publish_at_once(self, subject: bytes) -> None:
        """Publish an empty message without waiting for the end of this turn: it keeps the server going."""
        self.publish(subject)
        self._write_out()

    def publish_with_header(self, subject: bytes, header: bytes, body: bytes) -> None:
        """Publish a message with a header, given as it stands on the wire, from ``NATS/1.0`` to its end."""
        size = len(header)
        self.write(b"HPUB %b %d %d\r\n%b%b\r\n" % (subject, size, size + len(body), header, body))

    def request_with_header(self, subject: bytes, reply: bytes, header: bytes, body: bytes) -> None:
        """Publish a request with a header, at once: whoever asks waits for the answer."""
        size = len(header)
        self.write(b"HPUB %b %b %d %d\r\n%b%b\r\n" % (subject, reply, size, size + len(body), header, body))
        self._write_out()

    async def flush(self) -> None:
        """Return when the server has taken in all that was written, and all that it sent before has come.

        Raises:
            LineBroken: The line is lost.
        """
        if self.fault:
            raise LineBroken(self.fault)
        pong: asyncio.Future[None] = self._loop.create_future()
        self._pongs.append(pong)
        self.write(b"PING\r\n")
        await pong

    def ping(self) -> None:
        """Have the server show that it is there; see `heard`."""
        if not self.fault:
            self._pongs.append(self._loop.create_future())
            self.write(b"PING\r\n")

    def hang_up(self) -> None:
        """Close it when all is sent that was written."""
        self._write_out()
        if self._transport is not None:
            self._transport.close()

    def close(self) -> None:
        """Close it at once; harmless when it is closed."""
        if self._transport is not None:
            self._transport.abort()

    def write(self, data: bytes) -> None:
        """Write what a client may say; what is written in one turn of the event loop is sent together."""
        if not self._to_write:
            self._loop.call_soon(self._write_out)
        self._to_write.append(data)

    def _write_out(self) -> None:
        data, self._to_write = self._to_write, []
        if data and self._transport is not None and not self._transport.is_closing():
            self._transport.write(b"".join(data))

    # -- What asyncio tells it

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take note of the way to the server."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are like it, but no subclasses
        self._transport.set_write_buffer_limits(WRITE_BUFFER)

    def connection_lost(self, exc: Exception | None) -> None:
        """Take note that nothing more will come."""
        self._fail(f"the connection was lost{f': {exc}' if exc else ''}")

    def pause_writing(self) -> None:
        """Take nothing more in: what is answered to it would have to wait here."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        """Take in again what comes."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        """Take in what has come; what is not complete waits for the rest."""
        self.heard = True
        if self._rest:
            data = self._rest + data
        receive, find, length = self._receive, data.find, len(data)
        position = 0
        while (end := find(b"\r\n", position)) >= 0:
            parts = data[position:end].split(b" ")
            word = parts[0]
            if word == b"MSG":
                begin = end + 2
                after = begin + int(parts[-1])
                if length < after + 2:
                    break
                receive(parts[1], parts[3] if len(parts) > 4 else b"", b"", data[begin:after])  # noqa: PLR2004  - MSG subject number [reply] size
                position = after + 2
            elif word == b"HMSG":
                begin = end + 2
                body, after = begin + int(parts[-2]), begin + int(parts[-1])
                if length < after + 2:
                    break
                reply = parts[3] if len(parts) > 5 else b""  # noqa: PLR2004  - HMSG subject number [reply] size size
                receive(parts[1], reply, data[begin:body], data[body:after])
                position = after + 2
            else:
                self._control(word, data[position + len(word) + 1 : end])
                position = end + 2
        self._rest = data[position:]

    def _control(self, word: bytes, arguments: bytes) -> None:
        if word == b"PING":
            self.write(b"PONG\r\n")
        elif word == b"PONG":
            pong = self._pongs.pop(0)
            if not pong.done():
                pong.set_result(None)
        elif word == b"INFO":
            self._take_note(msgspec.json.decode(arguments))
        elif word == b"-ERR":
            told = arguments.decode(errors="replace")
            if arguments.startswith(_PERMISSIONS):
                self._refused(told)
            else:
                self._fail(told)

    def _take_note(self, info: dict[str, Any]) -> None:
        self.max_payload = info["max_payload"]
        if info.get("tls_required"):
            self._fail("the server wants TLS")
        elif not self._informed.done():
            self._informed.set_result(None)

    def _fail(self, fault: str) -> None:
        if self.fault:
            return
        self.fault = fault
        for waiting in (self._informed, *self._pongs):
            if not waiting.done():
                waiting.set_exception(LineBroken(fault))
                waiting.exception()  # not everybody waits: what they are told stands in `fault`
        self._pongs.clear()
        self._lost(fault)


def _hello(options: dict[str, Any], name: str) -> dict[str, Any]:
    return {
        "verbose": False,
        "pedantic": False,
        "headers": True,
        "no_responders": True,
        "protocol": 1,
        "lang": "python3",
        "version": "1",
        "name": name,
        "user": options["user"],
        "pass": options["password"],
    }
