"""socket.io-client left to itself: when it connects again, and when it does not."""

import signal
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.cluster import TestCluster
from tests.support.conferences import Guests
from tests.support.existing_clients import POLLING, VERSIONS, WEBSOCKET, Campus, ExistingClient, campus, done
from tests.support.nats import until
from tests.support.node_clients import NodeClient, NodeClients, node_clients
from tests.support.serving import serving

pytestmark = pytest.mark.clients
every_transport = pytest.mark.parametrize(
    "transports", [POLLING, WEBSOCKET, POLLING + WEBSOCKET], ids="+".join
)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@pytest.fixture
async def node() -> AsyncIterator[NodeClients]:
    async with node_clients() as node_:
        yield node_


@pytest.fixture
async def place(cluster: TestCluster, node: NodeClients) -> AsyncIterator[Campus]:
    async with campus(cluster, node.reconnecting) as place_:
        yield place_


@every_transport
async def test_it_connects_again_and_goes_on_when_the_portal_is_emptied(
    place: Campus, transports: tuple[str, ...]
) -> None:
    client = await place.guest(await place.room(), transports=transports)
    assert isinstance(client, NodeClient)
    assert place.portal._socketio is not None
    place.portal._socketio.empty("a test")
    await until(lambda: client.connections == 2)
    status, payload = await client.ask("relogin", client.ticket)
    assert (status, payload["messages"]) == ("ok", [])
    assert await client.ask("text", {"to": "all", "message": "back"}) == ["ok"]


@every_transport
async def test_it_stays_away_when_it_was_dropped(place: Campus, transports: tuple[str, ...]) -> None:
    room = await place.room()
    client = await place.guest(room, transports=transports)
    assert isinstance(client, NodeClient)
    await Guests(place.cluster.access.broker, "test").drop(room, client.id)
    assert (await client.hear()).event == "drop"
    assert await client.disconnected()
    assert client.why == "io server disconnect"
    assert client.connections == 1


@every_transport
async def test_it_stays_away_when_its_login_failed(place: Campus, transports: tuple[str, ...]) -> None:
    client = await place.client(transports=transports)
    assert isinstance(client, NodeClient)
    assert (await client.ask("login", None))[0] == "error"
    assert await client.disconnected()
    assert client.why == "io server disconnect"


async def test_it_finds_its_portal_again_that_was_killed_and_has_missed_nothing(
    place: Campus, tmp_path: Path
) -> None:
    server = place.cluster.server
    own = {
        "ROOMLEDGER_NATS_URL": server.url,
        "ROOMLEDGER_NATS_PASSWORD": server.credentials["service"],
        "ROOMLEDGER_SOCKETIO_PORT": str(free_port()),
    }
    async with serving(tmp_path / "portal", "portal", **own) as killed:
        rooms = {version: await place.room() for version in VERSIONS}
        witnesses = {version: await place.guest(room, "1.0") for version, room in rooms.items()}
        clients = [await place.connect(killed.ready["socketio"], version) for version in VERSIONS]
        for client in clients:
            await client.login(await place.token(rooms[client.version]))
            await witnesses[client.version].hear()
        await killed.stop(signal.SIGKILL)
        for client in clients:
            assert await client.disconnected()
            await witnesses[client.version].ask("text", {"to": "all", "message": "missed"})
            await witnesses[client.version].hear()
        async with serving(tmp_path / "portal", "portal", **own):
            for client in clients:
                await back_with_what_was_missed(client)
                await client.ask("text", {"to": "all", "message": "back"})
                assert (await witnesses[client.version].hear()).arguments[0]["message"] == "back"
                await client.close()


async def back_with_what_was_missed(client: ExistingClient) -> None:
    assert isinstance(client, NodeClient)
    await until(lambda: client.connections == 2, 20)
    status, payload = await client.ask("relogin", client.ticket)
    assert status == done(client.version), payload
    if client.version == "1.2":
        assert [each["data"]["message"] for each in payload["messages"]] == ["missed"]
    else:
        assert "missed" in (await client.hear()).arguments[0].values()
    assert await client.silent()
