import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from roomledger.domain.signed_token import read
from roomledger.sdk import management
from roomledger.sdk.errors import ApiRefused, ApiUnreachable
from roomledger.sdk.management import Management
from roomledger_events.rooms import ParticipantLeft
from tests.processes.management_api.running import Running
from tests.processes.management_api.whole import Whole
from tests.support.cluster import TestCluster
from tests.support.nats import NatsServer


@pytest.fixture
async def running(nats_server: NatsServer, tmp_path: Path) -> AsyncIterator[Running]:
    async with Running.on(nats_server, tmp_path / "api") as found:
        yield found


async def test_a_created_room_can_be_fetched(running: Running) -> None:
    def create_and_fetch() -> None:
        with Management(running.api.url, running.key) as api:
            created = api.create_room("x", {"participantLimit": 3})
            assert api.room(created["id"]) == created
            assert created["participantLimit"] == 3

    await asyncio.to_thread(create_and_fetch)


async def test_all_pages_of_a_list_are_fetched(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(management, "PER_PAGE", 2)
    rooms = [await running.room() for _ in range(5)]
    carried = {"Ledger-Sequence": str((await running.store.position()).sequence)}
    await running.client.get("/v1/rooms", headers=carried)

    def fetch() -> list[str]:
        with Management(running.api.url, running.key) as api:
            return [room["id"] for room in api.rooms()]

    assert await asyncio.to_thread(fetch) == rooms


async def test_a_room_is_changed_and_deleted(running: Running) -> None:
    def work() -> None:
        with Management(running.api.url, running.key) as api:
            api.create_room("x", room="r1")
            assert api.change_room("r1", {"participantLimit": 3})["participantLimit"] == 3
            api.delete_room("r1")
            assert list(api.rooms()) == []

    await asyncio.to_thread(work)


async def test_a_token_is_revoked(running: Running) -> None:
    def work() -> None:
        with Management(running.api.url, running.key) as api:
            api.create_room("x", room="r1")
            api.revoke_token(read(api.token("r1", user="ada", role="viewer"))[0].token)

    await asyncio.to_thread(work)
    assert "TokenRevoked" in await running.types()


async def test_participants_are_listed_changed_and_removed(cluster: TestCluster) -> None:
    async with Whole.of(cluster) as whole:
        room = await whole.room()
        await whole.join(room, "ada")

        def work() -> None:
            with Management(whole.api.url, whole.key) as api:
                changed = api.set_permission(room, "ada", "publish/audio", allowed=False)
                assert changed["permission"]["publish"] == {"audio": False, "video": True}
                api.remove_participant(room, "ada", reason="ä & ö?")
                assert list(api.participants(room)) == []

        await asyncio.to_thread(work)
        last = (await cluster.commits())[-1].events[0].data
        assert isinstance(last, ParticipantLeft)
        assert (last.participant, last.reason, last.message) == ("ada", "dropped", "ä & ö?")


async def test_a_refusal_has_its_code(running: Running) -> None:
    def ask() -> None:
        with Management(running.api.url, running.key) as api:
            api.token("nowhere", user="ada", role="viewer")

    with pytest.raises(ApiRefused) as refused:
        await asyncio.to_thread(ask)
    assert (refused.value.status, refused.value.code) == (404, "no_such_room")


async def test_a_wrong_key_is_refused(running: Running) -> None:
    def ask() -> None:
        with Management(running.api.url, "wrong") as api:
            api.create_room("x")

    with pytest.raises(ApiRefused) as refused:
        await asyncio.to_thread(ask)
    assert refused.value.code == "unauthenticated"


def test_nobody_there_is_told() -> None:
    with Management("http://127.0.0.1:9", "k") as api, pytest.raises(ApiUnreachable):
        api.create_room("x")
