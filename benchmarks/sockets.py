"""Many lean clients of a portal, in a process of their own, so that they are not what is measured.

It is told what to do by lines of JSON, and answers with lines of JSON.
"""

import asyncio
import base64
import json
import os
import resource
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final
from urllib.parse import urlsplit

SPARE: Final = 200
"""How many files a process has open beside its connections."""
AT_ONCE: Final = 64
LIMIT_S: Final = 120.0
"""How long anything may take."""
LINE: Final = 64 * 1024 * 1024


class Socket(asyncio.Protocol):
    """Speaks as much of WebSocket and JSON-RPC as it takes to log in, to send texts and to hear them.

    Attributes:
        heard: When texts came, in order.
    """

    def __init__(self, host: str) -> None:
        loop = asyncio.get_running_loop()
        self.heard: list[float] = []
        self.opened: asyncio.Future[None] = loop.create_future()
        self.closed: asyncio.Future[None] = loop.create_future()
        self.answer: asyncio.Future[bytes] = loop.create_future()
        self._host = host
        self._buffer = b""

    @classmethod
    async def connect(cls, url: str) -> "Socket":
        """Connect to a portal."""
        address = urlsplit(url)
        loop = asyncio.get_running_loop()
        _, client = await loop.create_connection(lambda: cls(address.netloc), address.hostname, address.port)
        await client.opened
        return client

    async def ask(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        """Ask for something and return the result."""
        self.answer = asyncio.get_running_loop().create_future()
        self.send(json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode())
        answer = json.loads(await self.answer)
        assert "result" in answer, answer
        result: dict[str, Any] = answer["result"]
        return result

    def send(self, body: bytes, opcode: int = 1) -> None:
        """Send a frame; its mask is zero, which leaves it as it is (RFC 6455, section 5.3)."""
        size = len(body)
        length = bytes([0x80 | size]) if size < 126 else b"\xfe" + size.to_bytes(2, "big")
        self._transport.write(bytes([0x80 | opcode]) + length + b"\0\0\0\0" + body)

    def close(self) -> None:
        """Be gone without a word."""
        self._transport.abort()

    # -- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        key = base64.b64encode(os.urandom(16)).decode()
        transport.write(
            f"GET / HTTP/1.1\r\nHost: {self._host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Protocol: roomledger.v1\r\n\r\n".encode()
        )

    def connection_lost(self, exc: Exception | None) -> None:
        for waiting in (self.opened, self.answer):
            if not waiting.done():
                waiting.set_exception(exc or ConnectionResetError("the portal closed the connection"))
                waiting.exception()
        self.closed.set_result(None)

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer + data
        if not self.opened.done():
            head, end, buffer = buffer.partition(b"\r\n\r\n")
            if not end:
                self._buffer = head
                return
            if b" 101 " not in head.split(b"\r\n")[0]:
                self.opened.set_exception(ConnectionRefusedError(head.decode(errors="replace")))
                return
            self.opened.set_result(None)
        position = 0
        while (frame := _frame(buffer, position)) is not None:
            opcode, start, position = frame
            self._take(opcode, buffer[start:position])
        self._buffer = buffer[position:]

    def _take(self, opcode: int, body: bytes) -> None:
        if opcode == 9:
            self.send(body, 10)
        elif opcode == 1 and b'"method":"text"' in body[:40]:
            self.heard.append(time.perf_counter())
        elif opcode == 1 and b'"id":' in body[:40] and not self.answer.done():
            self.answer.set_result(body)


def _frame(buffer: bytes, position: int) -> tuple[int, int, int] | None:
    """Return the next frame's opcode, and where its body begins and ends; None if it is not all there."""
    if len(buffer) < position + 2:
        return None
    size, start = buffer[position + 1] & 0x7F, position + 2
    if size >= 126:
        extended = 2 if size == 126 else 8
        if len(buffer) < start + extended:
            return None
        size, start = int.from_bytes(buffer[start : start + extended], "big"), start + extended
    return None if len(buffer) < start + size else (buffer[position] & 0x0F, start, start + size)


class Clients:
    """What the process can be told to do."""

    def __init__(self) -> None:
        self._sockets: list[Socket] = []

    async def open(self, url: str, count: int) -> None:
        """Open connections that stay."""
        left = iter(range(count))

        async def some() -> None:
            for _ in left:
                self._sockets.append(await Socket.connect(url))

        await asyncio.gather(*(some() for _ in range(AT_ONCE)))

    async def login(
        self, url: str, tokens: Sequence[str], concurrency: int, *, reconnect: bool
    ) -> dict[str, Any]:
        """Log in on new connections, so many at a time; return what each took, connecting included."""
        left = iter(tokens)
        took: list[float] = []

        async def some(tokens: Iterator[str]) -> None:
            for token in tokens:
                begin = time.perf_counter()
                socket = await Socket.connect(url)
                await socket.ask("login", {"token": token, "reconnect": reconnect})
                took.append(time.perf_counter() - begin)
                self._sockets.append(socket)

        begin = time.perf_counter()
        await asyncio.gather(*(some(left) for _ in range(concurrency)))
        return {"seconds": time.perf_counter() - begin, "took": took}

    async def text(self, times: int) -> dict[str, Any]:
        """Have the first one send texts to all; return when each one heard it, and when the last one did."""
        each: list[float] = []
        last: list[float] = []
        for _ in range(times):
            for socket in self._sockets:
                socket.heard.clear()
            begin = time.perf_counter()
            await self._sockets[0].ask("text", {"to": "all", "message": "hello, everybody"})
            while not all(socket.heard for socket in self._sockets):  # noqa: ASYNC110  - of a thousand
                await asyncio.sleep(0.005)
            came = [socket.heard[0] - begin for socket in self._sockets]
            each += came
            last.append(max(came))
        return {"each": each, "last": last}

    async def alive(self) -> int:
        """Return how many are still connected."""
        return sum(not socket.closed.done() for socket in self._sockets)

    async def close(self) -> None:
        """Lose all connections."""
        sockets, self._sockets = self._sockets, []
        for socket in sockets:
            socket.close()
        await asyncio.gather(*(socket.closed for socket in sockets))


class ClientProcess:
    """The process, as seen from outside."""

    def __init__(self, child: asyncio.subprocess.Process) -> None:
        self._child = child

    async def do(self, what: str, **arguments: Any) -> Any:  # noqa: ANN401  - JSON values
        """Have it do something, and return what it says."""
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        self._child.stdin.write(json.dumps([what, arguments]).encode() + b"\n")
        async with asyncio.timeout(LIMIT_S):
            line = await self._child.stdout.readline()
        if not line:
            raise SystemExit(f"the clients ended while they were to {what}; what they said is above")
        return json.loads(line)


@asynccontextmanager
async def clients() -> AsyncIterator[ClientProcess]:
    """Run the process."""
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "benchmarks.sockets",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=LINE,
    )
    try:
        yield ClientProcess(child)
    finally:
        assert child.stdin is not None
        child.stdin.close()
        await child.wait()


def allow(connections: int) -> None:
    """See to it that this process and its children may have so many connections.

    Raises:
        SystemExit: They may not.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + SPARE
    if hard != resource.RLIM_INFINITY and hard < wanted:
        raise SystemExit(
            f"{connections} connections need {wanted} open files, and this shell allows {hard}:"
            f" run `ulimit -Hn {wanted}` as one who may, or ask for fewer connections"
        )
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


async def _serve() -> None:
    there = Clients()
    lines = asyncio.StreamReader(limit=LINE)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    while line := await lines.readline():
        what, arguments = json.loads(line)
        print(json.dumps(await getattr(there, what)(**arguments)), flush=True)


if __name__ == "__main__":
    asyncio.run(_serve())
