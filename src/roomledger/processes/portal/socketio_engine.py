"""Engine.IO and Socket.IO by python-socketio's server, with what it lacks: bounds, and lines that are cut.

A `Line` is one client's connection, by long polling or WebSocket. Beside what the library does,

- what waits for a client that reads slowly is bounded;
- a client that answers a ping is known to have had what was sent before it (`Client.ponged`);
- who sends what is no Socket.IO, or anything binary, is hung up on;
- a line that is closed is closed within `CLOSE_LIMIT_S`, whatever the client does.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol, TypeAlias

import structlog
from engineio.async_server import AsyncServer as EngineServer
from engineio.async_socket import AsyncSocket
from engineio.exceptions import QueueEmpty
from engineio.packet import CLOSE, MESSAGE, OPEN, PING, PONG, UPGRADE
from engineio.packet import Packet as EnginePacket
from engineio.payload import Payload
from socketio import AsyncServer
from socketio.packet import ACK, BINARY_ACK, BINARY_EVENT, DISCONNECT, EVENT
from socketio.packet import Packet as SocketPacket

BUFFER: Final = 1024 * 1024
"""How many characters may wait for a client that reads slowly, beside what is on its way."""
CLOSE_LIMIT_S: Final = 3.0
"""How long a client has to take what waits for it when its line is closed."""
PING_S: Final = 25.0
PING_LIMIT_S: Final = 20.0
NAMESPACE: Final = "/"
ABORT: Final = "roomledger.abort"
"""Where an ASGI server leaves, among a scope's extensions, what cuts the connection."""

_BINARY: Final = frozenset({str(BINARY_EVENT), str(BINARY_ACK)})
_INCOMING: Final = frozenset({PONG, MESSAGE, UPGRADE, CLOSE})

Payload.max_decode_packets = 1000  # clients put all that waits into one body, and the size of that is bounded

log = structlog.get_logger(__name__)


class Client(Protocol):
    """Who is at the end of a line."""

    def asked(self, event: str, arguments: list[Any], ack: int | None) -> None:
        """Take a request; `ack` is the number to answer it under, if an answer is wanted."""

    def lost(self) -> None:
        """Take it that the line is closed."""

    def slow(self) -> None:
        """Take it that more waits for the client than is kept."""

    def pinged(self) -> None:
        """Take it that the client is asked whether it is there."""

    def ponged(self) -> None:
        """Take it that the client answered: so it has had all that was pushed before it was asked."""


Pushed: TypeAlias = EnginePacket
"""What is sent to clients, written once."""
Greet = Callable[["Line"], Client]
"""Gives a new line its client."""


class _Outbox(asyncio.Queue[EnginePacket | None]):
    """What waits to be sent, and how much that is."""

    def _init(self, maxsize: int) -> None:
        super()._init(maxsize)
        self.size = 0

    def _put(self, item: EnginePacket | None) -> None:
        self.size += 0 if item is None else len(item.encode())
        super()._put(item)

    def _get(self) -> EnginePacket | None:
        item: EnginePacket | None = super()._get()
        self.size -= 0 if item is None else len(item.encode())
        return item


