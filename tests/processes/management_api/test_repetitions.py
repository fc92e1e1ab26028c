import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import msgspec
import pytest

from roomledger.domain.signed_token import read
from roomledger.processes.management_api import repetitions
from roomledger_events.tokens import TokenIssued
from tests.processes.management_api.running import Running, problem
from tests.support.nats import NatsServer, until

ADA = {"user": "ada", "role": "presenter"}
KEY = {"Idempotency-Key": "a-key"}


async def entries(running: Running) -> list[str]:
    bucket = await running.broker.jetstream().key_value("ROOMLEDGER_ANSWERS")
    return await bucket.keys()


async def pretend_dead(running: Running, *, seconds: float = 3600) -> None:
    """Make the one entry look as if whoever carries it out had died so long ago, before it could answer."""
    bucket = await running.broker.jetstream().key_value("ROOMLEDGER_ANSWERS")
    (name,) = await bucket.keys()
    entry = msgspec.json.decode((await bucket.get(name)).value or b"")
    since = datetime.now(UTC) - timedelta(seconds=seconds)
    changed = entry | {"answer": None, "open": False, "since": since}
    await bucket.put(name, msgspec.json.encode(changed))


async def test_a_repeated_request_has_one_effect_and_the_same_answer(running: Running) -> None:
    answers = [await running.client.post("/v1/rooms", json={"name": "x"}, headers=KEY) for _ in range(3)]
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.text for answer in answers}) == 1
    assert len({answer.headers["Location"] for answer in answers}) == 1
    assert len({answer.headers["Ledger-Sequence"] for answer in answers}) == 1
    told = [answer.headers.get("Idempotent-Replayed") for answer in answers]
    assert told == [None, "true", "true"]
    assert await running.types() == ["RoomCreated"]


async def test_a_repeated_token_request_gives_the_same_token(running: Running) -> None:
    room = await running.room()
    path = f"/v1/rooms/{room}/tokens"
    texts = {(await running.client.post(path, json=ADA, headers=KEY)).text for _ in range(3)}
    assert len(texts) == 1
    assert len(running.scheduling.scheduled) == 1
    assert (await running.types()).count("TokenIssued") == 1


async def test_of_many_at_the_same_time_one_is_carried_out(running: Running) -> None:
    room = await running.room()
    running.scheduling.delay = 0.2
    path = f"/v1/rooms/{room}/tokens"
    answers = await asyncio.gather(*(running.client.post(path, json=ADA, headers=KEY) for _ in range(8)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.text for answer in answers}) == 1
    assert (await running.types()).count("TokenIssued") == 1


