import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import httpx

from tests.processes.management_api.running import Running, problem
from tests.support.nats import NatsServer, until

JSON = {"Content-Type": "application/json"}


async def test_without_a_key_nobody_is_let_in(running: Running) -> None:
    async with httpx.AsyncClient(base_url=running.api.url) as stranger:
        for method, path in (
            ("GET", "/v1/rooms"),
            ("POST", "/v1/rooms"),
            ("GET", "/v1/rooms/r"),
            ("PUT", "/v1/x"),
        ):
            answer = await stranger.request(method, path, content=b"no json")
            assert problem(answer, 401, "unauthenticated")
            assert answer.headers["WWW-Authenticate"].startswith("Bearer")


async def test_a_wrong_key_lets_nobody_in(running: Running) -> None:
    for header in ("Bearer wrong", "Bearer", "Basic YTpi", running.key, f"Bearer {running.key}x"):
        answer = await running.client.get("/v1/rooms", headers={"Authorization": header})
        problem(answer, 401, "unauthenticated")


async def test_a_key_of_any_bytes_is_no_fault(running: Running) -> None:
    answer = await running.client.get("/v1/rooms", headers={b"Authorization": b"Bearer \xff\xfe\x80"})
    problem(answer, 401, "unauthenticated")


async def test_a_header_that_is_too_long_is_not_looked_at(running: Running) -> None:
    answer = await running.client.get("/v1/rooms", headers={"Authorization": "Bearer " + "x" * 3000})
    assert "2048" in problem(answer, 401, "unauthenticated")


async def test_a_path_that_is_not_there_is_a_problem(running: Running) -> None:
    for path in ("/", "/v1/", "/v1/nothing", "/v1/rooms/a/b/c", "/nothing"):
        problem(await running.client.get(path), 404, "no_such_path")


async def test_another_method_is_a_problem_that_names_the_right_ones(running: Running) -> None:
    answer = await running.client.put("/v1/rooms", json={})
    problem(answer, 405, "method_not_allowed")
    assert answer.headers["Allow"]


async def test_what_is_no_json_is_refused(running: Running) -> None:
    for body in (b"{", b"", b"\xff\xfe", b"[" * 60_000, b"1" * 5000, b'{"name": NaN}', b"{'name': 1}"):
        answer = await running.client.post("/v1/rooms", content=body, headers=JSON)
        assert answer.status_code == 400, body[:20]
        assert answer.headers["content-type"] == "application/problem+json"
    assert await running.commits() == []


async def test_a_body_is_json_whatever_its_sender_calls_it(running: Running) -> None:
    problem(await running.client.post("/v1/rooms", data={"name": "x"}), 400, "malformed")
    for kind in ("application/x-www-form-urlencoded", "text/plain", "application/json; charset=utf-8"):
        answer = await running.client.post(
            "/v1/rooms", content=b'{"name": "x"}', headers={"Content-Type": kind}
        )
        assert answer.status_code == 201, kind


async def test_what_was_sent_is_not_repeated(running: Running) -> None:
    answer = await running.client.post("/v1/rooms", json={"name": ["secret"], "x" * 5000: 1})
    assert "secret" not in answer.text
    assert len(answer.text) < 1000


async def test_a_body_that_is_too_large_is_refused(running: Running) -> None:
    for size in (70_000, 1_000_000, 5_000_000):
        answer = await running.client.post(
            "/v1/rooms", content=json.dumps({"name": "x" * size}), headers=JSON
        )
        problem(answer, 413, "too_large")


async def test_a_body_that_grows_too_large_without_saying_so_is_refused(running: Running) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b"x" * 1000

    answer = await running.client.post("/v1/rooms", content=chunks(), headers=JSON)
    problem(answer, 413, "too_large")


async def test_a_body_whose_sender_went_away_has_no_effect(running: Running) -> None:
    head = f"POST /v1/rooms HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {running.key}\r\n"
    body = b'Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nc\r\n{"name":"x"}\r\n'
    _, writer = await asyncio.open_connection("127.0.0.1", int(running.api.url.rpartition(":")[2]))
    writer.write(head.encode() + body)
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    assert (await running.client.get("/readyz")).status_code == 200
    assert await running.commits() == []


async def test_the_largest_body_is_read(running: Running) -> None:
    body = json.dumps({"name": "x"}).ljust(64 * 1024).encode()
    assert (await running.client.post("/v1/rooms", content=body, headers=JSON)).status_code == 201


async def test_every_answer_names_a_sequence(running: Running) -> None:
    for path in ("/v1/rooms", "/healthz", "/readyz", "/docs", "/openapi.json", "/nothing"):
        assert (await running.client.get(path)).headers["Ledger-Sequence"].isdecimal()


async def test_a_sequence_beyond_the_end_of_the_log_is_refused_at_once(running: Running) -> None:
    answer = await running.client.get("/v1/rooms", headers={"Ledger-Sequence": "1000"})
    assert "ends at 0" in problem(answer, 400, "invalid_argument")


async def test_what_is_no_sequence_is_refused(running: Running) -> None:
    for sequence in ("x", "-1", "1.5", "9" * 30, ""):
        answer = await running.client.get("/v1/rooms", headers={"Ledger-Sequence": sequence})
        problem(answer, 400, "invalid_argument")


async def test_a_signed_header_of_an_existing_client_is_good_once(running: Running) -> None:
    header = {"Authorization": running.signed()}
    assert (await running.client.get("/v1/rooms", headers=header)).status_code == 200
    answer = await running.client.get("/v1/rooms", headers=header)
    assert "used already" in problem(answer, 401, "unauthenticated")


async def test_a_header_signed_by_another_key_lets_nobody_in(running: Running) -> None:
    answer = await running.client.get("/v1/rooms", headers={"Authorization": running.signed(key="another")})
    problem(answer, 401, "unauthenticated")


async def test_a_header_of_an_unknown_service_lets_nobody_in(running: Running) -> None:
    for service in ("nobody", "first.service", "*"):
        answer = await running.client.get(
            "/v1/rooms", headers={"Authorization": running.signed(service=service)}
        )
        problem(answer, 401, "unauthenticated")


async def test_without_the_log_what_needs_it_is_refused_and_goes_on_by_itself(
    nats_server: NatsServer, tmp_path: Path
) -> None:
    async with Running.on(nats_server, tmp_path / "api", token_retry_ms=100) as running:
        room = await running.room()
        carried = {"Ledger-Sequence": str((await running.store.position()).sequence)}
        await running.client.get("/v1/rooms", headers=carried)
        await nats_server.stop()
        created = await running.client.post("/v1/rooms", json={"name": "x"})
        problem(created, 503, "log_unavailable")
        assert "Retry-After" in created.headers
        asked = await running.client.post(f"/v1/rooms/{room}/tokens", json={"user": "ada", "role": "viewer"})
        problem(asked, 503, "log_unavailable")
        problem(await running.client.get("/readyz"), 503, "log_unavailable")
        assert (await running.client.get("/healthz")).status_code == 200
        assert [each["id"] for each in (await running.client.get("/v1/rooms")).json()] == [room]
        await nats_server.start()
        await until(lambda: _is_ready(running), 10)
        assert (await running.client.post("/v1/rooms", json={"name": "x"})).status_code == 201


async def _is_ready(running: Running) -> bool:
    return (await running.client.get("/readyz")).status_code == 200
