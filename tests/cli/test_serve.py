import asyncio
import json
import os
import shutil
import signal
import socket
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from roomledger.domain.signed_token import read
from roomledger.sdk.client import Client
from roomledger.sdk.errors import RequestRefused
from tests.support.serving import Serving, environment, run, serving, start

OLD_NATS = Path(__file__).parents[2] / ".tools/nats-server-2.11/bin/nats-server"


def api(server: Serving) -> httpx.AsyncClient:
    key = server.ready["service_key"]
    return httpx.AsyncClient(
        base_url=server.ready["api"], headers={"Authorization": f"Bearer {key}"}, timeout=20
    )


async def create_room(client: httpx.AsyncClient, **options: Any) -> str:  # noqa: ANN401  - JSON values
    answer = await client.post("/v1/rooms", json={"name": "test", "options": options})
    assert answer.status_code == 201, answer.text
    room: str = answer.json()["id"]
    return room


async def ask_for_token(client: httpx.AsyncClient, room: str, user: str = "ada") -> str:
    answer = await client.post(f"/v1/rooms/{room}/tokens", json={"user": user, "role": "presenter"})
    assert answer.status_code == 200, answer.text
    return answer.text


async def log_in(token: str, url: str) -> str | None:
    """Join and leave; return the code that a login was refused with."""
    client = Client(token, url=url)
    try:
        await client.connect()
        await client.login()
        await client.logout()
    except RequestRefused as refused:
        return refused.code
    finally:
        await client.close()
    return None


async def state(data: Path) -> dict[str, Any]:
    """Return what `replay` prints, without what differs by the moment."""
    code, out, errors = await run(data, "replay", "--json")
    assert code == 0, errors
    told: dict[str, Any] = json.loads(out)
    return told


