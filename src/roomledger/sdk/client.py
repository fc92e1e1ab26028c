"""A client for portals, by their own protocol: JSON-RPC 2.0 over WebSocket."""

import asyncio
from types import TracebackType
from typing import Any, Final, NamedTuple, Self, TypeVar

import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidURI
from websockets.typing import Subprotocol

from roomledger import __version__
from roomledger.domain import signed_token
from roomledger.sdk.errors import ConnectionEnded, NoAnswer, PortalUnreachable, RequestRefused
from roomledger.sdk.rooms import JoinedRoom, ParticipantView

SUBPROTOCOL: Final = Subprotocol("roomledger.v1")
TIME_LIMIT_S: Final = 15.0
"""How long an answer may take: longer than a portal works on a login."""
MAX_MESSAGE: Final = 16 * 1024 * 1024
"""The longest message that is taken: a login's answer lists all who are in the room."""
WAITING: Final = 10_000
"""How many notifications may wait to be taken, before the client gives up."""
LOST: Final = 1006
"""The close code that stands for a connection that ended without one (RFC 6455, section 7.1.5)."""
_LOGGED_OUT: Final = 1000

Reply = TypeVar("Reply")


class LoggedIn(JoinedRoom, kw_only=True, frozen=True):
    """Who one is, and the room that one is in."""

    ticket: str | None = None


class Notification(NamedTuple):
    """What the portal tells without being asked.

    Attributes:
        method: What it is about, such as ``participant``.
        params: What it says, as the wire protocol has it.
    """

    method: str
    params: dict[str, Any]


class _Present(msgspec.Struct):
    participants: tuple[ParticipantView, ...]


class _ErrorData(msgspec.Struct):
    code: str | None = None
    retry_after_ms: int | None = None


class _Error(msgspec.Struct):
    code: int
    message: str
    data: _ErrorData = msgspec.field(default_factory=_ErrorData)


class _Incoming(msgspec.Struct):
    id: int | None = None
    method: str | None = None
    params: dict[str, Any] = msgspec.field(default_factory=dict)
    result: msgspec.Raw = msgspec.Raw(b"null")
    error: _Error | None = None


_decode: Final = msgspec.json.Decoder(_Incoming).decode
_encode: Final = msgspec.json.Encoder().encode


class Client:
    """One participant's connection to a portal; use it as an asynchronous context manager.

    Iterate over it for what the portal tells. The iteration ends with the logout.

    Args:
        token: The token's text.
        url: Where the portal is; by default where the token says.

    Raises:
        Refusal: The token is none (``invalid_token``).
    """

    def __init__(self, token: str, *, url: str | None = None) -> None:
        claims, _ = signed_token.read(token)
        self.url = url or claims.url
        self._token = token
        self._socket: ClientConnection | None = None
        self._reading: asyncio.Task[None] | None = None
        self._asked: dict[int, asyncio.Future[_Incoming]] = {}
        self._told: asyncio.Queue[Notification | None] = asyncio.Queue(WAITING)
        self._ids = 0

    # -- Its life

    async def __aenter__(self) -> Self:
        await self.connect()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def connect(self) -> None:
        """Connect to the portal.

        Raises:
            PortalUnreachable: Nothing answers there as a portal does.
        """
        try:
            # What the environment says of proxies is for the way out, not for one's own cluster.
            socket = await connect(
                self.url, subprotocols=[SUBPROTOCOL], compression=None, max_size=MAX_MESSAGE, proxy=None
            )
        except (OSError, TimeoutError, InvalidHandshake, InvalidURI) as error:
            raise PortalUnreachable(self.url, str(error) or type(error).__name__) from error
        self._socket = socket
        self._reading = asyncio.create_task(self._read(socket), name=f"messages of {self.url}")

    async def close(self) -> None:
        """Close the connection; who is still logged in leaves by it."""
        if self._socket is not None:
            await self._socket.close()
        if self._reading is not None:
            await asyncio.gather(self._reading, return_exceptions=True)

    # -- Requests

    async def login(self) -> LoggedIn:
        """Log in with the token.

        Raises:
            RequestRefused: The portal or the room did not let it.
            NoAnswer: There was no answer in time.
            ConnectionEnded: The connection ended before the answer.
        """
        client = {"type": "roomledger", "version": __version__}
        return await self._ask("login", LoggedIn, {"token": self._token, "client": client})

    async def participants(self) -> tuple[ParticipantView, ...]:
        """Return who is in the room.

        Raises:
            RequestRefused: The room could not be asked.
            NoAnswer: There was no answer in time.
            ConnectionEnded: The connection ended before the answer.
        """
        return (await self._ask("participants", _Present)).participants

    async def logout(self) -> None:
        """Leave the room; the portal closes the connection then.

        Raises:
            RequestRefused: There was no login.
            NoAnswer: There was no answer in time.
            ConnectionEnded: The connection ended before the answer.
        """
        await self._ask("logout", dict)

    async def _ask(self, method: str, reply: type[Reply], params: dict[str, Any] | None = None) -> Reply:
        socket = self._connected()
        self._ids += 1
        number = self._ids
        answer = self._asked[number] = asyncio.get_running_loop().create_future()
        call = {"jsonrpc": "2.0", "id": number, "method": method, "params": params or {}}
        try:
            async with asyncio.timeout(TIME_LIMIT_S):
                await socket.send(_encode(call), text=True)
                found = await answer
        except TimeoutError:
            raise NoAnswer(method, TIME_LIMIT_S) from None
        except ConnectionClosed as error:
            raise self._ended() from error
        finally:
            self._asked.pop(number, None)
        if found.error is not None:
            data = found.error.data
            code = data.code or str(found.error.code)
            raise RequestRefused(method, code, found.error.message, data.retry_after_ms)
        return msgspec.json.decode(found.result, type=reply)

    # -- Notifications

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Notification:
        """Return what the portal told next.

        Raises:
            StopAsyncIteration: The client logged out, and there is nothing more.
            ConnectionEnded: The connection ended otherwise, and there is nothing more.
        """
        told = await self._told.get()
        if told is not None:
            return told
        self._told.put_nowait(None)  # for whoever asks again
        if self._connected().close_code == _LOGGED_OUT:
            raise StopAsyncIteration
        raise self._ended()

    async def _read(self, socket: ClientConnection) -> None:
        try:
            while True:
                self._take(_decode(await socket.recv()))
        except ConnectionClosed:
            pass  # the reason is told to those who wait, below
        except asyncio.QueueFull:
            await socket.close(1008, f"{WAITING} notifications were not taken")
        except msgspec.DecodeError as error:
            await socket.close(1002, f"no message of this protocol: {error}"[:100])
        finally:
            for answer in self._asked.values():
                if not answer.done():
                    answer.set_exception(self._ended())
            if self._told.full():
                self._told.get_nowait()
            self._told.put_nowait(None)

    def _take(self, message: _Incoming) -> None:
        if message.method is not None:
            self._told.put_nowait(Notification(message.method, message.params))
        elif message.id is not None and (answer := self._asked.get(message.id)) and not answer.done():
            answer.set_result(message)

    def _connected(self) -> ClientConnection:
        if self._socket is None:
            raise RuntimeError("the client is not connected: use it as a context manager, or call connect()")
        return self._socket

    def _ended(self) -> ConnectionEnded:
        socket = self._connected()
        return ConnectionEnded(socket.close_code or LOST, socket.close_reason or "")
