"""Lines: what clients and strangers do to them, by polling and WebSocket."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect

from roomledger.processes.portal import socketio_engine
from roomledger.processes.portal.socketio_engine import Line, event
from roomledger.processes.portal.socketio_listener import SocketListener
from tests.support.nats import until

POLLING = "/socket.io/?EIO=4&transport=polling"
END = "\x1e"


class Echo:
    """A client that answers each request with itself."""

    def __init__(self, line: Line) -> None:
        self.line = line
        self.heard: list[tuple[str, list[Any], int | None]] = []
        self.ended = 0
        self.slows = 0
        self.pings = 0
        self.pongs = 0

    def asked(self, event: str, arguments: list[Any], ack: int | None) -> None:
        if event == "fail":
            raise ValueError("a fault of ours")
        self.heard.append((event, arguments, ack))
        if ack is not None:
            self.line.answer(ack, event, *arguments)
        if event == "bye":
            self.line.hang_up()
        if event == "away":
            self.line.hang_up(farewell=False)

    def lost(self) -> None:
        self.ended += 1

    def pinged(self) -> None:
        self.pings += 1

    def ponged(self) -> None:
        self.pongs += 1

    def slow(self) -> None:
        self.slows += 1
        self.line.hang_up()


class Place:
    """A listener, and who is at the ends of its lines."""

    def __init__(self, **options: Any) -> None:  # noqa: ANN401  - the listener's
        self.clients: list[Echo] = []
        self.listener = SocketListener(
            "127.0.0.1", 0, self._greet, **({"limit": 100, "max_message": 65_536} | options)
        )
        self.stack = AsyncExitStack()

    def _greet(self, line: Line) -> Echo:
        self.clients.append(Echo(line))
        return self.clients[-1]

    @property
    def http(self) -> str:
        return self.listener.url

    async def websocket(self, *, join: bool = True, **options: Any) -> ClientConnection:  # noqa: ANN401  - of websockets
        """Connect by WebSocket, and to the namespace."""
        url = self.http.replace("http", "ws") + "/socket.io/?EIO=4&transport=websocket"
        options = {"proxy": None, "compression": None} | options
        opened = await self.stack.enter_async_context(connect(url, **options))
        assert str(await opened.recv()).startswith("0{")
        if join:
            await opened.send("40")
            assert str(await opened.recv()).startswith("40{")
        return opened

    async def serves(self) -> bool:
        """Tell whether somebody new is served."""
        other = await self.websocket()
        await other.send('421["hello",1]')
        return await other.recv() == '431["hello",1]'


@asynccontextmanager
async def places(**options: Any) -> AsyncIterator[Place]:  # noqa: ANN401  - the listener's
    place = Place(**options)
    place.listener.bind()
    await place.listener.start()
    async with place.stack:
        yield place
    await place.listener.stop()


@pytest.fixture
async def place() -> AsyncIterator[Place]:
    async with places() as place_:
        yield place_


class Poller:
    """A client by long polling, by hand."""

    def __init__(self, http: httpx.AsyncClient, sid: str) -> None:
        self._http = http
        self.url = f"{POLLING}&sid={sid}"

    async def poll(self) -> str:
        return (await self._http.get(self.url)).text

    async def post(self, *packets: str) -> httpx.Response:
        return await self._http.post(self.url, content=END.join(packets))


@asynccontextmanager
async def polling(place: Place) -> AsyncIterator[Poller]:
    async with httpx.AsyncClient(base_url=place.http, trust_env=False) as http:
        opened = await http.get(POLLING)
        poller = Poller(http, json.loads(opened.text[1:])["sid"])
        await poller.post("40")
        assert (await poller.poll()).startswith("40")
        yield poller


async def ended(opened: ClientConnection) -> int | None:
    """Return the code that a WebSocket is closed with."""
    async with asyncio.timeout(5):
        await opened.wait_closed()
    return opened.close_code


# -- What the lines are for


async def test_a_request_and_its_answer_by_websocket(place: Place) -> None:
    opened = await place.websocket()
    await opened.send('4217["hello",{"a":[1,null]},"x"]')
    assert await opened.recv() == '4317["hello",{"a":[1,null]},"x"]'


async def test_a_request_and_its_answer_by_polling(place: Place) -> None:
    async with polling(place) as poller:
        await poller.post('420["hello"]')
        assert await poller.poll() == '430["hello"]'


async def test_a_request_without_a_number_gets_no_answer(place: Place) -> None:
    opened = await place.websocket()
    await opened.send('42["hello"]')
    await opened.send('420["next"]')
    assert await opened.recv() == '430["next"]'
    assert place.clients[0].heard[0] == ("hello", [], None)


async def test_a_hundred_requests_in_one_body_are_all_taken(place: Place) -> None:
    async with polling(place) as poller:
        await poller.post(*(f'42{number}["hello"]' for number in range(100)))
        answers = (await poller.poll()).split(END)
        assert answers == [f'43{number}["hello"]' for number in range(100)]


async def test_one_packet_is_pushed_to_many_lines_and_written_once(place: Place) -> None:
    opened = [await place.websocket() for _ in range(3)]
    packet = event("text", {"message": "hello"})
    for client in place.clients:
        client.line.push(packet)
    assert [await each.recv() for each in opened] == ['42["text",{"message":"hello"}]'] * 3
    assert packet.encode() is packet.encode()


async def test_nothing_is_null_on_the_wire(place: Place) -> None:
    opened = await place.websocket()
    place.clients[0].line.push(event("drop", None))
    assert await opened.recv() == '42["drop",null]'


async def test_polling_is_upgraded_to_websocket(place: Place) -> None:
    async with polling(place) as poller:
        url = place.http.replace("http", "ws") + poller.url.replace("polling", "websocket")
        async with connect(url, proxy=None) as opened:
            await opened.send("2probe")
            assert await opened.recv() == "3probe"
            await opened.send("5")
            await opened.send('420["hello"]')
            messages = [await opened.recv()]
            if messages == ["6"]:
                messages = [await opened.recv()]
            assert messages == ['430["hello"]']
        await until(lambda: place.clients[0].ended == 1)


async def test_an_upgrade_that_is_given_up_leaves_polling_as_it_was(place: Place) -> None:
    async with polling(place) as poller:
        url = place.http.replace("http", "ws") + poller.url.replace("polling", "websocket")
        async with connect(url, proxy=None) as opened:
            await opened.send("2probe")
            await opened.recv()
        await poller.poll()  # ends with the probe
        await poller.post('420["hello"]')
        assert await poller.poll() == '430["hello"]'


async def test_a_client_is_pinged_and_its_answer_is_told(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(place.listener._server.eio, "ping_interval", 0.05)
    opened = await place.websocket()
    client = place.clients[0]
    assert await opened.recv() == "2"
    assert (client.pings, client.pongs) == (1, 0)
    await opened.send("3")
    await until(lambda: client.pongs == 1)
    assert await opened.recv() == "2"


async def test_a_client_that_answers_no_ping_is_given_up(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(place.listener._server.eio, "ping_interval", 0.05)
    monkeypatch.setattr(place.listener._server.eio, "ping_timeout", 0.1)
    opened = await place.websocket()
    await until(lambda: place.clients[0].ended == 1)
    await ended(opened)


async def test_a_fault_of_ours_does_not_end_the_line(place: Place) -> None:
    opened = await place.websocket()
    await opened.send('42["fail"]')
    await opened.send('420["hello"]')
    assert await opened.recv() == '430["hello"]'


# -- Hanging up


async def test_an_answer_comes_before_the_farewell(place: Place) -> None:
    opened = await place.websocket()
    await opened.send('420["bye"]')
    assert [await opened.recv(), await opened.recv()] == ['430["bye"]', "41"]
    await ended(opened)
    assert place.clients[0].ended == 1


async def test_an_answer_waits_for_a_client_that_polls_a_little_later(place: Place) -> None:
    async with polling(place) as poller:
        await poller.post('420["bye"]')
        assert (await poller.poll()).split(END)[:2] == ['430["bye"]', "41"]
        await until(lambda: place.listener.connections == 0)


async def test_a_client_that_does_not_poll_any_more_is_let_go(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socketio_engine, "CLOSE_LIMIT_S", 0.1)
    async with polling(place) as poller:
        await poller.post('420["bye"]')
        await until(lambda: place.listener.connections == 0)
        assert place.clients[0].ended == 1


async def test_without_a_farewell_the_connection_just_ends(place: Place) -> None:
    opened = await place.websocket()
    await opened.send('42["away"]')
    assert await opened.recv() == "1"
    await ended(opened)


async def test_what_is_asked_while_hanging_up_is_not_heard(place: Place) -> None:
    async with polling(place) as poller:
        await poller.post('42["bye"]', '42["more"]')
        await poller.poll()
        assert [each[0] for each in place.clients[0].heard] == ["bye"]


async def test_a_poll_that_is_under_way_ends_when_the_client_closes(place: Place) -> None:
    async with polling(place) as poller, polling(place) as other:
        for each, farewell in ((poller, "1"), (other, "41")):
            poll = asyncio.create_task(each.poll())
            await asyncio.sleep(0)
            await each.post(farewell)
            async with asyncio.timeout(3):
                await poll
        await until(lambda: place.listener.connections == 0)


async def test_who_leaves_the_namespace_is_let_go(place: Place) -> None:
    opened = await place.websocket()
    await opened.send("41")
    await ended(opened)
    assert place.clients[0].ended == 1
    await until(lambda: place.listener.connections == 0)


async def test_who_reads_too_slowly_is_cut_off_and_the_others_notice_nothing(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socketio_engine, "BUFFER", 256 * 1024)
    monkeypatch.setattr(socketio_engine, "CLOSE_LIMIT_S", 0.2)
    lame = socket.create_connection(("127.0.0.1", place.listener.port))
    lame.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    slow = await place.websocket(sock=lame)
    keen = await place.websocket()
    slow.transport.pause_reading()
    packet = event("text", "x" * 10_000)
    while not place.clients[0].slows:
        for client in place.clients:
            client.line.push(packet)
        assert await keen.recv() == packet.encode()
    await until(lambda: place.listener.connections == 1)
    assert place.clients[0].ended == 1
    assert await place.serves()
    slow.transport.abort()


async def test_who_polls_too_slowly_is_cut_off(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socketio_engine, "BUFFER", 64 * 1024)
    monkeypatch.setattr(socketio_engine, "CLOSE_LIMIT_S", 0.1)
    async with polling(place):
        for _ in range(10):
            place.clients[0].line.push(event("text", "x" * 10_000))
        await until(lambda: place.listener.connections == 0)
        assert place.clients[0].ended == 1


async def test_a_stop_ends_all_lines(place: Place) -> None:
    opened = await place.websocket()
    async with polling(place) as poller:
        poll = asyncio.create_task(poller.poll())
        await until(lambda: len(place.clients) == 2)
        await place.listener.stop()
        await ended(opened)
        assert [client.ended for client in place.clients] == [1, 1]
        await asyncio.gather(poll, return_exceptions=True)


# -- Strangers, and bad input


@pytest.mark.parametrize(
    "frame",
    [
        "",
        "x",
        "9",
        "4",
        "4x",
        "49",
        "42",
        "42[]",
        "42{}",
        '42{"login":1}',
        "42[1]",
        "42[null]",
        '42["login"',
        "42" + "[" * 20_000,
        "4" + "2" + "1" * 200 + '["x"]',
        '451-["login",{"_placeholder":true,"num":0}]',
        '45999999999-["x"]',
        "461-0[]",
        "44",
        b"\x00\x01",
        b"",
    ],
)
async def test_who_sends_what_is_no_socket_io_is_hung_up_on_and_nobody_else(
    place: Place, frame: str | bytes
) -> None:
    other = await place.websocket()
    opened = await place.websocket()
    await opened.send(frame)
    await ended(opened)
    await until(lambda: place.clients[1].ended == 1)
    await other.send('420["hello"]')
    assert await other.recv() == '430["hello"]'
    assert place.clients[1].heard == []


@pytest.mark.parametrize("body", [b"", b"\xff\xfe", b"x", b"42[", b"\x1e" * 2000, b"b" + b"!" * 100, b"d=1"])
async def test_a_body_that_is_no_socket_io_ends_nobodys_work(place: Place, body: bytes) -> None:
    async with polling(place) as poller, httpx.AsyncClient(base_url=place.http, trust_env=False) as http:
        await http.post(poller.url, content=body)
        assert await place.serves()


async def test_ten_megabytes_in_one_frame_are_closed_with_1009(place: Place) -> None:
    opened = await place.websocket()
    sending = asyncio.create_task(opened.send("x" * 10_000_000))
    assert await ended(opened) == 1009
    await asyncio.gather(sending, return_exceptions=True)
    assert await place.serves()


async def test_a_body_that_is_too_large_ends_the_line(place: Place) -> None:
    async with polling(place) as poller:
        answer = await poller.post("x" * 70_000)
        assert answer.status_code == 400
        await until(lambda: place.clients[0].ended == 1)
    assert await place.serves()


async def test_an_event_before_the_namespace_is_not_heard(place: Place) -> None:
    opened = await place.websocket(join=False)
    await opened.send('420["hello"]')
    await opened.send("40")
    assert str(await opened.recv()).startswith("40{")
    assert place.clients[0].heard == []


async def test_another_namespace_is_refused(place: Place) -> None:
    opened = await place.websocket(join=False)
    await opened.send("40/admin,")
    assert str(await opened.recv()).startswith("44/admin,")
    await opened.send('42/admin,0["hello"]')
    await opened.send("40")
    await opened.recv()
    assert place.clients[0].heard == []


async def test_acknowledgements_that_nobody_asked_for_are_ignored(place: Place) -> None:
    opened = await place.websocket()
    await opened.send("431[]")
    await opened.send('420["hello"]')
    assert await opened.recv() == '430["hello"]'


@pytest.mark.parametrize(
    "data", [b"", b"\x00" * 4096, b"\x16\x03\x01\x02\x00\x01\x00", b"NONSENSE\r\n\r\n", b"A" * 100_000]
)
async def test_garbage_on_the_port_is_hung_up_on(place: Place, data: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", place.listener.port)
    writer.write(data)
    writer.write_eof()
    try:
        answer = await asyncio.wait_for(reader.read(), 5)
    except ConnectionError:
        answer = b""
    writer.close()
    assert not answer.startswith(b"HTTP/1.1 2")
    assert await place.serves()


async def test_a_half_closed_socket_is_let_go(place: Place) -> None:
    opened = await place.websocket()
    opened.transport.write_eof()
    await until(lambda: place.clients[0].ended == 1)


async def test_a_lost_connection_is_told_once(place: Place) -> None:
    opened = await place.websocket()
    opened.transport.abort()
    await until(lambda: place.listener.connections == 0)
    assert place.clients[0].ended == 1


@pytest.mark.parametrize("query", ["EIO=3&transport=polling", "EIO=4&transport=flash", "transport=polling"])
async def test_another_protocol_is_refused(place: Place, query: str) -> None:
    async with httpx.AsyncClient(base_url=place.http, trust_env=False) as http:
        assert (await http.get(f"/socket.io/?{query}")).status_code == 400


async def test_an_unknown_line_is_refused(place: Place) -> None:
    async with httpx.AsyncClient(base_url=place.http, trust_env=False) as http:
        assert (await http.get(f"{POLLING}&sid=nobody")).status_code == 400
        assert (await http.post(f"{POLLING}&sid=nobody", content="42[]")).status_code == 400


async def test_a_browser_is_told_what_this_is(place: Place) -> None:
    async with httpx.AsyncClient(base_url=place.http, trust_env=False) as http:
        answer = await http.get("/")
    assert answer.status_code == 404
    assert "roomledger portal" in answer.text


async def test_a_websocket_elsewhere_is_refused(place: Place) -> None:
    with pytest.raises(Exception, match="403"):
        async with connect(place.http.replace("http", "ws") + "/elsewhere", proxy=None):
            pass


async def test_who_comes_when_it_is_full_is_told_to_come_back() -> None:
    async with places(limit=1) as place:
        await place.websocket()
        async with httpx.AsyncClient(base_url=place.http, trust_env=False) as http:
            answer = await http.get(POLLING)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "10")


@pytest.mark.parametrize(
    ("origins", "origin", "status"),
    [
        ([], "https://any.example", 200),
        (["https://ours.example"], "https://ours.example", 200),
        (["https://ours.example"], "https://theirs.example", 400),
    ],
)
async def test_only_pages_from_allowed_origins_connect(origins: list[str], origin: str, status: int) -> None:
    async with (
        places(origins=origins) as place,
        httpx.AsyncClient(base_url=place.http, trust_env=False) as http,
    ):
        answer = await http.get(POLLING, headers={"Origin": origin})
        assert answer.status_code == status
        if status == 200:
            assert answer.headers["access-control-allow-origin"] == origin
