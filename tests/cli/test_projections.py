import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from roomledger.cli.projections import projections
from roomledger.event_store.jetstream import JetStreamStore
from roomledger_projections.errors import NotAProjection
from tests.support.commits import PORTAL, ROOM, created, joined_worker
from tests.support.nats import NatsServer
from tests.support.stored import Teller, opened_store

Run = Callable[..., Coroutine[Any, Any, Result]]


@pytest.fixture
async def store(nats_server: NatsServer) -> AsyncIterator[JetStreamStore]:
    async with opened_store(nats_server) as store:
        teller = Teller(store)
        await teller.tell(PORTAL, joined_worker("w1"))
        await teller.tell(ROOM, created())
        yield store


@pytest.fixture
def run(nats_server: NatsServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("ROOMLEDGER_DATA_DIR", str(nats_server.directory.path))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)

    async def run(*arguments: str) -> Result:
        return await asyncio.to_thread(CliRunner().invoke, projections, arguments)

    return run


def file_of(server: NatsServer, name: str) -> Path:
    return server.directory.path / "projections" / f"{name}.sqlite"


@pytest.mark.usefixtures("store")
async def test_what_was_rebuilt_is_told_by_the_status(run: Run) -> None:
    done = await run("rebuild", "rooms")
    assert done.exit_code == 0, done.output
    assert "rooms is rebuilt from 1 event, up to sequence 2" in done.stdout
    found = {each["projection"]: each for each in json.loads((await run("status", "--json")).stdout)}
    assert (found["rooms"]["state"], found["rooms"]["sequence"], found["rooms"]["lag"]) == ("ready", 2, 0)
    assert found["tokens"]["state"] == "missing"


@pytest.mark.usefixtures("store")
async def test_people_get_a_table(run: Run) -> None:
    await run("rebuild", "cluster")
    shown = (await run("status")).stdout
    for word in ("projection", "position", "behind", "held", "cluster", "ready", "KiB", "missing"):
        assert word in shown


@pytest.mark.usefixtures("store")
async def test_without_a_server_the_files_are_shown_all_the_same(
    run: Run, nats_server: NatsServer, tmp_path: Path
) -> None:
    await run("rebuild", "rooms")
    moved = tmp_path / "moved"
    await asyncio.to_thread(file_of(nats_server, "rooms").parent.rename, moved)
    alone = tmp_path / "alone"
    await asyncio.to_thread(alone.mkdir)
    await asyncio.to_thread(moved.rename, alone / "projections")
    result = await run("status", "--data-dir", str(alone))
    assert result.exit_code == 0
    assert "how far they are behind is not known: no connection" in result.stderr


@pytest.mark.usefixtures("store")
async def test_a_file_that_cannot_be_used_is_told_with_exit_code_1(run: Run, nats_server: NatsServer) -> None:
    await run("rebuild", "rooms")
    path = file_of(nats_server, "rooms")
    await asyncio.to_thread(path.write_text, "a shopping list\n" * 100)
    result = await run("status")
    assert result.exit_code == 1
    assert "rooms.sqlite: file is not a database" in result.stderr.replace("\n", "")
    assert isinstance((await run("rebuild", "rooms")).exception, NotAProjection)
    assert (await run("rebuild", "rooms", "--force")).exit_code == 0


async def test_a_name_that_is_none_is_refused(run: Run) -> None:
    result = await run("rebuild", "recipes")
    assert result.exit_code == 2
    assert "there is no 'recipes'" in result.stderr
