"""A TCP proxy between a client and a server, with which a test makes the network fail."""

import asyncio
import contextlib
from collections.abc import Callable
from types import TracebackType
from typing import Self

_CHUNK = 64 * 1024


class Proxy:
    """Passes bytes on between clients and one server, as long as the test does not want it otherwise.

    Args:
        url: Of the server, such as ``nats://127.0.0.1:4222``.

    Attributes:
        answers_pass: Set it to False to let what the server sends vanish.
        requests_pass: Set it to False to let what the clients send vanish.
        accepts: Set it to False to close new connections at once.
        rewrite_answers: Changes what the server sends.
        rewrite_requests: Changes what the clients send.
        swallowed: How many bytes have vanished, of both directions.
    """

    def __init__(self, url: str) -> None:
        host, _, port = url.rpartition("//")[2].rpartition(":")
        self._target = host, int(port)
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self.answers_pass = True
        self.requests_pass = True
        self.accepts = True
        self.rewrite_answers: Callable[[bytes], bytes] = bytes
        self.rewrite_requests: Callable[[bytes], bytes] = bytes
        self.swallowed = 0

    @property
    def url(self) -> str:
        """Where clients reach the server through this proxy."""
        assert self._server is not None, "the proxy has not been started"
        host, port = self._server.sockets[0].getsockname()
        return f"nats://{host}:{port}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    def cut(self) -> None:
        """Break all connections, as a machine that goes away does."""
        for writer in list(self._writers):
            writer.transport.abort()

    def heal(self) -> None:
        """Let everything pass again."""
        self.answers_pass = self.requests_pass = self.accepts = True

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self._writers.add(writer)
        try:
            if self.accepts:
                await self._connect(reader, writer)
        finally:
            self._writers.discard(writer)
            writer.transport.abort()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            server_reader, server_writer = await asyncio.open_connection(*self._target)
            self._writers.add(server_writer)
            try:
                ways = {
                    asyncio.create_task(self._pass(reader, server_writer, answers=False)),
                    asyncio.create_task(self._pass(server_reader, writer, answers=True)),
                }
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
                for way in ways:
                    way.cancel()
                await asyncio.gather(*ways, return_exceptions=True)
            finally:
                self._writers.discard(server_writer)
                server_writer.transport.abort()

    async def _pass(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, answers: bool
    ) -> None:
        with contextlib.suppress(OSError):
            while chunk := await reader.read(_CHUNK):
                if not (self.answers_pass if answers else self.requests_pass):
                    self.swallowed += len(chunk)
                    continue
                rewrite = self.rewrite_answers if answers else self.rewrite_requests
                writer.write(rewrite(chunk))
                await writer.drain()