class Line(AsyncSocket):  # type: ignore[misc]  # the library has no types
    """One client's connection."""

    server: "_Engine"
    queue: _Outbox

    def __init__(self, server: "_Engine", sid: str) -> None:
        super().__init__(server, sid)
        self._cut: Callable[[], None] | None = None
        self._ended = asyncio.Event()
        self._hanging_up: asyncio.Task[None] | None = None
        self.client = server.greet(self)

    @property
    def is_open(self) -> bool:
        """Whether nobody is about to close it."""
        return self._hanging_up is None and not self.closing and not self.closed

    # -- Out

    def push(self, packet: Pushed) -> None:
        """Send without waiting."""
        if not self.is_open:
            return
        self.queue.put_nowait(packet)
        if self.queue.size > BUFFER:
            self.client.slow()

    def answer(self, ack: int, *arguments: object) -> None:
        """Answer a request."""
        self.push(_packet(SocketPacket(ACK, data=list(arguments), id=ack)))

    def hang_up(self, *, farewell: bool = True) -> None:
        """Close the line once all that waits has been sent.

        Args:
            farewell: Whether the client is told that it is meant; else it tries to connect again by itself.
        """
        if self._hanging_up is None:
            if farewell and self.is_open:
                self.queue.put_nowait(_packet(SocketPacket(DISCONNECT)))
            self._hanging_up = self.server.start_background_task(self._hang_up)

    async def closed_down(self) -> None:
        """Return when a line that is hung up is closed."""
        if self._hanging_up is not None:
            await asyncio.wait({self._hanging_up})

    async def _hang_up(self) -> None:
        try:
            async with asyncio.timeout(CLOSE_LIMIT_S):
                await self.queue.join()
        except TimeoutError:
            pass  # it does not even take what there was before
        await self.close()
        self.server.sockets.pop(self.sid, None)
        if self._cut is not None:
            try:
                async with asyncio.timeout(CLOSE_LIMIT_S):
                    await self._ended.wait()
            except TimeoutError:
                self._cut()

    # -- What the library calls

    async def send(self, pkt: EnginePacket) -> None:
        """Send a packet, of whatever kind."""
        if pkt.packet_type == PING:
            self.client.pinged()
        await super().send(pkt)

    async def receive(self, pkt: EnginePacket) -> None:
        """Take a packet, of whatever kind."""
        if pkt.packet_type == PONG:
            self.client.ponged()
        if pkt.packet_type in _INCOMING:
            await super().receive(pkt)
        else:
            self.hang_up()

    async def close(self, wait: bool = True, abort: bool = False, reason: str | None = None) -> None:  # noqa: FBT001, FBT002  - the library's signature
        """Close at once: whether the client takes what waits for it is its own affair."""
        del wait
        was_open = not self.closing
        await super().close(wait=False, abort=abort, reason=reason)
        if was_open:
            self.queue.put_nowait(None)  # whoever waits for more waits no longer

    async def _upgrade_websocket(self, environ: dict[str, Any]) -> Any:  # noqa: ANN401  - the library's answer
        self._cut = environ["asgi.scope"].get("extensions", {}).get(ABORT, {}).get("abort")
        return await super()._upgrade_websocket(environ)

    async def _websocket_handler(self, ws: Any) -> None:  # noqa: ANN401  - the library's WebSocket
        try:
            await super()._websocket_handler(ws)
        except (ValueError, TypeError, LookupError, RecursionError):  # what is no Engine.IO
            self.upgraded = True
        finally:
            if self.upgraded:
                self._ended.set()
                await self.close(abort=True, reason=self.server.reason.TRANSPORT_CLOSE)
            else:
                self.upgrading = False
                self._cut = None


class _Engine(EngineServer):  # type: ignore[misc]  # the library has no types
    """Engine.IO with lines."""

    greet: Greet
    is_full: Callable[[], bool]
    start_service_task: bool
    service_task_handle: Any

    def create_queue(self, *_: object, **__: object) -> _Outbox:
        return _Outbox()

    async def _handle_connect(
        self, environ: dict[str, Any], transport: str, jsonp_index: int | None = None
    ) -> Any:  # noqa: ANN401  - the library's answer
        if self.is_full():
            return {
                "status": "503 SERVICE UNAVAILABLE",
                "headers": [("Content-Type", "text/plain"), ("Retry-After", "10")],
                "response": b"This portal is full.",
            }
        if self.start_service_task:
            self.start_service_task = False
            self.service_task_handle = self.start_background_task(self._service_task)
        sid = self.generate_id()
        line = self.sockets[sid] = Line(self, sid)
        greeting = {
            "sid": sid,
            "upgrades": self._upgrades(sid, transport),
            "pingTimeout": int(self.ping_timeout * 1000),
            "pingInterval": int(self.ping_interval * 1000),
            "maxPayload": self.max_http_buffer_size,
        }
        await line.send(EnginePacket(OPEN, greeting))
        await self._trigger_event("connect", sid, environ, run_async=False)
        line.schedule_ping()
        if transport == "websocket":
            try:
                return await line.handle_get_request(environ)
            finally:
                if line.closed:
                    self.sockets.pop(sid, None)
        line.connected = True
        try:
            return self._ok(await line.poll(), jsonp_index=jsonp_index)
        except QueueEmpty:
            return self._bad_request()


