import asyncio
import base64
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from roomledger.domain.errors import Code, Refusal
from roomledger.domain.signed_token import read, verify
from roomledger.runtime.token_keys import TokenKeys
from roomledger.settings import Settings
from roomledger_events.tokens import TokenIssued, TokenRevoked
from roomledger_events.workers import WorkerInfo
from tests.processes.management_api.running import Running, problem
from tests.support.nats import NatsServer, until

ADA = {"user": "ada", "role": "presenter"}
FULL = Refusal(Code.ALL_IN_FULL_LOAD, "all portals are in full load")
NO_MATCH = Refusal(Code.NO_MATCH, "no portal serves this isp")


async def issue(running: Running, room: str, **changes: object) -> str:
    answer = await running.client.post(f"/v1/rooms/{room}/tokens", json=ADA | changes)
    assert answer.status_code == 200, answer.text
    return answer.text


async def issued(running: Running) -> TokenIssued:
    data = (await running.commits())[-1].events[0].data
    assert isinstance(data, TokenIssued)
    return data


async def test_a_token_is_text_that_clients_can_read(running: Running) -> None:
    answer = await running.client.post(f"/v1/rooms/{await running.room()}/tokens", json=ADA)
    assert answer.headers["content-type"].startswith("text/plain")
    told = json.loads(base64.b64decode(answer.text))
    assert (told["host"], told["secure"]) == ("portal.example.com:8080", False)
    assert told["url"] == "ws://portal.example.com:8080/"


async def test_a_token_is_signed_with_the_key_of_the_cluster(running: Running) -> None:
    claims, signature = read(await issue(running, await running.room()))
    keys = TokenKeys(running.broker, Settings())
    await keys.load()
    verify(keys.valid, claims, signature)


async def test_an_answered_token_is_in_the_log(running: Running) -> None:
    room = await running.room()
    origin = {"isp": "isp-1", "region": "eu"}
    claims, _ = read(await issue(running, room, preference=origin))
    data = await issued(running)
    assert (data.token, data.code, data.room) == (claims.token, claims.code, room)
    assert (data.user, data.role, data.portal) == ("ada", "presenter", "portal-1")
    assert (data.origin.isp, data.origin.region) == ("isp-1", "eu")
    assert data.generation == 1


async def test_the_signature_is_not_in_the_log(running: Running) -> None:
    _, signature = read(await issue(running, await running.room()))
    assert all(signature not in repr(commit) for commit in await running.commits())


async def test_what_a_token_sets_off_is_correlated_by_its_id(running: Running) -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    room = await running.room()
    answer = await running.client.post(f"/v1/rooms/{room}/tokens", json=ADA, headers={"traceparent": trace})
    token = read(answer.text)[0].token
    (event,) = (await running.commits())[-1].events
    _, meta = running.scheduling.scheduled[0]
    assert (event.correlationid, event.subject, event.traceparent) == (token, token, trace)
    assert (meta.correlation, meta.traceparent) == (token, trace)
    assert meta.actor == event.actor


async def test_the_portal_is_reserved_for_the_code_as_long_as_the_token_lives(running: Running) -> None:
    await issue(running, await running.room(), preference={"isp": "isp-1"})
    request, _ = running.scheduling.scheduled[0]
    data = await issued(running)
    assert (request.purpose, request.task, request.reserve_ms) == ("portal", data.code, 180_000)
    assert request.preference.isp == "isp-1"
    assert abs(data.expires_at - datetime.now(UTC) - timedelta(seconds=180)) < timedelta(seconds=10)


async def test_the_answer_names_the_sequence_of_the_token(running: Running) -> None:
    answer = await running.client.post(f"/v1/rooms/{await running.room()}/tokens", json=ADA)
    assert answer.headers["Ledger-Sequence"] == str((await running.commits())[-1].sequence)


async def test_no_two_tokens_are_alike(running: Running) -> None:
    room = await running.room()
    texts = await asyncio.gather(*(issue(running, room) for _ in range(50)))
    claims = [read(text)[0] for text in texts]
    assert len({claim.token for claim in claims}) == len({claim.code for claim in claims}) == 50


