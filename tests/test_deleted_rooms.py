"""What is left of a deleted room: nothing; with the processes as people run them."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect

from roomledger.domain.room import ROOM
from roomledger.domain.room_commands import CreateRoom, DeleteRoom, RoomCommand
from roomledger.domain.signed_token import read
from roomledger.runtime.commands import Meta
from roomledger.runtime.deciding import decide_once
from roomledger_events.rooms import RoomSettings
from roomledger_events.subjects import Boundary, Kind
from tests.support.cluster import PRESENTER, TestCluster
from tests.support.conferences import ConferenceProcess, Guests
from tests.support.house import SUBPROTOCOL, RawClient
from tests.support.nats import until
from tests.support.serving import Serving, serving

RELEASE_S = 4.0


async def test_a_deleted_room_drops_its_clients_voids_its_tokens_and_ends_its_tasks(tmp_path: Path) -> None:
    async with serving(tmp_path / "data") as server, api(server) as client:
        await client.post("/v1/rooms", json={"name": "r1", "id": "r1"})
        texts = [await token(client, user) for user in ("ada", "bob", "late")]
        async with dial(server) as ada, dial(server) as bob, dial(server) as late:
            for socket, text in ((ada, texts[0]), (bob, texts[1])):
                assert "result" in await RawClient(socket).ask("login", {"token": text})
            tasks = [f"portal/{read(text)[0].code}" for text in texts] + ["conference/r1"]
            await until(lambda: are(client, tasks, "running", "running", "reserved", "running"))
            assert (await client.delete("/v1/rooms/r1")).status_code == 204
            for socket in (ada, bob):
                assert await RawClient(socket).close_code() == (4001, "room_deleted")
            answer = await RawClient(late).ask("login", {"token": texts[2]})
            assert answer["error"]["data"]["code"] in {"no_such_room", "invalid_token", "token_revoked"}
            # What a portal has laid down runs out by itself; the rest is over.
            await until(lambda: are(client, tasks, "reserved", "reserved", None, None), 10)
        assert (await client.get("/v1/rooms/r1/participants")).status_code == 404


def api(server: Serving) -> httpx.AsyncClient:
    key = server.ready["service_key"]
    headers = {"Authorization": f"Bearer {key}"}
    return httpx.AsyncClient(base_url=server.ready["api"], headers=headers, timeout=20)


async def token(client: httpx.AsyncClient, user: str) -> str:
    answer = await client.post("/v1/rooms/r1/tokens", json={"user": user, "role": "presenter"})
    assert answer.status_code == 200, answer.text
    return answer.text


def dial(server: Serving) -> Any:  # noqa: ANN401  - what `connect` returns
    return connect(server.ready["portal"], subprotocols=[SUBPROTOCOL], proxy=None, compression=None)


async def are(client: httpx.AsyncClient, tasks: list[str], *states: str | None) -> bool:
    """Return whether the tasks are in these states; None for a task that nobody has."""
    answers = [(await client.get(f"/v1/cluster/tasks/{task}")).json() for task in tasks]
    return [answer.get("state") for answer in answers] == list(states)


@pytest.mark.chaos
@pytest.mark.parametrize("before", ["somebody is away", "nobody is in"])
async def test_a_room_created_anew_at_once_is_not_touched_by_the_timers_of_the_one_before(
    cluster: TestCluster, tmp_path: Path, before: str
) -> None:
    async with AsyncExitStack() as stack:
        await cluster.manager()
        worker = await ConferenceProcess.start(
            cluster, stack, tmp_path, "c1", max_nodes=2, prerun=2, room_release_ms=round(RELEASE_S * 1000)
        )
        portal = Guests(cluster.access.broker, "p1")
        await cluster.room("r1")
        await portal.join("r1", await cluster.token("r1"), "ada")
        loop = asyncio.get_running_loop()
        if before == "somebody is away":
            await portal.ask(
                "r1",
                lambda rooms, node: rooms.lose_connection(
                    node, "r1", "ada", portal="p1", grace_ms=round(RELEASE_S * 1000)
                ),
            )
        else:
            await portal.leave("r1", "ada")
        due = loop.time() + RELEASE_S
        await decide(cluster, DeleteRoom())
        settings = RoomSettings(name="r1", roles=(PRESENTER,))
        await decide(cluster, CreateRoom(room="r1", service="s1", settings=settings))
        await portal.join("r1", await cluster.token("r1", generation=2), "ada")
        assert loop.time() < due, "the room was not created anew in time"
        created = [each for each in await cluster.types(Kind.ROOM, "r1") if each == "RoomCreated"]
        assert len(created) == 2
        await asyncio.sleep(due + 1 - loop.time())  # the timers of the room before would have come by now
        assert await portal.present("r1") == {"ada"}
        events = await cluster.types(Kind.ROOM, "r1")
        anew = events[len(events) - events[::-1].index("RoomCreated") :]
        assert anew == ["ControllerTakenOver", "ParticipantJoined"]
        assert (await worker.node_of("r1")).rooms == ("r1",)
        task = await cluster.cluster().get_scheduled("conference", "r1")
        assert (task.worker, task.state) == ("c1", "running")


async def decide(cluster: TestCluster, command: RoomCommand) -> None:
    boundary = Boundary(Kind.ROOM, "r1")
    await decide_once(cluster.access.store, boundary, ROOM, command, Meta("test"), source="test")
