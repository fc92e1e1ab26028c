"""The gateway: frames and requests that are wrong, clients that are slow, and strangers on the port."""

import asyncio
import json
import socket
import ssl
from pathlib import Path

import pytest
import trustme
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from websockets.typing import Subprotocol

from roomledger.processes.portal import native_connection, seat
from roomledger_events.identifiers import new_id
from tests.support.house import SUBPROTOCOL, House, Opened, RawClient
from tests.support.nats import until


async def serves(house: House) -> bool:
    """Whether the portal lets somebody in."""
    client = await house.client()
    return "id" in await client.login(house.token(room=new_id()))


# -- Requests


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        ("", -32700),
        ("{", -32700),
        ("\ud83d\ude00".encode("utf-16", "surrogatepass").decode("utf-16"), -32700),
        ("null", -32600),
        ("[]", -32600),
        ('[{"jsonrpc":"2.0","id":1,"method":"participants"}]', -32600),
        ('{"jsonrpc":"1.0","id":1,"method":"participants"}', -32600),
        ('{"jsonrpc":"2.0","id":1,"method":"participants","extra":1}', -32600),
        ('{"jsonrpc":"2.0","id":{},"method":"participants"}', -32600),
        ('{"jsonrpc":"2.0","id":1,"method":"relog"}', -32601),
        ('{"jsonrpc":"2.0","id":1,"method":"participants","params":{"a":1}}', -32602),
        ('{"jsonrpc":"2.0","id":1,"method":"participants","params":null}', -32602),
        ('{"jsonrpc":"2.0","id":1,"method":"participants","params":[]}', -32602),
    ],
)
async def test_a_wrong_request_gets_its_error_and_the_connection_stays(
    house: House, frame: str, code: int
) -> None:
    client = await house.client()
    await client.send(frame)
    assert (await client.receive())["error"]["code"] == code
    assert "result" in await client.ask("login", {"token": house.token()})


@pytest.mark.parametrize("params", [None, [], {}, {"token": None}, {"token": "t", "password": "x"}])
async def test_a_login_that_is_none_is_answered_and_closed(house: House, params: object) -> None:
    client = await house.client()
    await client.send(json.dumps({"jsonrpc": "2.0", "id": 1, "method": "login", "params": params}))
    assert (await client.receive())["error"]["code"] == -32602
    assert await client.close_code() == (1008, "the login failed")


async def test_requests_before_a_login_are_refused_and_the_connection_stays(house: House) -> None:
    client = await house.client()
    for method in ("logout", "participants"):
        assert (await client.ask(method))["error"]["data"]["code"] == "not_logged_in"
    await client.login(house.token())


async def test_a_second_login_is_refused_and_the_connection_stays(house: House) -> None:
    client = await house.client()
    await client.login(house.token())
    answer = await client.ask("login", {"token": house.token()})
    assert answer["error"]["data"]["code"] == "already_logged_in"
    assert "result" in await client.ask("participants")


async def test_a_login_while_another_is_under_way_is_refused(house: House) -> None:
    decide = asyncio.Event()

    async def hold() -> None:
        await decide.wait()

    house.neighbours.before_join = hold
    client = await house.client()
    await client.send(f'{{"jsonrpc":"2.0","id":7,"method":"login","params":{{"token":"{house.token()}"}}}}')
    assert (await client.ask("login", {"token": "x"}))["error"]["data"]["code"] == "already_logged_in"
    decide.set()
    assert (await client.receive())["id"] == 7


async def test_a_call_without_an_id_is_carried_out_and_not_answered(house: House) -> None:
    client = await house.client()
    await client.send(f'{{"jsonrpc":"2.0","method":"login","params":{{"token":"{house.token()}"}}}}')
    await until(lambda: bool(house.neighbours.requests("cluster.pick_up_tasks")))
    await client.send('{"jsonrpc":"2.0","method":"unknown"}')
    await client.send('{"jsonrpc":"2.0","method":"logout"}')
    assert await client.close_code() == (1000, "logged out")