HOSTS = {
    "portal.example.com:8080": WorkerInfo(
        ip="192.0.2.7", hostname="portal.example.com", port=8080, max_load=1
    ),
    "192.0.2.7:8080": WorkerInfo(ip="192.0.2.7", port=8080, max_load=1),
    "[2001:db8::7]:8080": WorkerInfo(ip="2001:db8::7", port=8080, max_load=1),
    "192.0.2.7": WorkerInfo(ip="192.0.2.7", max_load=1),
    "edge.example.com:443": WorkerInfo(
        ip="192.0.2.7", port=8080, via_host="edge.example.com:443", max_load=1
    ),
}


async def test_the_host_is_what_the_portal_tells_of_itself(running: Running) -> None:
    room = await running.room()
    for host, running.scheduling.info in HOSTS.items():
        claims, _ = read(await issue(running, room))
        assert (claims.host, claims.url) == (host, f"ws://{host}/")


async def test_a_secure_portal_is_reached_by_wss(running: Running) -> None:
    running.scheduling.info = WorkerInfo(ip="192.0.2.7", port=443, secure=True, max_load=1)
    claims, _ = read(await issue(running, await running.room()))
    assert (claims.secure, claims.url) == (True, "wss://192.0.2.7:443/")


async def test_a_portal_may_name_its_url(running: Running) -> None:
    url = "wss://edge.example.com/portal/7"
    running.scheduling.info = WorkerInfo(ip="192.0.2.7", port=443, max_load=1, properties={"url": url})
    assert read(await issue(running, await running.room()))[0].url == url


# -- Refusals


BAD_TOKENS: dict[str, object] = {
    "no object": "ada",
    "no user": {"role": "presenter"},
    "empty user": ADA | {"user": ""},
    "user too long": ADA | {"user": "x" * 257},
    "user of another type": ADA | {"user": ["ada"]},
    "no role": {"user": "ada"},
    "empty role": ADA | {"role": ""},
    "role too long": ADA | {"role": "x" * 60_000},
    "unknown field": ADA | {"admin": True},
    "preference of another type": ADA | {"preference": "eu"},
    "unknown preference": ADA | {"preference": {"country": "se"}},
    "isp too long": ADA | {"preference": {"isp": "x" * 65}},
}


async def test_a_wish_that_is_not_as_it_should_be_is_refused_at_once(running: Running) -> None:
    room = await running.room()
    for case, body in BAD_TOKENS.items():
        answer = await running.client.post(
            f"/v1/rooms/{room}/tokens", content=json.dumps(body), headers={"Content-Type": "application/json"}
        )
        assert problem(answer, 400, "invalid_argument"), case
    assert running.scheduling.scheduled == []
    assert await running.types() == ["RoomCreated"]


async def test_half_a_surrogate_pair_is_no_text(running: Running) -> None:
    body = json.dumps(ADA | {"user": "\udfff"})
    problem(
        await running.client.post(f"/v1/rooms/{await running.room()}/tokens", content=body), 400, "malformed"
    )
    assert running.scheduling.scheduled == []


async def test_a_role_that_the_room_does_not_have_is_refused_at_once(running: Running) -> None:
    room = await running.room(roles=[{"role": "speaker"}])
    problem(await running.client.post(f"/v1/rooms/{room}/tokens", json=ADA), 400, "invalid_role")
    assert running.scheduling.scheduled == []


async def test_there_is_no_token_for_a_room_that_is_not_there(running: Running) -> None:
    problem(await running.client.post("/v1/rooms/nowhere/tokens", json=ADA), 404, "no_such_room")


async def test_there_is_no_token_for_another_services_room(running: Running) -> None:
    room = await running.room()
    other = await running.other_service()
    problem(await other.post(f"/v1/rooms/{room}/tokens", json=ADA), 404, "no_such_room")
    assert running.scheduling.scheduled == []


async def test_a_preference_that_no_portal_serves_is_refused_at_once(running: Running) -> None:
    running.scheduling.refusals = [NO_MATCH]
    answer = await running.client.post(f"/v1/rooms/{await running.room()}/tokens", json=ADA)
    assert problem(answer, 409, "no_match") == "no portal serves this isp"
    assert len(running.scheduling.scheduled) == 1


