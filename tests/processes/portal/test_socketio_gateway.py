"""The gateway for existing clients as a part of its portal: its place, its timers, its end, and others."""

import asyncio
import socket
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import trustme
from websockets.asyncio.client import connect as connect_websocket

from roomledger.domain.errors import Code, Refusal
from roomledger.processes.portal import socketio_client
from roomledger.processes.portal.errors import CannotListen
from roomledger.processes.portal.portal import Portal
from roomledger.settings import Settings
from tests.support.cluster import TestCluster
from tests.support.existing_clients import (
    POLLING,
    VERSIONS,
    WEBSOCKET,
    ExistingClient,
    Heard,
    campus,
    connect,
    said_by_ticket,
    wish,
)
from tests.support.house import House, Opened
from tests.support.nats import until

every_transport = pytest.mark.parametrize("transports", [POLLING, WEBSOCKET], ids="+".join)


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack_:
        yield stack_


# -- Where it is


async def test_tokens_point_to_it_while_their_url_is_the_native_one(house: House) -> None:
    (join,) = house.neighbours.requests("cluster.join")
    assert house.portal.socketio_url == f"http://127.0.0.1:{join.info.port}"
    assert join.info.properties["url"] == house.portal.url
    assert join.info.port != house.portal.port


async def test_without_it_tokens_point_to_the_native_listener(opened: Opened) -> None:
    house = await opened(socketio=False)
    (join,) = house.neighbours.requests("cluster.join")
    assert house.portal.socketio_url is None
    assert join.info.port == house.portal.port


async def test_a_port_in_use_is_named_with_its_setting(house: House) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        portal = Portal(Settings(portal_port=0, socketio_port=port), house.broker, house.store)
        with pytest.raises(CannotListen, match=rf"port {port} .* ROOMLEDGER_SOCKETIO_PORT"):
            await portal.start()


async def test_both_listeners_count_for_the_load(opened: Opened, stack: AsyncExitStack) -> None:
    house = await opened(portal_connections=4)
    await house.client()
    await connect(stack, house.portal)
    await until(lambda: house.neighbours.requests("cluster.report_load")[-1].load == 0.5)


async def test_existing_and_native_clients_meet_in_one_room(house: House, stack: AsyncExitStack) -> None:
    native = await house.client()
    await native.login(house.token("t1"))
    client = await connect(stack, house.portal)
    await client.login(house.token("t2"))
    assert (await native.receive())["params"]["participant"]["id"] == client.id
    await client.ask("text", {"to": "all", "message": "hello"})
    assert (await native.receive())["params"]["message"] == "hello"


# -- Timers


@every_transport
async def test_who_never_logs_in_is_sent_away(
    opened: Opened, stack: AsyncExitStack, transports: tuple[str, ...]
) -> None:
    house = await opened(login_timeout_ms=1000)
    client = await connect(stack, house.portal, transports=transports)
    assert await client.disconnected()


async def test_who_does_not_even_connect_to_the_namespace_is_sent_away(opened: Opened) -> None:
    house = await opened(login_timeout_ms=1000)
    url = str(house.portal.socketio_url).replace("http", "ws") + "/socket.io/?EIO=4&transport=websocket"
    async with connect_websocket(url, proxy=None) as idle, asyncio.timeout(5):
        await idle.wait_closed()
    assert house.portal.connections == 0


async def test_who_does_not_log_in_again_after_a_logout_is_sent_away(
    opened: Opened, stack: AsyncExitStack
) -> None:
    house = await opened(login_timeout_ms=1000)
    client = await connect(stack, house.portal)
    idle = await connect(stack, house.portal)
    await client.login(house.token())
    assert await idle.disconnected()  # as long as that is
    assert client.connected
    await client.ask("logout")
    assert await client.disconnected()


async def test_who_is_not_back_within_the_grace_leaves_and_the_ticket_is_void(cluster: TestCluster) -> None:
    async with campus(cluster, reconnection_timeout_ms=200) as place:
        room = await place.room()
        witness = await place.guest(room, "1.0")
        for version in VERSIONS:
            client = await place.guest(room, version)
            await witness.hear()
            await client.close()
            left = Heard("participant", ({"action": "leave", "data": client.id},))
            assert await witness.hear() == left
            again = await place.client(version)
            assert await again.ask("relogin", client.ticket) == ["error", "Client does NOT exist"]


async def test_a_ticket_lives_as_long_as_is_set(cluster: TestCluster) -> None:
    async with campus(cluster, ticket_life_ms=1000) as place:
        client = await place.guest(await place.room())
        await until(lambda: time.time() * 1000 > said_by_ticket(client.ticket)["notAfter"])
        again = await place.client()
        assert await again.ask("relogin", client.ticket) == ["error", "Ticket is expired"]


# -- What stays behind of a login that is not waited for


