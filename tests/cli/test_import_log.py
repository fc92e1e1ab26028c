import asyncio
import json
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from roomledger.cli.export import export
from roomledger.cli.import_log import import_log
from roomledger.event_store.errors import ExportDamaged, NotPermitted
from roomledger.runtime.errors import ExportNotWhole, LogNotEmpty
from tests.support.commits import PORTAL, ROOM, created, joined_worker, log_of
from tests.support.exported import exported
from tests.support.nats import NatsServer, until

LONG = 6_000
"""An import of so many commits does not end before it is killed."""


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> typer.Typer:
    monkeypatch.chdir(tmp_path)
    exported(tmp_path / "log.jsonl", log_of((PORTAL, joined_worker("w1")), (ROOM, created())))
    app = typer.Typer()
    app.command("import")(import_log)
    app.command("export")(export)
    return app


def test_where_nothing_serves_it_is_brought_into_a_new_data_directory(app: typer.Typer) -> None:
    result = CliRunner().invoke(app, ["import", "log.jsonl", "--data-dir", "new"])
    assert result.exit_code == 0, result.output
    assert "2 commits, 2 events, up to sequence 2" in result.stdout
    again = CliRunner().invoke(app, ["import", "log.jsonl", "--data-dir", "new"])
    assert again.exit_code == 0, again.output
    assert "sequences up to 2 were there already" in again.stderr
    assert "0 commits, 0 events, up to sequence 2" in again.stdout


def test_another_log_is_not_brought_into_it(app: typer.Typer, tmp_path: Path) -> None:
    assert CliRunner().invoke(app, ["import", "log.jsonl", "--data-dir", "new"]).exit_code == 0
    exported(tmp_path / "other.jsonl", log_of((ROOM, created()), (PORTAL, joined_worker("w1"))))
    other = CliRunner().invoke(app, ["import", "other.jsonl", "--data-dir", "new"])
    assert isinstance(other.exception, LogNotEmpty)
    assert "at 1 it is not what the file holds" in str(other.exception)


async def test_the_auditor_may_not_import(
    app: typer.Typer, nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROOMLEDGER_NATS_USER", "audit")
    there = ["--data-dir", str(nats_server.directory.path)]
    result = await asyncio.to_thread(CliRunner().invoke, app, ["import", "log.jsonl", *there])
    assert isinstance(result.exception, NotPermitted)
    assert "does not let the user audit write to the log" in str(result.exception)


async def test_it_is_brought_to_a_server_and_back(app: typer.Typer, nats_server: NatsServer) -> None:
    there = ["--data-dir", str(nats_server.directory.path)]
    imported = await asyncio.to_thread(CliRunner().invoke, app, ["import", "log.jsonl", "--json", *there])
    assert json.loads(imported.stdout.splitlines()[-1]) == {
        "commits": 2,
        "events": 2,
        "gaps": 0,
        "last": 2,
        "before": 0,
    }
    exported_again = await asyncio.to_thread(CliRunner().invoke, app, ["export", "again.jsonl", *there])
    assert exported_again.exit_code == 0


def test_a_part_of_a_log_is_refused_before_anything_is_started(app: typer.Typer, tmp_path: Path) -> None:
    CliRunner().invoke(app, ["export", "part.jsonl", "--log", "log.jsonl", "--from", "2"])
    result = CliRunner().invoke(app, ["import", "part.jsonl", "--data-dir", "new"])
    assert isinstance(result.exception, ExportNotWhole)
    assert not (tmp_path / "new").exists()


def test_a_cut_file_is_refused_before_anything_is_started(app: typer.Typer, tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(path.read_bytes()[:-40])
    assert isinstance(
        CliRunner().invoke(app, ["import", "log.jsonl", "--data-dir", "new"]).exception, ExportDamaged
    )
    assert not (tmp_path / "new").exists()


async def test_one_that_is_killed_goes_on_when_it_is_run_again(
    nats_server: NatsServer, tmp_path: Path
) -> None:
    exported(tmp_path / "long.jsonl", log_of(*[(ROOM, created())] * LONG))
    there = str(nats_server.directory.path)
    command = (sys.executable, "-m", "roomledger", "import", "long.jsonl", "--json", "--data-dir", there)
    killed = await asyncio.create_subprocess_exec(*command, cwd=tmp_path, stderr=asyncio.subprocess.DEVNULL)
    client = await nats_server.connect("service")

    async def begun() -> bool:
        info = await client.request("$JS.API.STREAM.INFO.ROOMLEDGER", timeout=5)
        return json.loads(info.data).get("state", {}).get("last_seq", 0) > 0

    await until(begun, seconds=20)
    killed.kill()
    await killed.wait()
    again = await asyncio.create_subprocess_exec(*command, cwd=tmp_path, stdout=asyncio.subprocess.PIPE)
    out, _ = await again.communicate()
    told = json.loads(out.splitlines()[-1])
    assert 0 < told["before"] < LONG
    assert told["before"] + told["commits"] == told["last"] == LONG
    info = json.loads((await client.request("$JS.API.STREAM.INFO.ROOMLEDGER", timeout=5)).data)
    assert (info["state"]["messages"], info["state"]["last_seq"]) == (LONG, LONG)
