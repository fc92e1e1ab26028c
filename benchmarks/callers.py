"""A load generator: many callers over one connection, lean, so that it is not what is measured."""

import asyncio
import json
import time
from typing import cast
from urllib.parse import urlsplit


class Callers(asyncio.Protocol):
    """Speaks as much of the NATS protocol as it takes to call and to be answered.

    Attributes:
        latencies: Seconds from call to answer, in order of the answers.
        failures: Answers that were refusals, and what they said.
    """

    def __init__(self, user: str, password: str) -> None:
        self.latencies: list[float] = []
        self.failures: list[bytes] = []
        self.connected: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._buffer = b""
        self._sent: dict[bytes, float] = {}
        self._calls: list[tuple[bytes, bytes]] = []
        self._next = 0
        self._credentials = {"user": user, "pass": password}

    @classmethod
    async def connect(cls, url: str, user: str, password: str) -> "Callers":
        """Connect and log in."""
        address = urlsplit(url)
        loop = asyncio.get_running_loop()
        _, callers = await loop.create_connection(lambda: cls(user, password), address.hostname, address.port)
        await callers.connected
        return callers

    async def run(self, calls: list[tuple[bytes, bytes]], concurrency: int) -> float:
        """Make calls, so many at a time, and return the seconds that it took.

        Args:
            calls: Subject and body of each.
            concurrency: How many callers wait at once.
        """
        self.latencies, self.failures, self._calls, self._next = [], [], calls, 0
        self.done = asyncio.get_running_loop().create_future()
        begin = time.perf_counter()
        self._transport.write(b"".join(self._call() for _ in range(min(concurrency, len(calls)))))
        await self.done
        return time.perf_counter() - begin

    def _call(self) -> bytes:
        subject, body = self._calls[self._next]
        reply = b"_INBOX.callers.%d" % self._next
        self._next += 1
        self._sent[reply] = time.perf_counter()
        return b"PUB %b %b %d\r\n%b\r\n" % (subject, reply, len(body), body)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are like it, but no subclasses

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer + data
        position = 0
        answers: list[bytes] = []
        while (end := buffer.find(b"\r\n", position)) >= 0:
            line = buffer[position:end]
            if line.startswith((b"MSG", b"HMSG")):
                words = line.split()
                size = int(words[-1])
                if len(buffer) < end + 4 + size:
                    break
                body = buffer[end + 2 : end + 2 + size]
                position = end + 4 + size
                answers.append(self._answered(words[1], body, refused=line.startswith(b"HMSG")))
                continue
            position = end + 2
            if line.startswith(b"INFO"):
                self._log_in()
            elif line == b"PING":
                self._transport.write(b"PONG\r\n")
            elif line == b"PONG" and not self.connected.done():
                self.connected.set_result(None)
            elif line.startswith(b"-ERR"):
                raise RuntimeError(line.decode())
        self._buffer = buffer[position:]
        if answers:
            self._transport.write(b"".join(answers))

    def _log_in(self) -> None:
        told = {
            "verbose": False,
            "pedantic": False,
            "headers": True,
            "no_responders": True,
            "lang": "python",
            "version": "0",
            "protocol": 1,
            **self._credentials,
        }
        self._transport.write(b"CONNECT %b\r\nSUB _INBOX.callers.* 1\r\nPING\r\n" % json.dumps(told).encode())

    def _answered(self, reply: bytes, body: bytes, *, refused: bool) -> bytes:
        self.latencies.append(time.perf_counter() - self._sent.pop(reply))
        if refused:
            self.failures.append(body)
        if self._next < len(self._calls):
            return self._call()
        if len(self.latencies) == len(self._calls):
            self.done.set_result(None)
        return b""
