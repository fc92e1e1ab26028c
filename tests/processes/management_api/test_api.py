import asyncio
import signal
import socket
from pathlib import Path

import httpx
import pytest

from roomledger.event_store.connection import connect
from roomledger.event_store.jetstream import JetStreamStore
from roomledger.processes.management_api.api import ManagementApi
from roomledger.processes.management_api.errors import ApiNotListening, ApiPortInUse
from roomledger.settings import Settings
from tests.processes.management_api.running import Running
from tests.support.nats import NatsServer


async def test_any_free_port_is_told(running: Running) -> None:
    assert running.api.url.startswith("http://127.0.0.1:")
    assert not running.api.url.endswith(":0")


async def test_it_is_alive_and_ready(running: Running) -> None:
    assert (await running.client.get("/healthz")).json() == {"status": "alive"}
    await running.room()
    assert (await running.client.get("/readyz")).json() == {"status": "ready", "sequence": 1}


async def test_a_port_in_use_is_named(nats_server: NatsServer, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ApiPortInUse, match=rf"port {port} .* ROOMLEDGER_API_PORT"):
            await _start(nats_server, Settings(data_dir=tmp_path / "api", api_port=port))


async def test_an_address_of_another_machine_is_named(nats_server: NatsServer, tmp_path: Path) -> None:
    with pytest.raises(ApiNotListening, match=r"192\.0\.2\.1"):
        await _start(nats_server, Settings(data_dir=tmp_path / "api", api_port=0, host="192.0.2.1"))


async def test_signals_are_left_to_others(nats_server: NatsServer, tmp_path: Path) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    async with Running.on(nats_server, tmp_path / "api"):
        assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


async def test_rooms_and_the_service_are_the_same_after_a_restart(
    nats_server: NatsServer, tmp_path: Path
) -> None:
    async with Running.on(nats_server, tmp_path / "api") as running:
        room, key = await running.room(), running.key
    async with Running.on(nats_server, tmp_path / "api") as again:
        assert again.key == key
        assert not again.api.first_service.created
        assert [each["id"] for each in (await again.client.get("/v1/rooms")).json()] == [room]


async def test_what_is_known_is_rebuilt_from_the_log(nats_server: NatsServer, tmp_path: Path) -> None:
    async with Running.on(nats_server, tmp_path / "one") as running:
        room = await running.room(participantLimit=7)
        shown = (await running.client.get(f"/v1/rooms/{room}")).json()
    async with Running.on(nats_server, tmp_path / "two") as again:
        assert (await again.client.get("/v1/rooms")).json() == [shown]


async def test_requests_under_way_are_finished_when_it_stops(nats_server: NatsServer, tmp_path: Path) -> None:
    async with Running.on(nats_server, tmp_path / "api") as running:
        room = await running.room()
        running.scheduling.delay = 0.5
        body = {"user": "ada", "role": "viewer"}
        asking = asyncio.create_task(running.client.post(f"/v1/rooms/{room}/tokens", json=body))
        await running.scheduling.asked.wait()
        await running.api.stop()
        assert (await asking).status_code == 200


async def test_after_its_stop_nobody_listens(nats_server: NatsServer, tmp_path: Path) -> None:
    async with Running.on(nats_server, tmp_path / "api") as running:
        await running.api.stop()
        with pytest.raises(httpx.ConnectError):
            await running.client.get("/healthz")


async def test_an_idle_connection_does_not_hold_the_stop_up(nats_server: NatsServer, tmp_path: Path) -> None:
    async with Running.on(nats_server, tmp_path / "api") as running:
        _, writer = await asyncio.open_connection("127.0.0.1", int(running.api.url.rpartition(":")[2]))
        async with asyncio.timeout(6):
            await running.api.stop()
        writer.close()


async def test_a_log_that_was_replaced_ends_it(nats_server: NatsServer, tmp_path: Path) -> None:
    async with Running.on(nats_server, tmp_path / "api") as running:
        await running.room()
        await running.client.get("/readyz")
        admin = await nats_server.connect("admin")
        await admin.jetstream().delete_stream("ROOMLEDGER")
        await JetStreamStore.open(running.broker)
        async with asyncio.timeout(15):
            assert "not the log" in str(await running.api.failed())


async def _start(server: NatsServer, settings: Settings) -> None:
    broker = await connect(server.url, "service", server.credentials["service"])
    try:
        await ManagementApi(settings, broker, await JetStreamStore.open(broker)).start()
    finally:
        await broker.close()