async def lose(client: ExistingClient, house: House) -> None:
    await client.cut()
    await until(lambda: house.portal.connections == 0)


@pytest.mark.parametrize(
    ("version", "kind"), [("1.0", "JavaScript"), ("1.1", "Swift"), ("1.2", "JavaScript"), ("legacy", "Swift")]
)
@pytest.mark.parametrize("moment", ["before_join", "after_join"])
async def test_a_socket_that_is_lost_during_a_login_leaves_nobody_behind(
    house: House, stack: AsyncExitStack, version: str, kind: str, moment: str
) -> None:
    there, go_on = asyncio.Event(), asyncio.Event()

    async def hold() -> None:
        there.set()
        await go_on.wait()

    setattr(house.neighbours, moment, hold)
    client = await connect(stack, house.portal, version)
    await client.send("login", wish(house.token("t1"), version, kind))
    await there.wait()
    await lose(client, house)
    go_on.set()
    await until(lambda: bool(house.neighbours.requests("cluster.lay_down_task")))
    assert house.neighbours.present() == set()


async def test_a_socket_that_is_lost_before_the_login_is_looked_at_leaves_nobody_behind(
    house: House, stack: AsyncExitStack
) -> None:
    client = await connect(stack, house.portal)
    await lose(client, house)
    assert house.neighbours.present() == set()
    assert house.neighbours.requests("controller.join") == []


@every_transport
async def test_a_used_token_gets_an_answer_also_when_both_logins_come_at_once(
    house: House, stack: AsyncExitStack, transports: tuple[str, ...]
) -> None:
    token = house.token("t1")
    clients = [await connect(stack, house.portal, "1.1", transports) for _ in range(2)]
    answers = await asyncio.gather(*(client.ask("login", wish(token, "1.1")) for client in clients))
    assert sorted(answer[0] for answer in answers) == ["error", "ok"]


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (Code.INVALID_ROLE, "Invalid role"),
        (Code.ROOM_FULL, "Room is full"),
        (Code.TOKEN_EXPIRED, "Expired"),
        (Code.LOG_UNAVAILABLE, "in the room's words"),
    ],
)
async def test_what_the_room_refuses_is_told_to_all_versions(
    house: House, stack: AsyncExitStack, code: Code, text: str
) -> None:
    async def refuse() -> None:
        raise Refusal(code, "in the room's words")

    house.neighbours.before_join = refuse
    for version in VERSIONS:
        client = await connect(stack, house.portal, version)
        assert await client.ask("login", wish(house.token(), version)) == ["error", text]
        assert await client.disconnected()


# -- Too much


async def test_who_asks_far_more_than_is_allowed_is_sent_away_and_the_session_waits(
    opened: Opened, stack: AsyncExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socketio_client, "EXCESS", 10)
    house = await opened(client_rate=5)
    client = await connect(stack, house.portal)
    await client.login(house.token())
    for _ in range(30):
        await client.send("text", None)
    assert await client.disconnected()
    await until(lambda: len(house.neighbours.requests("controller.lose_connection")) == 1)


# -- The portal's end


async def test_a_portal_that_is_emptied_ends_the_connections_and_the_sessions_wait(
    house: House, stack: AsyncExitStack
) -> None:
    client = await connect(stack, house.portal)
    await client.login(house.token())
    assert house.portal._socketio is not None
    house.portal._socketio.empty("a test")
    assert await client.disconnected()
    await until(lambda: len(house.neighbours.requests("controller.lose_connection")) == 1)


async def test_a_stop_ends_the_connections_and_the_sessions_wait(house: House, stack: AsyncExitStack) -> None:
    clients = [await connect(stack, house.portal, version) for version in VERSIONS]
    for client in clients:
        await client.login(house.token())
    await house.portal.stop()
    for client in clients:
        assert await client.disconnected()
    assert len(house.neighbours.requests("controller.lose_connection")) == len(clients)
    assert house.neighbours.requests("controller.leave") == []


# -- TLS


async def test_with_a_certificate_it_speaks_tls_as_the_native_listener_does(
    opened: Opened, tmp_path: Path
) -> None:
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    issued.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "portal.pem"))
    house = await opened(portal_tls_cert=tmp_path / "portal.pem", portal_tls_key=tmp_path / "portal.pem")
    (join,) = house.neighbours.requests("cluster.join")
    assert join.info.secure
    assert house.portal.url.startswith("wss://")
    assert str(house.portal.socketio_url).startswith("https://")
    context = ssl.create_default_context()
    authority.configure_trust(context)
    url = str(house.portal.socketio_url).replace("https", "wss")
    async with connect_websocket(
        f"{url}/socket.io/?EIO=4&transport=websocket", ssl=context, proxy=None
    ) as opened_:
        assert str(await opened_.recv()).startswith("0{")
