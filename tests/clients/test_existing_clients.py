"""Existing clients by socket.io-client: what holds for those by python-socketio holds for these."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.processes.portal.test_socketio_client import *  # noqa: F403  - the very same tests
from tests.support.cluster import running_cluster
from tests.support.existing_clients import Campus
from tests.support.existing_clients import campus as running_campus
from tests.support.nats import NatsServer
from tests.support.node_clients import node_clients

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.clients]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Campus]:
    path = tmp_path_factory.mktemp("campus")
    server = NatsServer(path / "nats")
    await server.start()
    async with (
        node_clients() as clients,
        running_cluster(server, path / "data") as cluster,
        running_campus(cluster, clients.connect) as campus,
    ):
        yield campus
    await server.close()
