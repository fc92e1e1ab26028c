"""socket.io-client left to itself: when it connects again, and when it does not."""

from collections.abc import AsyncIterator

import pytest

from tests.support.cluster import TestCluster
from tests.support.conferences import Guests
from tests.support.existing_clients import POLLING, WEBSOCKET, Campus, campus
from tests.support.nats import until
from tests.support.node_clients import NodeClient, NodeClients, node_clients

pytestmark = pytest.mark.clients
every_transport = pytest.mark.parametrize(
    "transports", [POLLING, WEBSOCKET, POLLING + WEBSOCKET], ids="+".join
)


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