async def test_a_repeated_deletion_is_answered_as_the_first(running: Running) -> None:
    room = await running.room()
    answers = [await running.client.delete(f"/v1/rooms/{room}", headers=KEY) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [204, 204]
    problem(await running.client.delete(f"/v1/rooms/{room}"), 404, "no_such_room")


async def test_another_process_gives_the_answer_too_also_after_a_restart(
    nats_server: NatsServer, tmp_path: Path
) -> None:
    async with Running.on(nats_server, tmp_path / "one") as one:
        created = await one.client.post("/v1/rooms", json={"name": "x"}, headers=KEY)
    async with Running.on(nats_server, tmp_path / "two") as two:
        again = await two.client.post("/v1/rooms", json={"name": "x"}, headers=KEY)
        assert (again.status_code, again.json()) == (201, created.json())
        assert await two.types() == ["RoomCreated"]


async def test_the_key_of_another_request_is_refused(running: Running) -> None:
    await running.client.post("/v1/rooms", json={"name": "x"}, headers=KEY)
    for method, path, body in (
        ("POST", "/v1/rooms", {"name": "y"}),
        ("POST", "/services", {"name": "x"}),
        ("DELETE", "/v1/rooms/x", {"name": "x"}),
        ("POST", "/v1/rooms?page=1", {"name": "x"}),
    ):
        answer = await running.client.request(method, path, json=body, headers=KEY)
        problem(answer, 422, "idempotency_key_reused")
    assert await running.types() == ["RoomCreated"]


async def test_each_service_has_keys_of_its_own(running: Running) -> None:
    other = await running.other_service()
    first = await running.client.post("/v1/rooms", json={"name": "x"}, headers=KEY)
    second = await other.post("/v1/rooms", json={"name": "x"}, headers=KEY)
    assert first.json()["id"] != second.json()["id"]


async def test_what_was_refused_may_be_tried_again(running: Running) -> None:
    problem(await running.client.post("/v1/rooms/r1/tokens", json=ADA, headers=KEY), 404, "no_such_room")
    await running.client.post("/v1/rooms", json={"name": "x", "id": "r1"})
    answer = await running.client.post("/v1/rooms/r1/tokens", json=ADA, headers=KEY)
    assert answer.status_code == 200


async def test_a_key_that_is_none_is_refused(running: Running) -> None:
    for key in ("", "a b", "x" * 256, "é".encode().decode("latin-1")):
        answer = await running.client.post(
            "/v1/rooms", json={"name": "x"}, headers={b"Idempotency-Key": key.encode("latin-1")}
        )
        problem(answer, 400, "invalid_argument")
    assert await running.types() == []


async def test_a_request_that_only_asks_needs_no_key_and_leaves_none(running: Running) -> None:
    room = await running.room()
    for _ in range(2):
        assert (await running.client.get(f"/v1/rooms/{room}", headers=KEY)).status_code == 200
    await running.client.post("/v1/rooms", json={"name": "x"}, headers={"Idempotency-Key": "other"})
    assert len(await entries(running)) == 1


async def test_entries_go_by_themselves_after_ten_minutes(running: Running) -> None:
    await running.client.post("/v1/rooms", json={"name": "x"}, headers=KEY)
    info = await running.broker.jetstream().stream_info("KV_ROOMLEDGER_ANSWERS")
    assert info.config.max_age == 600


async def test_a_room_that_was_created_by_somebody_who_died_is_found_again(running: Running) -> None:
    created = await running.client.post("/v1/rooms", json={"name": "x"}, headers=KEY)
    await pretend_dead(running)
    again = await running.client.post("/v1/rooms", json={"name": "x"}, headers=KEY)
    assert (again.status_code, again.json()) == (201, created.json())
    assert "Idempotent-Replayed" not in again.headers
    assert await running.types() == ["RoomCreated"]


async def test_a_token_that_was_issued_by_somebody_who_died_is_issued_once(running: Running) -> None:
    path = f"/v1/rooms/{await running.room()}/tokens"
    issued = await running.client.post(path, json=ADA, headers=KEY)
    await pretend_dead(running)
    again = await running.client.post(path, json=ADA, headers=KEY)
    assert read(again.text)[0] == read(issued.text)[0]
    assert (await running.types()).count("TokenIssued") == 1


async def test_a_service_that_was_created_by_somebody_who_died_is_created_once(running: Running) -> None:
    created = await running.client.post("/services", json={"name": "School"}, headers=KEY)
    await pretend_dead(running)
    again = await running.client.post("/services", json={"name": "School"}, headers=KEY)
    assert again.json() == created.json()
    assert len((await running.client.get("/services")).json()) == 2


async def test_while_the_first_may_still_be_under_way_the_others_wait_and_are_told(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repetitions, "PATIENCE_S", 0.2)
    await running.client.post("/v1/rooms", json={"name": "x"}, headers=KEY)
    await pretend_dead(running, seconds=1)
    answer = await running.client.post("/v1/rooms", json={"name": "x"}, headers=KEY)
    problem(answer, 409, "in_progress")
    assert answer.headers["Retry-After"] == "1"


async def test_what_the_broker_did_not_answer_is_done_once_when_it_is_repeated(running: Running) -> None:
    room = await running.room()
    path = f"/v1/rooms/{room}/tokens"
    running.scheduling.delay = 0.3
    asking = asyncio.create_task(running.client.post(path, json=ADA, headers=KEY))
    await running.scheduling.asked.wait()
    server = running.server
    server.pause()
    answer = await asyncio.wait_for(asking, 20)
    assert answer.status_code in {503, 200}
    server.resume()
    await until(lambda: _answered(running, path), 20)
    issued = [
        event.data
        for commit in await running.commits()
        for event in commit.events
        if isinstance(event.data, TokenIssued)
    ]
    assert len(issued) == 1


async def _answered(running: Running, path: str) -> bool:
    answer: httpx.Response = await running.client.post(path, json=ADA, headers=KEY)
    return answer.status_code == 200
