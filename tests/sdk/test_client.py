"""The client of portals: against a real one, and against small ones that do what a test wants."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trustme
from websockets.asyncio.server import ServerConnection, serve

from roomledger.domain.errors import Code, Refusal
from roomledger.sdk import attendance as attendance_module
from roomledger.sdk import client as client_module
from roomledger.sdk.client import SUBPROTOCOL, Client, ConnectionLost, Notification, Told
from roomledger.sdk.errors import (
    ConnectionEnded,
    NoAnswer,
    PortalUnreachable,
    RequestRefused,
    ReturnFailed,
    ReturnRefused,
)
from tests.support.house import House, Opened
from tests.support.nats import until
from tests.support.small_portals import ME, SmallPortal, small_portals


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


async def test_closing_it_leaves_the_room(house: House) -> None:
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
            await client._ask("dance")
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
        cut(client)
        with pytest.raises(ConnectionEnded) as caught:
            await login
        assert caught.value.code == 1006


async def test_a_portal_that_is_not_there_is_unreachable(house: House) -> None:
    client = Client(house.token(), url="ws://127.0.0.1:1/")
    with pytest.raises(PortalUnreachable, match=r"127\.0\.0\.1:1"):
        await client.connect()


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1/", "nonsense", "ws://", "ws://h:99999999/", "WSS://127.0.0.1:1/", ""]
)
async def test_a_url_that_is_none_is_unreachable(house: House, url: str) -> None:
    client = Client(house.token(), url=url)
    if url:
        with pytest.raises(PortalUnreachable):
            await client.connect()
    else:
        assert client.url == house.portal.url


async def test_by_tls_it_trusts_whom_it_is_told_to(opened: Opened, tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(tmp_path / "portal.pem")
    house = await opened(portal_tls_cert=tmp_path / "portal.pem", portal_tls_key=tmp_path / "portal.pem")
    trust = ssl.create_default_context()
    authority.configure_trust(trust)
    async with Client(house.token("t1"), tls=trust) as client:
        assert client.url.startswith("wss://")
        assert (await client.login()).user == "user-t1"
    with pytest.raises(PortalUnreachable, match="certificate"):
        await Client(house.token()).connect()


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


async def test_notifications_that_nobody_takes_end_it(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "WAITING", 3)
    async with Client(house.token()) as client:
        await client.login()
        await house.neighbours.enter("p1", "p2", "p3", "p4")
        await until(lambda: not client._attendance.is_in)
        with pytest.raises(ConnectionEnded, match="were not taken"):
            async for _ in client:
                pass


# -- Lost and back


@pytest.fixture
async def portals() -> AsyncIterator[list[SmallPortal]]:
    async with small_portals(2) as started:
        yield started


def cut(client: Client) -> None:
    """Lose a client's connection."""
    assert client._line is not None
    assert client._line.socket is not None
    client._line.socket.transport.abort()


async def heard(client: Client, number: int) -> list[str]:
    """Return what a client is told next, in a word each."""
    return [word(await asyncio.wait_for(anext(client), 10)) for _ in range(number)]


def word(told: Told) -> str:
    return str(told.params["message"]) if isinstance(told, Notification) else type(told).__name__


LOST_AND_BACK = ["ConnectionLost", "ConnectionBack"]


async def test_after_a_lost_connection_nothing_is_missed_and_nothing_comes_twice(
    portals: list[SmallPortal],
) -> None:
    portal, _ = portals
    async with Client(portal.token()) as client:
        await client.login()
        await portal.say("one", "two")
        assert await heard(client, 2) == ["one", "two"]
        portal.cut()
        portal.room.happen("three", "four")
        assert await heard(client, 4) == [*LOST_AND_BACK, "three", "four"]
        await portal.say("five")
        assert await heard(client, 1) == ["five"]
    assert [params["after"] for params in portal.room.relogins] == ["3.0"]
    assert portal.room.logins[0]["reconnect"] is True


async def test_what_was_handed_out_before_the_loss_and_not_taken_yet_is_kept(
    portals: list[SmallPortal],
) -> None:
    portal, _ = portals
    async with Client(portal.token()) as client:
        await client.login()
        await portal.say("one", "two", "three")
        await until(lambda: client._attendance.after == (4, 0))
        portal.cut()
        portal.room.happen("four")
        assert await heard(client, 6) == ["one", "two", "three", *LOST_AND_BACK, "four"]


@pytest.mark.parametrize("how", ["as a list", "when asked"])
async def test_a_portal_that_is_killed_is_left_for_another_one(portals: list[SmallPortal], how: str) -> None:
    first, second = portals

    async def find() -> list[str]:
        return [second.url]

    async with Client(first.token(), urls=[second.url] if how == "as a list" else find) as client:
        await client.login()
        await first.kill()
        second.room.happen("one")
        assert await heard(client, 3) == [*LOST_AND_BACK, "one"]
        assert client.url == second.url
        await client.text("all", "here")
    assert second.room.texts == ["here"]