async def test_more_questions_than_the_portal_keeps_are_refused(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = await house.client()
    await client.login(house.token())
    monkeypatch.setattr(seat, "QUESTIONS", 0)
    assert (await client.ask("participants"))["error"]["data"] == {
        "code": "rate_limited",
        "retry_after_ms": 100,
    }


# -- Frames


async def test_a_frame_that_is_too_large_is_closed_with_1009(opened: Opened) -> None:
    house = await opened(max_message_bytes=2048)
    client = await house.client()
    await client.send("x" * 2049)
    assert (await client.close_code())[0] == 1009
    assert await serves(house)


async def test_ten_megabytes_in_one_frame_are_closed_with_1009(house: House) -> None:
    # Not closed at the end: asyncio fails at that when so much was waiting to be sent.
    client = RawClient(await connect(house.portal.url, subprotocols=[SUBPROTOCOL], proxy=None))
    sending = asyncio.create_task(client.send("x" * 10_000_000))
    assert (await client.close_code())[0] == 1009
    await asyncio.gather(sending, return_exceptions=True)
    assert await serves(house)


async def test_a_binary_frame_is_closed_with_1003(house: House) -> None:
    client = await house.client()
    await client.send(b'{"jsonrpc":"2.0","id":1,"method":"logout"}')
    assert await client.close_code() == (1003, "text frames only")


async def test_who_sends_a_binary_frame_when_in_is_out(house: House) -> None:
    client = await house.client()
    await client.login(house.token())
    await client.send(b"\x00")
    assert (await client.close_code())[0] == 1003
    await until(lambda: not house.neighbours.present())


async def test_text_that_is_no_text_is_closed_with_1007(house: House) -> None:
    client = await house.client()
    await client.socket.send(b"\xff\xfe", text=True)
    assert (await client.close_code())[0] == 1007
    assert await serves(house)


async def test_a_connection_that_never_logs_in_is_closed_with_1008(opened: Opened) -> None:
    house = await opened(login_timeout_ms=100)
    assert await (await house.client()).close_code() == (1008, "no login in time")


async def test_a_connection_that_has_logged_in_outlives_the_time_for_it(opened: Opened) -> None:
    house = await opened(login_timeout_ms=200)
    idle, client = await house.client(), await house.client()
    await client.login(house.token())
    assert (await idle.close_code())[0] == 1008
    assert "result" in await client.ask("participants")


async def test_who_reads_too_slowly_is_closed_and_the_others_notice_nothing(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(native_connection, "BUFFER", 64 * 1024)
    monkeypatch.setattr(native_connection, "CLOSE_LIMIT_S", 0.2)
    lame = socket.create_connection(("127.0.0.1", house.portal.port))
    lame.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    slow = await house.client(sock=lame)
    gone = (await slow.login(house.token("t1")))["id"]
    slow.socket.transport.pause_reading()
    keen = await house.client()
    await keen.login(house.token("t2"))
    joins = entered = 0
    while gone in house.neighbours.present():
        await house.neighbours.enter(*(new_id() for _ in range(200)))
        entered += 200
        while joins < entered:
            joins += (await keen.receive())["params"]["action"] == "join"
    (leave,) = house.neighbours.requests("controller.leave")
    assert (leave.participant, leave.reason) == (gone, "disconnected")
    slow.socket.transport.abort()


async def test_the_session_of_who_reads_too_slowly_waits(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(native_connection, "BUFFER", 64 * 1024)
    monkeypatch.setattr(native_connection, "CLOSE_LIMIT_S", 0.2)
    lame = socket.create_connection(("127.0.0.1", house.portal.port))
    lame.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    slow = await house.client(sock=lame)
    login = await slow.ask("login", {"token": house.token(), "reconnect": True})
    slow.socket.transport.pause_reading()
    while not house.neighbours.away:
        await house.neighbours.enter(*(new_id() for _ in range(200)))
    assert house.neighbours.away == {login["result"]["id"]}
    again = await house.client(max_size=None)
    back = await again.ask("relogin", {"ticket": login["result"]["ticket"], "after": login["result"]["seq"]})
    addresses = [tuple(map(int, each["params"]["seq"].split("."))) for each in back["result"]["missed"]]
    assert len(addresses) == len(house.neighbours.present()) - 1
    assert addresses == sorted(set(addresses))
    slow.socket.transport.abort()


# -- Too much of it


async def test_a_thousand_logins_on_one_connection_are_refused_and_the_portal_stays(house: House) -> None:
    client = await house.client()
    await client.login(house.token())
    for number in range(1000):
        call = {"jsonrpc": "2.0", "id": number, "method": "login", "params": {"token": "x"}}
        await client.send(json.dumps(call))
    codes = {(await client.receive())["error"]["data"]["code"] for _ in range(1000)}
    assert codes <= {"already_logged_in", "rate_limited"}
    assert len(house.neighbours.requests("controller.join")) == 1
    assert await serves(house)


async def test_more_messages_than_the_rate_are_refused_with_when_to_send_the_next(opened: Opened) -> None:
    house = await opened(client_rate=1)
    client = await house.client()
    answers = [await client.ask("participants") for _ in range(3)]
    assert [answer["error"]["data"]["code"] for answer in answers] == ["not_logged_in"] * 2 + ["rate_limited"]
    assert 1 <= answers[-1]["error"]["data"]["retry_after_ms"] <= 1001


async def test_who_does_not_stop_sending_too_much_is_sent_away(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(native_connection, "EXCESS", 10)
    house = await opened(client_rate=1)
    client = await house.client()
    for _ in range(20):
        await client.send("{}")
    assert await client.close_code() == (1008, "too many messages")


# -- Tickets


@pytest.mark.parametrize("params", [None, [], {}, {"ticket": None}, {"ticket": "t", "after": None, "x": 1}])
async def test_a_relogin_that_is_none_is_answered_and_closed(house: House, params: object) -> None:
    client = await house.client()
    await client.send(json.dumps({"jsonrpc": "2.0", "id": 1, "method": "relogin", "params": params}))
    assert (await client.receive())["error"]["code"] == -32602
    assert await client.close_code() == (1008, "the login failed")


@pytest.mark.parametrize("ticket", ["", "x", "e30=", "A" * 5000])
async def test_a_ticket_that_is_none_is_answered_and_closed(house: House, ticket: str) -> None:
    client = await house.client()
    answer = await client.ask("relogin", {"ticket": ticket})
    assert answer["error"]["data"]["code"] == "invalid_ticket"
    assert await client.close_code() == (1008, "the login failed")


@pytest.mark.parametrize(
    "params", [None, [], {}, {"to": "all"}, {"to": 1, "message": "x"}, {"to": "all", "message": None}]
)
async def test_a_text_that_is_none_is_refused_and_the_connection_stays(house: House, params: object) -> None:
    client = await house.client()
    await client.login(house.token())
    await client.send(json.dumps({"jsonrpc": "2.0", "id": 1, "method": "text", "params": params}))
    assert (await client.receive())["error"]["code"] == -32602
    assert "result" in await client.ask("participants")


# -- TLS and origins


async def test_clients_come_by_tls_where_there_is_a_certificate(opened: Opened, tmp_path: Path) -> None:
    authority = trustme.CA()
    files = authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem
    files.write_to_path(tmp_path / "portal.pem")
    house = await opened(portal_tls_cert=tmp_path / "portal.pem", portal_tls_key=tmp_path / "portal.pem")
    assert house.portal.url.startswith("wss://127.0.0.1:")
    (join,) = house.neighbours.requests("cluster.join")
    assert join.info.secure
    trust = ssl.create_default_context()
    authority.configure_trust(trust)
    client = await house.client(ssl=trust)
    await client.login(house.token())


async def test_pages_of_other_origins_are_kept_out_and_clients_that_are_no_pages_let_in(
    opened: Opened,
) -> None:
    house = await opened(portal_origins=("https://example.org",))
    await (await house.client(origin="https://example.org")).login(house.token())
    await (await house.client()).login(house.token())
    with pytest.raises(InvalidStatus) as caught:
        await house.client(origin="https://example.com")
    assert caught.value.response.status_code == 403


# -- Strangers


async def raw(house: House, data: bytes, *, then_eof: bool = False) -> bytes:
    """Send bytes to the port, and return what comes back until it is closed."""
    reader, writer = await asyncio.open_connection("127.0.0.1", house.portal.port)
    writer.write(data)
    if then_eof:
        writer.write_eof()
    answer = await asyncio.wait_for(reader.read(), 5)
    writer.close()
    await writer.wait_closed()
    return answer


@pytest.mark.parametrize(
    "data", [b"", b"\x00" * 4096, b"\x16\x03\x01\x02\x00\x01\x00", b"NONSENSE\r\n\r\n", b"A" * 100_000]
)
async def test_garbage_on_the_port_is_hung_up_on(house: House, data: bytes) -> None:
    try:
        answer = await raw(house, data, then_eof=True)
    except ConnectionError:
        answer = b""
    assert not answer.startswith(b"HTTP/1.1 2")
    assert await serves(house)


async def test_a_browser_is_told_what_this_is(house: House) -> None:
    answer = await raw(house, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 426")
    assert b"roomledger portal" in answer
    assert b"roomledger.v1" in answer


async def test_another_method_than_get_is_refused(house: House) -> None:
    answer = await raw(house, b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}")
    assert answer.startswith(b"HTTP/1.1 405")
    assert b"roomledger portal" in answer


@pytest.mark.parametrize("subprotocols", [None, [Subprotocol("chat")]])
async def test_a_client_without_the_subprotocol_is_refused(
    house: House, subprotocols: list[Subprotocol] | None
) -> None:
    with pytest.raises(InvalidStatus) as caught:
        async with connect(house.portal.url, subprotocols=subprotocols, proxy=None):
            pass
    assert caught.value.response.status_code == 400


async def test_a_portal_that_is_full_says_so(opened: Opened) -> None:
    house = await opened(portal_connections=1)
    await house.client()
    with pytest.raises(InvalidStatus) as caught:
        await house.client()
    assert caught.value.response.status_code == 503


async def test_a_half_closed_socket_is_let_go(house: House) -> None:
    client = await house.client()
    await client.login(house.token())
    client.socket.transport.write_eof()
    await until(lambda: house.portal.connections == 0)
    await until(lambda: not house.neighbours.present())


async def test_a_thousand_bad_logins_leave_the_portal_as_it_was(house: House) -> None:
    async def bad() -> int | None:
        async with connect(
            house.portal.url, subprotocols=[SUBPROTOCOL], proxy=None, compression=None
        ) as stranger:
            await stranger.send('{"jsonrpc":"2.0","id":1,"method":"login","params":{"token":"bad"}}')
            await stranger.wait_closed()
            return stranger.close_code

    for _ in range(20):
        assert await asyncio.gather(*(bad() for _ in range(50))) == [1008] * 50
    await until(lambda: house.portal.connections == 0)
    assert house.neighbours.requests("controller.join") == []
    assert await serves(house)