class SocketServer(AsyncServer):  # type: ignore[misc]  # the library has no types
    """Socket.IO on lines, in the default namespace.

    Args:
        greet: Gives a new line its client.
        is_full: Whether nobody is taken any more.
        max_message: The longest message of a client, in bytes.
        origins: The origins whose pages may connect; any if there is none.
    """

    def __init__(
        self, greet: Greet, *, is_full: Callable[[], bool], max_message: int, origins: Sequence[str] = ()
    ) -> None:
        super().__init__(
            async_mode="asgi",
            logger=_quiet(),
            engineio_logger=_quiet(),
            ping_interval=PING_S,
            ping_timeout=PING_LIMIT_S,
            max_http_buffer_size=max_message,
            cors_allowed_origins=list(origins) or "*",
            http_compression=False,
        )
        self.eio.greet = greet
        self.eio.is_full = is_full

    @property
    def lines(self) -> list[Line]:
        """All lines."""
        return list(self.eio.sockets.values())

    async def hang_up(self) -> None:
        """Close all lines; their clients try to connect again."""
        lines = self.lines
        for line in lines:
            line.hang_up(farewell=False)
        await asyncio.gather(*(line.closed_down() for line in lines))

    async def shutdown(self) -> None:
        """End what looks after the lines."""
        if self.eio.service_task_handle is not None:
            await super().shutdown()

    def _engineio_server_class(self) -> type[_Engine]:
        return _Engine

    async def _handle_eio_message(self, eio_sid: str, data: str | bytes) -> None:
        line: Line | None = self.eio.sockets.get(eio_sid)
        if line is None or not line.is_open:
            return
        try:
            if not isinstance(data, str) or data[:1] in _BINARY:
                raise TypeError("nothing binary is taken")  # noqa: TRY301  - treated like all that is no Socket.IO
            await super()._handle_eio_message(eio_sid, data)
        except Exception as error:  # noqa: BLE001  - the library raises what it comes across in a packet
            log.debug("a client was hung up on: what it sent is no Socket.IO", why=repr(error))
            line.hang_up()

    async def _handle_event(self, eio_sid: str, namespace: str | None, ack: int | None, data: object) -> None:
        line: Line = self.eio.sockets[eio_sid]
        if self.manager.sid_from_eio_sid(eio_sid, namespace or NAMESPACE) is None:
            return  # it has not connected to the namespace
        if not isinstance(data, list) or not data or not isinstance(data[0], str):
            raise TypeError("an event is a list that begins with its name")
        _tell(lambda: line.client.asked(data[0], data[1:], ack))

    async def _handle_ack(self, eio_sid: str, namespace: str | None, ack: int, data: object) -> None:
        """Ignore it: nothing that is sent asks for an acknowledgement."""

    async def _handle_disconnect(
        self, eio_sid: str, namespace: str | None, reason: str | None = None
    ) -> None:
        await super()._handle_disconnect(eio_sid, namespace, reason)
        line: Line | None = self.eio.sockets.get(eio_sid)
        if line is not None and line.is_open:
            line.hang_up(farewell=False)  # there is no other namespace that the line could be for

    async def _handle_eio_disconnect(self, eio_sid: str, reason: str) -> None:
        line: Line | None = self.eio.sockets.get(eio_sid)
        await super()._handle_eio_disconnect(eio_sid, reason)
        if line is not None:
            _tell(line.client.lost)


def event(name: str, argument: object) -> Pushed:
    """Return an event as it goes out; the same can be pushed to any number of lines."""
    return _packet(SocketPacket(EVENT, data=[name, argument]))


def _packet(packet: SocketPacket) -> Pushed:
    return EnginePacket(MESSAGE, packet.encode())


def _tell(what: Callable[[], None]) -> None:
    """Tell a client something; what goes wrong there is no fault of the line's."""
    try:
        what()
    except Exception:
        log.exception("an existing client could not be served")


def _quiet() -> logging.Logger:
    """Return a log that does not tell of all that strangers send; what matters is told by the lines."""
    quiet = logging.getLogger("roomledger.portal.socketio")
    quiet.setLevel(logging.CRITICAL)
    return quiet
