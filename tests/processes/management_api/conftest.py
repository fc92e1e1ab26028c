"""The management API that the tests call."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.processes.management_api.running import Running
from tests.processes.management_api.whole import Whole
from tests.support.cluster import TestCluster
from tests.support.nats import NatsServer


@pytest.fixture
async def running(nats_server: NatsServer, tmp_path: Path) -> AsyncIterator[Running]:
    """Start a management API with a short patience for portals."""
    async with Running.on(nats_server, tmp_path / "api", token_retry_ms=400) as found:
        yield found


@pytest.fixture
async def whole(cluster: TestCluster) -> AsyncIterator[Whole]:
    """Start a management API in a whole cluster."""
    async with Whole.of(cluster) as found:
        yield found
