import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from roomledger.cli.main import app
from roomledger.sdk.errors import ApiRefused
from tests.processes.management_api.running import Running
from tests.support.nats import NatsServer
from tests.support.served import Run, leave
from tests.support.served import running as runner


@pytest.fixture
async def running(nats_server: NatsServer, tmp_path: Path) -> AsyncIterator[Running]:
    async with Running.on(nats_server, tmp_path / "api") as found:
        yield found


@pytest.fixture
def run(running: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run commands with what a `serve` left in the data directory."""
    leave(tmp_path / "data", api=running.api.url, key=running.key)
    monkeypatch.setenv("ROOMLEDGER_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    return runner(app)


async def test_a_created_room_is_told_by_its_id(run: Run, running: Running) -> None:
    result = await run("room", "create", "Lecture", "--limit", "3")
    assert result.exit_code == 0, result.output
    shown = (await running.client.get(f"/v1/rooms/{result.stdout.strip()}")).json()
    assert (shown["name"], shown["participantLimit"]) == ("Lecture", 3)


async def test_a_room_may_be_created_with_an_id(run: Run) -> None:
    assert (await run("room", "create", "Lecture", "--id", "lecture")).stdout == "lecture\n"


async def test_a_created_room_is_told_as_json(run: Run) -> None:
    told = json.loads((await run("room", "create", "Lecture", "--id", "lecture", "--json")).stdout)
    assert (told["id"], told["name"]) == ("lecture", "Lecture")


async def test_a_room_is_shown_to_people_and_to_programs(run: Run) -> None:
    await run("room", "create", "Lecture", "--id", "lecture")
    shown = (await run("room", "show", "lecture")).stdout
    assert "Lecture (lecture), limit: none" in shown
    assert "audio_only_presenter" in shown
    assert json.loads((await run("room", "show", "lecture", "--json")).stdout)["id"] == "lecture"


async def test_a_deleted_room_is_gone(run: Run, running: Running) -> None:
    await run("room", "create", "Lecture", "--id", "lecture")
    assert (await run("room", "delete", "lecture")).exit_code == 0
    assert (await running.client.get("/v1/rooms/lecture")).status_code == 404


async def test_a_deletion_is_told_as_json(run: Run) -> None:
    await run("room", "create", "Lecture", "--id", "lecture")
    assert json.loads((await run("room", "delete", "lecture", "--json")).stdout) == {"deleted": "lecture"}


async def test_a_room_that_is_not_there_is_told_in_a_sentence(run: Run) -> None:
    result = await run("room", "delete", "nowhere")
    assert isinstance(result.exception, ApiRefused)
    assert "there is no room nowhere (404 no_such_room)" in str(result.exception)