async def test_one_that_restarts_is_returned_to(portals: list[SmallPortal]) -> None:
    first, _ = portals
    async with Client(first.token()) as client:
        await client.login()
        await first.close(1012, "the portal stops")
        await first.kill()
        assert await anext(client) == ConnectionLost(1012, "the portal stops")
        await first.start()
        assert await heard(client, 1) == ["ConnectionBack"]


async def test_others_that_cannot_be_found_are_no_reason_to_give_up(portals: list[SmallPortal]) -> None:
    first, _ = portals

    async def find() -> list[str]:
        await first.start()
        raise OSError("nobody knows")

    async with Client(first.token(), urls=find) as client:
        await client.login()
        await first.kill()
        assert await heard(client, 2) == LOST_AND_BACK


async def test_the_first_connection_may_be_to_another_portal(portals: list[SmallPortal]) -> None:
    first, second = portals
    await first.kill()
    async with Client(first.token(), urls=[second.url]) as client:
        await client.login()
        assert client.url == second.url


async def test_a_portal_that_does_not_answer_a_relogin_is_left(
    portals: list[SmallPortal], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attendance_module, "ATTEMPT_S", 0.2)
    first, second = portals
    first.answers = False
    async with Client(first.token(), urls=[second.url]) as client:
        await client.login()
        first.cut()
        assert await heard(client, 2) == LOST_AND_BACK
        assert client.url == second.url


async def test_a_relogin_that_may_be_tried_again_is(portals: list[SmallPortal]) -> None:
    portal, _ = portals
    portal.room.refusals = [{"code": "log_unavailable", "retry_after_ms": 50}] * 2
    async with Client(portal.token()) as client:
        await client.login()
        portal.cut()
        assert await heard(client, 2) == LOST_AND_BACK
    assert len(portal.room.relogins) == 3


async def test_a_session_that_has_ended_ends_the_iteration(portals: list[SmallPortal]) -> None:
    portal, _ = portals
    portal.room.refusals = [{"code": "session_ended"}]
    async with Client(portal.token()) as client:
        await client.login()
        portal.cut()
        assert await heard(client, 1) == ["ConnectionLost"]
        for _ in range(2):
            with pytest.raises(ReturnRefused, match="session_ended"):
                await anext(client)
        with pytest.raises(ReturnRefused):
            await client.participants()


async def test_who_has_waited_long_enough_gives_up(portals: list[SmallPortal]) -> None:
    portal, _ = portals
    async with Client(portal.token(), patience_s=0.3) as client:
        await client.login()
        await portal.kill()
        assert await heard(client, 1) == ["ConnectionLost"]
        with pytest.raises(ReturnFailed, match="no portal took it back"):
            await anext(client)


async def test_when_another_connection_has_the_session_it_is_over(portals: list[SmallPortal]) -> None:
    portal, _ = portals
    async with Client(portal.token()) as client:
        await client.login()
        await portal.close(4002, "another connection has the session")
        with pytest.raises(ConnectionEnded, match="another connection") as caught:
            await anext(client)
        assert caught.value.code == 4002
    assert portal.connections == 1


async def test_without_a_ticket_it_does_not_come_back(portals: list[SmallPortal]) -> None:
    portal, _ = portals
    portal.room.gives_tickets = False
    async with Client(portal.token(), reconnect=False) as client:
        await client.login()
        portal.cut()
        with pytest.raises(ConnectionEnded) as caught:
            await anext(client)
        assert caught.value.code == 1006
    assert portal.room.logins[0]["reconnect"] is False


async def test_what_is_asked_while_it_is_away_is_answered_when_it_is_back(portals: list[SmallPortal]) -> None:
    portal, _ = portals
    async with Client(portal.token()) as client:
        await client.login()
        await portal.kill()
        assert await heard(client, 1) == ["ConnectionLost"]
        asked = asyncio.gather(client.text("all", "late"), client.participants())
        await portal.start()
        _, present = await asked
        assert [each.id for each in present] == [ME]
    assert portal.room.texts == ["late"]


async def test_a_ticket_is_renewed_before_it_ends(portals: list[SmallPortal]) -> None:
    portal, _ = portals
    portal.room.life_ms = 300
    async with Client(portal.token()) as client:
        await client.login()
        await until(lambda: portal.room.refreshed >= 3)
        portal.room.life_ms = 600_000
        await until(lambda: portal.room.refreshed >= 4)
        portal.cut()
        assert await heard(client, 2) == LOST_AND_BACK


async def test_the_end_of_the_context_logs_out(portals: list[SmallPortal]) -> None:
    portal, _ = portals
    async with Client(portal.token()) as client:
        await client.login()
    assert [told async for told in client] == []


async def test_closing_it_while_it_is_away_does_not_take_long(
    portals: list[SmallPortal], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "FAREWELL_S", 0.1)
    portal, _ = portals
    async with asyncio.timeout(5), Client(portal.token()) as client:
        await client.login()
        await portal.kill()
        assert await heard(client, 1) == ["ConnectionLost"]
    assert [told async for told in client] == []


async def test_closing_it_twice_does_no_harm(portals: list[SmallPortal]) -> None:
    client = Client(portals[0].token())
    await client.close()
    await client.close()
