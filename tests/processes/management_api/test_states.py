import asyncio
from typing import Any

import httpx
import pytest

from roomledger.processes.management_api.states import WAITING
from roomledger.runtime.rebuilding import rebuilt
from tests.processes.management_api.running import problem
from tests.processes.management_api.whole import Whole
from tests.support.nats import until


async def state_of(client: httpx.AsyncClient, **query: object) -> dict[str, Any]:
    answer = await client.get("/v1/state", params=query)  # type: ignore[arg-type]  # whatever httpx takes
    assert answer.status_code == 200, answer.text
    state: dict[str, Any] = answer.json()
    assert answer.headers["Ledger-Sequence"] == str(state["sequence"])
    return state


async def test_the_super_service_sees_what_a_replay_shows(whole: Whole) -> None:
    room = await whole.room()
    await whole.join(room, "ada")
    head = (await whole.cluster.access.store.position()).sequence
    for at in range(1, head + 1):
        with await rebuilt(whole.cluster.access.store, at) as state:
            expected = state.as_json()
        shown = await state_of(whole.client, at=at)
        assert shown.pop("token_count") == len(expected["tokens"])
        assert shown == expected


async def test_without_a_moment_it_is_the_state_of_now(whole: Whole) -> None:
    room = await whole.room()
    await whole.join(room, "ada")
    state = await state_of(whole.client)
    assert [each["id"] for each in state["rooms"][0]["participants"]] == ["ada"]
    assert state["sequence"] == (await whole.cluster.access.store.position()).sequence


async def test_a_moment_may_be_a_time(whole: Whole) -> None:
    await whole.room("r1")
    then = await state_of(whole.client)
    await whole.room("r2")
    assert [room["id"] for room in (await state_of(whole.client, at=then["time"]))["rooms"]] == ["r1"]


async def test_another_service_sees_all_workers_and_of_the_rest_its_own(whole: Whole) -> None:
    other = await whole.other_service()
    await whole.room("r1")
    await whole.join("r1", "ada")
    await other.post("/v1/rooms", json={"name": "r2", "id": "r2"})
    await other.post("/v1/rooms/r2/tokens", json={"user": "eve", "role": "viewer"})
    state = await state_of(other)
    assert {worker["id"] for worker in state["workers"]} >= {"portal-1"}
    assert [room["id"] for room in state["rooms"]] == ["r2"]
    assert [(token["user"], token["room"]) for token in state["tokens"]] == [("eve", "r2")]
    assert [task["id"] for task in state["tasks"]] == [state["tokens"][0]["code"]]
    assert state["token_count"] == 1


async def test_the_newest_tokens_are_told(whole: Whole) -> None:
    await whole.room("r1")
    tokens = [await whole.token("r1", f"user-{number}") for number in range(3)]
    state = await state_of(whole.client, tokens=2)
    assert [token["id"] for token in state["tokens"]] == tokens[1:]
    assert state["token_count"] == 3


@pytest.mark.parametrize("at", ["0", "999999", "2000-01-01T00:00:00Z", "2999-01-01T00:00:00+02:00"])
async def test_a_moment_beside_the_log_is_told(whole: Whole, at: str) -> None:
    assert "the log" in problem(await whole.client.get("/v1/state", params={"at": at}), 404, "no_such_moment")


@pytest.mark.parametrize(
    "at", ["", "noon", "-1", "12.0", "2026-01-31T12:00:00", "2026-01-31", "2026-02-31T12:00:00Z", "9" * 30]
)
async def test_what_is_no_moment_is_refused(whole: Whole, at: str) -> None:
    problem(await whole.client.get("/v1/state", params={"at": at}), 400, "invalid_argument")


async def test_a_moment_that_is_too_far_is_told_with_what_helps(whole: Whole) -> None:
    await whole.room("r1")
    whole.api._states._checkpoints._reach = 2
    said = problem(await whole.client.get("/v1/state"), 400, "too_far")
    assert "roomledger replay --at" in said


async def test_more_than_a_few_at_once_are_told_to_come_back(whole: Whole) -> None:
    states = whole.api._states
    async with states._one:
        waiting = [asyncio.create_task(whole.client.get("/v1/state")) for _ in range(WAITING + 1)]
        await until(lambda: states._asking > WAITING)
        refused = await whole.client.get("/v1/state")
        assert problem(refused, 503, "busy")
        assert refused.headers["Retry-After"]
        assert (await whole.client.get("/v1/rooms")).status_code == 200
    assert {answer.status_code for answer in await asyncio.gather(*waiting)} == {200}


async def test_nobody_sees_a_state_without_a_key(whole: Whole) -> None:
    async with httpx.AsyncClient(base_url=whole.api.url) as stranger:
        problem(await stranger.get("/v1/state"), 401, "unauthenticated")