async def test_it_says_when_it_is_ready_and_stops_cleanly(tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with serving(data) as server:
        assert server.ready["event"] == "ready"
        assert set(server.ready) >= {"nats", "api", "portal", "socketio", "service_id", "service_key"}
        async with api(server) as client:
            assert (await client.get("/healthz")).status_code == 200
        pid = int((data / "nats-server.lock").read_text())
        assert await server.stop(signal.SIGINT) == 0
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert "Traceback" not in server.errors
    assert server.ready["service_key"] not in server.errors


async def test_existing_clients_are_served_where_tokens_say_and_native_ones_where_their_url_says(
    tmp_path: Path,
) -> None:
    async with serving(tmp_path / "data") as server, api(server) as client:
        claims = read(await ask_for_token(client, await create_room(client)))[0]
        assert server.ready["socketio"] == f"http://{claims.host}"
        assert server.ready["portal"] == claims.url
        handshake = f"{server.ready['socketio']}/socket.io/?EIO=4&transport=polling"
        assert (await client.get(handshake)).text.startswith('0{"sid":')


async def test_started_again_it_goes_on_where_it_was(tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with serving(data) as server, api(server) as client:
        room = await create_room(client)
        await ask_for_token(client, room)
    async with serving(data) as again, api(again) as client:
        assert again.ready["service_key"] == server.ready["service_key"]
        assert (await client.get(f"/v1/rooms/{room}")).status_code == 200


async def test_the_state_is_the_same_after_the_projections_were_deleted(tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with serving(data) as server, api(server) as client:
        room = await create_room(client)
        token = await ask_for_token(client, room)
        assert await log_in(token, server.ready["portal"]) is None
        before = (await client.get("/v1/rooms")).json()
        replayed = await state(data)
        assert replayed["rooms"][0]["id"] == room
    shutil.rmtree(data / "projections")
    async with serving(data) as again, api(again) as client:
        assert (await client.get("/v1/rooms")).json() == before
        after = await state(data)
        assert [each["id"] for each in after["rooms"]] == [room]
        assert [each["id"] for each in after["tokens"]] == [each["id"] for each in replayed["tokens"]]


@pytest.mark.chaos
async def test_a_kill_in_the_middle_of_a_thousand_token_requests_loses_no_answered_token(
    tmp_path: Path,
) -> None:
    data = tmp_path / "data"
    server = await start(data, ROOMLEDGER_SERVICE_KEY="k" * 40, ROOMLEDGER_TOKEN_LIFE_MS="600000")
    answered: list[str] = []
    async with api(server) as client:
        room = await create_room(client)
        busy = asyncio.Semaphore(32)

        async def request() -> None:
            async with busy:
                try:
                    answered.append(await ask_for_token(client, room))
                except httpx.TransportError:
                    return
                if len(answered) == 300:
                    await server.stop(signal.SIGKILL)

        await asyncio.gather(*(request() for _ in range(1000)), return_exceptions=True)
    assert 300 <= len(answered) < 1000
    async with serving(data, ROOMLEDGER_SERVICE_KEY="k" * 40) as again:
        known = {each["id"] for each in (await state(data))["tokens"]}
        assert {read(token)[0].token for token in answered} <= known
        busy = asyncio.Semaphore(16)

        async def use(token: str) -> tuple[str | None, str | None]:
            async with busy:
                url = again.ready["portal"]
                return await log_in(token, url), await log_in(token, url)

        used = await asyncio.gather(*(use(token) for token in answered))
        assert set(used) == {(None, "token_used")}


async def test_of_two_logins_with_one_token_at_the_same_time_exactly_one_wins(tmp_path: Path) -> None:
    async with serving(tmp_path / "data") as server, api(server) as client:
        room = await create_room(client)
        for _ in range(100):
            token = await ask_for_token(client, room)
            answers = await asyncio.gather(*(log_in(token, server.ready["portal"]) for _ in range(2)))
            assert sorted(answers, key=str) == [None, "token_used"]


async def test_a_login_refused_by_a_full_room_leaves_its_token_usable(tmp_path: Path) -> None:
    async with serving(tmp_path / "data") as server, api(server) as client:
        room = await create_room(client, participantLimit=1)
        first = Client(await ask_for_token(client, room), url=server.ready["portal"])
        await first.connect()
        await first.login()
        token = await ask_for_token(client, room)
        assert await log_in(token, server.ready["portal"]) == "room_full"
        await first.logout()
        await first.close()
        assert await log_in(token, server.ready["portal"]) is None


async def test_each_process_can_be_run_alone(tmp_path: Path) -> None:
    alone = tmp_path / "nats"
    async with serving(alone, "serve") as server:
        secret = json.loads((alone / "nats-credentials.json").read_text())["service"]
        own = {
            "ROOMLEDGER_NATS_URL": server.ready["nats"],
            "ROOMLEDGER_NATS_PASSWORD": secret,
        }
        async with (
            serving(tmp_path / "m", "cluster-manager", **own),
            serving(tmp_path / "c", "conference", **own),
            serving(tmp_path / "p", "portal", **own) as portal,
            serving(tmp_path / "a", "management-api", **own) as management,
            api(management) as client,
        ):
            token = await ask_for_token(client, await create_room(client))
            assert await log_in(token, portal.ready["portal"]) is None


async def test_a_log_that_is_another_one_is_refused_by_name(tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with serving(data) as server, api(server) as client:
        await create_room(client)
    shutil.rmtree(data / "jetstream")
    code, _, errors = await run(data, "serve")
    assert code == 1
    assert "not the log that was known" in errors
    assert "Traceback" not in errors


async def test_a_log_that_went_back_is_refused_by_name(tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with serving(data) as server, api(server) as client:
        await create_room(client)
    shutil.copytree(data / "jetstream", tmp_path / "earlier")
    async with serving(data) as server, api(server) as client:
        for _ in range(20):
            await create_room(client)
    shutil.rmtree(data / "jetstream")
    shutil.copytree(tmp_path / "earlier", data / "jetstream")
    code, _, errors = await run(data, "serve")
    assert code == 1
    assert "not the log that was known" in errors
    assert "Traceback" not in errors


async def test_a_data_directory_in_use_is_told_in_a_sentence(tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with serving(data):
        code, _, errors = await run(data, "serve")
    assert (code, errors.count("\n")) == (1, 1)
    assert str(data) in errors


@pytest.mark.parametrize("name", ["NATS", "API", "PORTAL"])
async def test_a_port_in_use_is_told_in_a_sentence(tmp_path: Path, name: str) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = str(listener.getsockname()[1])
        code, _, errors = await run(tmp_path / "data", "serve", **{f"ROOMLEDGER_{name}_PORT": port})
    assert code == 1
    assert port in errors.splitlines()[-1]
    assert f"ROOMLEDGER_{name}_PORT" in errors.splitlines()[-1]
    assert "Traceback" not in errors


async def test_a_directory_that_cannot_be_written_is_told_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "roomledger",
        "serve",
        env=environment(tmp_path / "file" / "data"),
        stderr=asyncio.subprocess.PIPE,
    )
    _, errors = await child.communicate()
    assert (child.returncode, errors.count(b"\n")) == (1, 1)
    assert b"file" in errors


async def test_a_nats_server_that_is_too_old_is_told_in_a_sentence(tmp_path: Path) -> None:
    code, _, errors = await run(tmp_path / "data", "serve", ROOMLEDGER_NATS_SERVER=str(OLD_NATS))
    assert (code, errors.count("\n")) == (1, 1)
    assert "2.12" in errors


async def test_the_nats_server_can_be_named_in_the_file_of_settings(tmp_path: Path) -> None:
    (tmp_path / "roomledger.toml").write_text(f"nats_server = '{OLD_NATS}'")
    code, _, errors = await run(tmp_path / "data", "serve")
    assert (code, errors.count("\n")) == (1, 1)
    assert "2.12" in errors


@pytest.mark.parametrize(
    ("toml", "said"),
    [
        ("[scheduler.portal]\nstrategy = 'best'", "best"),
        ("colour = 'red'", "colour"),
        ("token_life_ms = 'x'", "token_life_ms"),
        ("= broken", "roomledger.toml"),
    ],
)
async def test_a_wrong_setting_is_told_in_a_sentence(tmp_path: Path, toml: str, said: str) -> None:
    (tmp_path / "roomledger.toml").write_text(toml)
    code, _, errors = await run(tmp_path / "data", "serve")
    assert code in {1, 2}
    assert said in errors.splitlines()[-1]
    assert "Traceback" not in errors