@pytest.mark.parametrize("code", [Code.ALL_IN_FULL_LOAD, Code.NO_SUCH_PURPOSE, Code.NOT_READY])
async def test_a_portal_that_has_room_again_in_time_is_taken(running: Running, code: Code) -> None:
    room = await running.room()
    running.scheduling.refusals = [Refusal(code, "not now")]
    await issue(running, room)
    assert len(running.scheduling.scheduled) == 2


async def test_a_refusal_that_the_manager_remembers_is_not_asked_for_again(running: Running) -> None:
    room = await running.room()
    running.scheduling.refusals = [Refusal(Code.NO_SUCH_PURPOSE, "nobody ever joined")]
    await issue(running, room)
    (first, told), (again, told_again) = running.scheduling.scheduled
    assert first.task == again.task
    assert told.command != told_again.command


async def test_portals_that_stay_full_are_told_after_a_bounded_time(running: Running) -> None:
    running.scheduling.refusals = [FULL] * 100
    answer = await running.client.post(f"/v1/rooms/{await running.room()}/tokens", json=ADA)
    assert problem(answer, 503, "all_in_full_load") == "all portals are in full load"
    assert answer.headers["Retry-After"] == "1"
    assert await running.types() == ["RoomCreated"]


async def test_without_a_cluster_manager_a_token_is_refused_after_a_bounded_time(running: Running) -> None:
    await running.scheduling.stop()
    answer = await running.client.post(f"/v1/rooms/{await running.room()}/tokens", json=ADA)
    problem(answer, 503, "not_ready")
    assert "Retry-After" in answer.headers


async def test_a_portal_whose_address_cannot_be_signed_is_given_back(running: Running) -> None:
    room = await running.room()
    running.scheduling.info = WorkerInfo(ip="192.0.2.7,evil", port=1, max_load=1)
    problem(await running.client.post(f"/v1/rooms/{room}/tokens", json=ADA), 500, "internal")
    await until(lambda: len(running.scheduling.unscheduled) == 1)
    assert await running.types() == ["RoomCreated"]


async def test_a_reservation_is_given_back_when_the_log_is_full(
    nats_server: NatsServer, tmp_path: Path
) -> None:
    async with Running.on(nats_server, tmp_path / "api") as running:
        room = await running.room()
        admin = await nats_server.connect("admin")
        config = (await admin.jetstream().stream_info("ROOMLEDGER")).config
        await admin.jetstream().update_stream(config.evolve(max_bytes=1))
        problem(await running.client.post(f"/v1/rooms/{room}/tokens", json=ADA), 503, "log_full")
        await until(lambda: len(running.scheduling.unscheduled) == 1)
        given_back, meta = running.scheduling.unscheduled[0]
        asked, first = running.scheduling.scheduled[0]
        assert (given_back.worker, given_back.task) == ("portal-1", asked.task)
        assert meta.correlation == first.correlation
        await admin.jetstream().update_stream(config)
        await issue(running, room)


# -- Revocation


async def test_a_revoked_token_is_revoked_in_the_log_of_its_room(running: Running) -> None:
    room = await running.room()
    token = read(await issue(running, room))[0].token
    answer = await running.client.delete(f"/v1/tokens/{token}")
    assert (answer.status_code, answer.content) == (204, b"")
    last = (await running.commits())[-1]
    assert last.boundary.name == room
    assert last.events[0].data == TokenRevoked(token=token)
    assert answer.headers["Ledger-Sequence"] == str(last.sequence)


async def test_revoking_twice_has_one_effect(running: Running) -> None:
    token = read(await issue(running, await running.room()))[0].token
    answers = await asyncio.gather(*(running.client.delete(f"/v1/tokens/{token}") for _ in range(5)))
    assert {answer.status_code for answer in answers} == {204}
    assert (await running.types()).count("TokenRevoked") == 1


async def test_a_token_that_is_not_there_cannot_be_revoked(running: Running) -> None:
    problem(await running.client.delete("/v1/tokens/nothing"), 404, "invalid_token")


async def test_a_service_revokes_its_own_tokens_only(running: Running) -> None:
    token = read(await issue(running, await running.room()))[0].token
    other = await running.other_service()
    problem(await other.delete(f"/v1/tokens/{token}"), 404, "invalid_token")
    assert "TokenRevoked" not in await running.types()
