"""What every test may ask for."""

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import hypothesis
import pytest

from roomledger.runtime.ending import end
from tests.support.cluster import TestCluster, running_cluster
from tests.support.nats import NatsServer

# How long an example takes says more of what else the machine does than of what is tried.
hypothesis.settings.register_profile("roomledger", deadline=None)
hypothesis.settings.load_profile("roomledger")


def pytest_configure() -> None:
    """Let Ctrl-C reach the processes that tests start, also where a shell runs them in the background."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
async def nats_server(tmp_path: Path) -> AsyncIterator[NatsServer]:
    """Start a fresh nats-server with the repository's nats.conf; all of it is gone after the test."""
    server = NatsServer(tmp_path / "nats")
    await server.start()
    yield server
    await server.close()
    # A connection that a test leaves open would not end by one cancellation while its server is away.
    await end(*(asyncio.all_tasks() - {asyncio.current_task()}))


@pytest.fixture
async def cluster(nats_server: NatsServer, tmp_path: Path) -> AsyncIterator[TestCluster]:
    """Yield a cluster without any process yet; what is started on it is stopped after the test."""
    async with running_cluster(nats_server, tmp_path / "data") as started:
        yield started
