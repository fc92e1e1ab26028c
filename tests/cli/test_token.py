import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
import typer
from click.testing import Result
from typer.testing import CliRunner

from roomledger.cli.token import token
from roomledger.domain.signed_token import read
from roomledger.sdk.errors import ApiRefused, ApiUnreachable, NoServiceKey
from tests.processes.management_api.running import Running
from tests.support.nats import NatsServer

Run = Callable[..., Coroutine[Any, Any, Result]]


@pytest.fixture
async def running(nats_server: NatsServer, tmp_path: Path) -> AsyncIterator[Running]:
    async with Running.on(nats_server, tmp_path / "api") as found:
        yield found


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the command with the data directory of a `serve`, as far as there is one."""
    monkeypatch.setenv("ROOMLEDGER_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    app = typer.Typer()
    app.command()(token)

    async def run(*arguments: str, **environment: str) -> Result:
        return await asyncio.to_thread(CliRunner().invoke, app, arguments, env=environment)

    return run


@pytest.fixture
def served(running: Running, tmp_path: Path) -> Running:
    """Leave in the data directory what `serve` leaves there."""
    data = tmp_path / "data"
    data.mkdir()
    (data / "endpoints.json").write_text(json.dumps({"api": running.api.url}))
    (data / "service.json").write_text(json.dumps({"service_id": "s", "service_key": running.key}))
    return running


@pytest.mark.usefixtures("served")
async def test_a_user_is_all_that_has_to_be_named(run: Run) -> None:
    result = await run("--user", "ada")
    assert result.exit_code == 0, result.output
    read(result.stdout.strip())


@pytest.mark.usefixtures("served")
async def test_only_the_token_is_printed(run: Run) -> None:
    result = await run("--user", "ada")
    assert result.stdout.count("\n") == 1
    assert "created the room 'demo'" in result.stderr


async def test_the_demo_room_is_created_once(run: Run, served: Running) -> None:
    for user in ("ada", "bob"):
        await run("--user", user)
    assert [room["name"] for room in (await served.client.get("/v1/rooms")).json()] == ["demo"]


async def test_a_room_may_be_named_by_its_id(run: Run, served: Running) -> None:
    room = await served.room()
    result = await run("--user", "ada", "--room", room, "--role", "viewer")
    assert read(result.stdout.strip())[0].room == room


async def test_a_room_may_be_created_for_it(run: Run, served: Running) -> None:
    await run("--user", "ada", "--create-room", "Ada's")
    assert [room["name"] for room in (await served.client.get("/v1/rooms")).json()] == ["Ada's"]


async def test_json_tells_what_goes_with_the_token(run: Run, served: Running) -> None:
    room = await served.room()
    told = json.loads((await run("--user", "ada", "--room", room, "--json")).stdout)
    claims, _ = read(told["token"])
    assert told == {
        "token": told["token"],
        "token_id": claims.token,
        "room": room,
        "room_name": "Room one",
        "user": "ada",
        "role": "presenter",
        "url": claims.url,
    }


async def test_where_the_user_is_goes_along(run: Run, served: Running) -> None:
    await run("--user", "ada", "--isp", "isp-1", "--region", "eu")
    request, _ = served.scheduling.scheduled[0]
    assert (request.preference.isp, request.preference.region) == ("isp-1", "eu")


async def test_api_and_key_may_be_named(run: Run, running: Running) -> None:
    result = await run("--user", "ada", "--api", running.api.url, "--key", running.key)
    assert result.exit_code == 0, result.output


async def test_the_key_may_come_from_the_environment(run: Run, running: Running) -> None:
    result = await run("--user", "ada", "--api", running.api.url, ROOMLEDGER_SERVICE_KEY=running.key)
    assert result.exit_code == 0, result.output


@pytest.mark.usefixtures("served")
async def test_what_the_api_refuses_is_told_in_a_sentence(run: Run) -> None:
    result = await run("--user", "ada", "--role", "king")
    assert result.exit_code == 1
    assert isinstance(result.exception, ApiRefused)
    assert str(result.exception).endswith("the room has no role 'king' (400 invalid_role)")
    assert result.stdout == ""


@pytest.mark.usefixtures("served")
async def test_a_room_that_is_not_there_is_told_in_a_sentence(run: Run) -> None:
    result = await run("--user", "ada", "--room", "../nowhere")
    assert isinstance(result.exception, ApiRefused)


async def test_without_an_api_that_is_told_in_a_sentence(run: Run) -> None:
    result = await run("--user", "ada", "--api", "http://127.0.0.1:9", "--key", "k")
    assert isinstance(result.exception, ApiUnreachable)
    assert "is `roomledger serve` running?" in str(result.exception)


async def test_something_else_that_answers_is_told_in_a_sentence(run: Run, nats_server: NatsServer) -> None:
    url = nats_server.url.replace("nats://", "http://")
    assert isinstance((await run("--user", "ada", "--api", url, "--key", "k")).exception, ApiUnreachable)


async def test_a_url_that_is_none_is_told_in_a_sentence(run: Run) -> None:
    for url in ("nonsense", "http://[", "ftp://127.0.0.1", "http://127.0.0.1:99999"):
        result = await run("--user", "ada", "--api", url, "--key", "k")
        assert isinstance(result.exception, ApiUnreachable), url


async def test_without_a_key_that_is_told_in_a_sentence(run: Run) -> None:
    result = await run("--user", "ada", "--api", "http://127.0.0.1:9")
    assert isinstance(result.exception, NoServiceKey)
    assert "service.json" in str(result.exception)


async def test_a_broken_file_is_named(run: Run, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "service.json").write_text("{")
    result = await run("--user", "ada", "--api", "http://127.0.0.1:9")
    assert isinstance(result.exception, OSError)
    assert "service.json" in str(result.exception)


async def test_a_room_is_either_there_or_created(run: Run) -> None:
    assert (await run("--user", "ada", "--room", "r", "--create-room", "x")).exit_code == 2
