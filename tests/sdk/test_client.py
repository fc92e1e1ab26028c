"""The client of portals, against a real one."""

import asyncio

import pytest
from websockets.asyncio.server import ServerConnection, serve

from roomledger.domain.errors import Code, Refusal
from roomledger.sdk import client as client_module
from roomledger.sdk.client import SUBPROTOCOL, Client, Notification
from roomledger.sdk.errors import ConnectionEnded, NoAnswer, PortalUnreachable, RequestRefused
from tests.support.house import House
from tests.support.nats import until


async def test_it_logs_in_with_a_token_alone_which_says_where(house: House) -> None:
    async with Client(house.token("t1")) as client:
        login = await client.login()
        assert (login.user, login.room.id) == ("user-t1", "r1")
        assert house.neighbours.present() == {login.id}


async def test_it_tells_who_is_in(house: House) -> None:
    async with Client(house.token()) as client:
        login = await client.login()
        assert await client.participants() == login.room.participants


async def test_it_iterates_over_what_it_is_told_until_the_logout(house: House) -> None:
    async with Client(house.token()) as client:
        await client.login()
        await house.neighbours.enter("p8")
        await house.neighbours.enter("p9")
        told = [await anext(client), await anext(client)]
        await client.logout()
        assert [notification.params["participant"]["id"] for notification in told] == ["p8", "p9"]
        assert [notification async for notification in client] == []
    await until(lambda: house.neighbours.present() == {"p8", "p9"})


async def test_closing_it_without_a_logout_leaves_the_room(house: House) -> None:
    async with Client(house.token()) as client:
        await client.login()
    await until(lambda: not house.neighbours.present())


async def test_what_the_room_refuses_is_an_error_with_its_code(house: House) -> None:
    house.neighbours.limit = 0
    async with Client(house.token()) as client:
        with pytest.raises(RequestRefused, match="the room is full") as caught:
            await client.login()
    assert (caught.value.method, caught.value.code, caught.value.retry_after_ms) == (
        "login",
        "room_full",
        None,
    )


async def test_a_refusal_that_may_go_away_says_when_to_try_again(house: House) -> None:
    async def unavailable() -> None:
        raise Refusal(Code.LOG_UNAVAILABLE, "not now")

    house.neighbours.before_join = unavailable
    async with Client(house.token()) as client:
        with pytest.raises(RequestRefused, match="try again") as caught:
            await client.login()
    assert caught.value.retry_after_ms == 500


async def test_a_request_that_the_protocol_refuses_has_its_number(house: House) -> None:
    async with Client(house.token()) as client:
        with pytest.raises(RequestRefused) as caught:
            await client._ask("dance", dict)
    assert caught.value.code == "-32601"


def test_a_token_that_is_none_is_refused_before_anybody_is_asked() -> None:
    with pytest.raises(Refusal, match="not base64"):
        Client("no token")


async def test_who_is_dropped_is_told_so_and_then_how_the_connection_ended(house: House) -> None:
    async with Client(house.token()) as client:
        login = await client.login()
        await house.neighbours.drop(login.id, "be gone")
        assert await anext(client) == Notification("drop", {"reason": "be gone"})
        for _ in range(2):
            with pytest.raises(ConnectionEnded, match="be gone") as caught:
                await anext(client)
            assert caught.value.code == 4001
        with pytest.raises(ConnectionEnded):
            await client.participants()


async def test_a_connection_that_is_lost_ends_what_was_asked(house: House) -> None:
    asked = asyncio.Event()

    async def hold() -> None:
        asked.set()
        await asyncio.Event().wait()

    house.neighbours.before_join = hold
    async with Client(house.token()) as client:
        login = asyncio.create_task(client.login())
        await asked.wait()
        assert client._socket is not None
        client._socket.transport.abort()
        with pytest.raises(ConnectionEnded) as caught:
            await login
        assert caught.value.code == 1006


async def test_a_portal_that_is_not_there_is_unreachable(house: House) -> None:
    client = Client(house.token(), url="ws://127.0.0.1:1/")
    with pytest.raises(PortalUnreachable, match=r"127\.0\.0\.1:1"):
        await client.connect()


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/", "nonsense", "ws://", ""])
async def test_a_url_that_is_none_is_unreachable(house: House, url: str) -> None:
    client = Client(house.token(), url=url)
    if url:
        with pytest.raises(PortalUnreachable):
            await client.connect()
    else:
        assert client.url == house.portal.url


async def strange(house: House, frame: str) -> Client:
    """Return a client of something that sends this frame, whatever it is asked."""

    async def serve_strangely(socket: ServerConnection) -> None:
        await socket.send(frame)
        await socket.wait_closed()

    server = await serve(serve_strangely, "127.0.0.1", 0, subprotocols=[SUBPROTOCOL])
    house.on_close(server.close)
    port = server.sockets[0].getsockname()[1]
    return Client(house.token(), url=f"ws://127.0.0.1:{port}/")


async def test_a_server_that_speaks_something_else_is_hung_up_on(house: House) -> None:
    async with await strange(house, "hello") as client:
        with pytest.raises(ConnectionEnded, match="no message of this protocol"):
            await client.login()


async def test_an_answer_that_does_not_come_is_given_up(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "TIME_LIMIT_S", 0.1)
    async with await strange(house, '{"jsonrpc":"2.0","method":"hello"}') as client:
        with pytest.raises(NoAnswer, match="login"):
            await client.login()


async def test_notifications_that_nobody_takes_end_the_connection(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "WAITING", 3)
    async with Client(house.token()) as client:
        await client.login()
        await house.neighbours.enter("p1", "p2", "p3", "p4")
        await until(
            lambda: not client._told.empty() and client._reading is not None and client._reading.done()
        )
        with pytest.raises(ConnectionEnded, match="were not taken"):
            async for _ in client:
                pass
