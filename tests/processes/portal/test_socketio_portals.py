"""Existing clients that go on at another portal, whatever became of the first one."""

import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from roomledger.processes.portal.portal import Portal
from roomledger_events.identifiers import new_id
from tests.support.cluster import running_cluster
from tests.support.existing_clients import VERSIONS, Campus, ExistingClient, done
from tests.support.existing_clients import campus as running_campus
from tests.support.nats import NatsServer
from tests.support.serving import start

pytestmark = pytest.mark.asyncio(loop_scope="module")
every_version = pytest.mark.parametrize("version", VERSIONS)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Campus]:
    path = tmp_path_factory.mktemp("campus")
    server = NatsServer(path / "nats")
    await server.start()
    async with running_cluster(server, path / "data") as cluster, running_campus(cluster) as campus:
        yield campus
    await server.close()


@pytest_asyncio.fixture(loop_scope="module")
async def campus(shared: Campus) -> AsyncIterator[Campus]:
    async with shared.visit() as visit:
        yield visit


async def another_portal(campus: Campus) -> Portal:
    portal: Portal = await campus.cluster.start(Portal, worker_id=f"portal-{new_id()}")
    return portal


async def missed_by(client: ExistingClient, ticket: str) -> list[str]:
    """Come back, and return the texts that are delivered up to one that says "back", in order."""
    status, payload = await client.ask("relogin", ticket)
    assert status == done(client.version), payload
    had = [each["data"] for each in payload["messages"]] if client.version == "1.2" else []
    texts = [data["message"] for data in had if "message" in data]
    await client.ask("text", {"to": "all", "message": "back"})
    while not texts or texts[-1] != "back":
        data = (await client.hear()).arguments[0]
        texts += [data[key] for key in ("message", "data") if isinstance(data.get(key), str)]
    return texts[:-1]


@every_version
@pytest.mark.parametrize("ending", ["lost", "alive", "stopped"])
async def test_a_session_goes_on_at_another_portal(campus: Campus, version: str, ending: str) -> None:
    first = await another_portal(campus)
    room = await campus.room()
    witness = await campus.guest(room, "1.0")
    client = await campus.guest(room, version, portal=first)
    await witness.hear()
    if ending == "lost":
        await client.cut()
    elif ending == "stopped":
        await first.stop()
    await witness.ask("text", {"to": "all", "message": "missed"})
    await witness.hear()
    again = await campus.client(version)
    assert await missed_by(again, client.ticket) == ["missed"]
    if ending == "alive":
        assert await client.disconnected()
    assert (await witness.hear()).arguments[0] == {"from": client.id, "to": "all", "message": "back"}
    assert await campus.present(room) == {client.id, witness.id}


async def test_in_1_2_seq_goes_on_from_portal_to_portal(campus: Campus) -> None:
    room = await campus.room()
    witness = await campus.guest(room, "1.0")
    client = await campus.guest(room, "1.2")
    ticket, count, had = client.ticket, 0, []
    for turn in range(4):
        await witness.ask("text", {"to": "all", "message": f"heard {turn}"})
        had.append((await client.hear()).arguments[0]["message"])
        count += 1
        await client.cut()
        await witness.ask("text", {"to": "all", "message": f"missed {turn}"})
        client = await campus.client("1.2", portal=await another_portal(campus))
        _, payload = await client.ask("relogin", ticket)
        ticket = payload["ticket"]
        fresh = [each for each in payload["messages"] if each["seq"] > count]
        had += [each["data"]["message"] for each in fresh]
        count = max(each["seq"] for each in payload["messages"])
        assert count == 2 * (turn + 1)
    assert had == [f"{word} {turn}" for turn in range(4) for word in ("heard", "missed")]


async def test_a_portal_that_is_killed_loses_nobody_and_nothing(campus: Campus, tmp_path: Path) -> None:
    server = campus.cluster.server
    killed = await start(
        tmp_path / "portal",
        "portal",
        ROOMLEDGER_NATS_URL=server.url,
        ROOMLEDGER_NATS_PASSWORD=server.credentials["service"],
    )
    room = await campus.room()
    witness = await campus.guest(room, "1.0")
    clients = []
    for version in VERSIONS:
        client = await campus.connect(killed.ready["socketio"], version)
        await client.login(await campus.token(room))
        clients.append(client)
        await witness.hear()
    await witness.ask("text", {"to": "all", "message": "before"})
    await killed.stop(signal.SIGKILL)
    await witness.ask("text", {"to": "all", "message": "after"})
    for client in clients:
        again = await campus.client(client.version)
        texts = await missed_by(again, client.ticket)
        assert [text for text in texts if text != "back"] == ["before", "after"]
    heard = {"before", "after", "back"}
    while not witness.told.empty():
        data = (await witness.hear()).arguments[0]
        assert data.get("message") in heard
    assert await campus.present(room) == {witness.id, *(client.id for client in clients)}
