"""What every test may ask for."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.nats import NatsServer


@pytest.fixture
async def nats_server(tmp_path: Path) -> AsyncIterator[NatsServer]:
    """Start a fresh nats-server with the repository's nats.conf; all of it is gone after the test."""
    server = NatsServer(tmp_path / "nats")
    await server.start()
    yield server
    await server.close()
