"""The logs that the tests of the event store run on."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.event_store.logs import Log, LogInJetStream, LogInMemory
from tests.support.nats import NatsServer


@pytest.fixture
async def jetstream(nats_server: NatsServer, tmp_path: Path) -> AsyncIterator[LogInJetStream]:
    """Open a log on a fresh server."""
    log = LogInJetStream(nats_server, tmp_path)
    await log.open()
    yield log
    await log.close()


@pytest.fixture(params=["memory", "jetstream"])
def log(request: pytest.FixtureRequest) -> Log:
    """Open a log of each kind."""
    if request.param == "memory":
        return LogInMemory()
    found: LogInJetStream = request.getfixturevalue("jetstream")
    return found
