import asyncio
import socket
import time
from collections.abc import Iterator

import pytest
from structlog.testing import capture_logs

from roomledger.event_store.connection import connect
from roomledger.event_store.errors import NotConnected
from tests.support.nats import NatsServer, until
from tests.support.proxy import Proxy


@pytest.fixture
def silent() -> Iterator[str]:
    """Listen, and never say anything."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield f"nats://127.0.0.1:{listening.getsockname()[1]}"


@pytest.fixture
def nobody() -> Iterator[str]:
    """Hold a port on which nobody listens."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"nats://127.0.0.1:{bound.getsockname()[1]}"


async def test_where_nobody_listens_the_first_connect_ends_in_time(nobody: str) -> None:
    began = time.monotonic()
    with pytest.raises(NotConnected, match="Connect call failed"):
        await connect(nobody, timeout_s=0.5)
    assert time.monotonic() - began < 2


async def test_where_nobody_answers_the_first_connect_ends_in_time(silent: str) -> None:
    began = time.monotonic()
    with pytest.raises(NotConnected):
        await connect(silent, timeout_s=0.5)
    assert time.monotonic() - began < 2


async def test_a_server_that_comes_within_the_time_is_waited_for(nats_server: NatsServer) -> None:
    await nats_server.stop()
    connecting = asyncio.create_task(
        connect(nats_server.url, "service", nats_server.credentials["service"], timeout_s=10)
    )
    await nats_server.start()
    await (await connecting).close()


async def test_a_wrong_password_is_told_at_once(nats_server: NatsServer) -> None:
    began = time.monotonic()
    with pytest.raises(NotConnected, match="the user or the password is wrong"):
        await connect(nats_server.url, "service", "wrong", timeout_s=5)
    assert time.monotonic() - began < 2


async def test_an_url_that_is_none_is_told(nobody: str) -> None:
    with pytest.raises(NotConnected):
        await connect(nobody.replace("nats://", "gopher://"), timeout_s=0.5)


async def test_credentials_in_the_url_are_not_told(nobody: str) -> None:
    url = nobody.replace("//", "//service:secret@")
    with pytest.raises(NotConnected) as caught:
        await connect(f"{url},{url}", timeout_s=0.3)
    assert "secret" not in str(caught.value) + repr(caught.value)


async def test_a_connection_comes_back_by_itself(nats_server: NatsServer) -> None:
    connection = await connect(nats_server.url, "service", nats_server.credentials["service"])
    await nats_server.kill()
    await until(lambda: not connection.up.is_set())
    await nats_server.start()
    await until(connection.up.is_set)
    await connection.flush()
    await connection.close()


async def test_after_a_flush_the_server_knows_of_what_was_subscribed_to(nats_server: NatsServer) -> None:
    here, there = [
        await connect(nats_server.url, "service", nats_server.credentials["service"]) for _ in range(2)
    ]
    for number in range(50):
        subscription = await here.subscribe(f"rpc.{number}")
        await here.flush()
        await there.publish(f"rpc.{number}")
        await there.flush()
        await here.flush()
        assert subscription.pending_msgs == 1
    await here.close()
    await there.close()


async def test_whoever_listens_is_told_that_the_connection_is_lost(nats_server: NatsServer) -> None:
    connection = await connect(nats_server.url, "service", nats_server.credentials["service"])
    told: list[str] = []
    connection.on_lost.add(lambda: told.append("lost"))
    await nats_server.kill()
    await until(lambda: told == ["lost"])
    await connection.close()


async def test_nobody_waits_for_a_connection_that_is_closed(nats_server: NatsServer) -> None:
    connection = await connect(nats_server.url, "service", nats_server.credentials["service"])
    await nats_server.kill()
    await until(lambda: not connection.up.is_set())
    await connection.close()
    assert connection.up.is_set()
    assert connection.is_closed


async def test_a_connection_can_be_closed_twice(nats_server: NatsServer) -> None:
    connection = await connect(nats_server.url, "service", nats_server.credentials["service"])
    await connection.close()
    await connection.close()


async def test_while_the_server_is_away_the_log_is_not_filled_with_it(nats_server: NatsServer) -> None:
    async with Proxy(nats_server.url) as proxy:
        connection = await connect(proxy.url, "service", nats_server.credentials["service"])
        with capture_logs() as lines:
            proxy.accepts = False
            proxy.cut()
            await until(
                lambda: connection._current_server is not None and connection._current_server.reconnects > 3
            )
            proxy.heal()
            await until(connection.up.is_set)
        await connection.close()
    assert len(lines) <= 4
    assert lines[-1]["event"] == "connected to nats-server again"


async def test_what_a_user_may_not_do_is_logged(nats_server: NatsServer) -> None:
    connection = await connect(
        nats_server.url, "audit", nats_server.credentials["audit"], inbox_prefix="_INBOX_audit"
    )
    with capture_logs() as lines:
        await connection.publish("ledger.room.r1", b"[]")
        await until(lambda: bool(lines))
    assert "permissions violation" in lines[0]["error"]
    await connection.close()


async def test_what_a_user_may_not_publish_to_is_known(nats_server: NatsServer) -> None:
    connection = await connect(nats_server.url, "service", nats_server.credentials["service"])
    assert connection.forbidden is None
    await connection.publish("feed.room.r1", b"")
    async with asyncio.timeout(5):
        await connection.denied.wait()
    assert connection.forbidden == "feed.room.r1"
    await connection.close()
