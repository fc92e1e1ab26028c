import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from click.testing import Result
from typer.testing import CliRunner

from roomledger.cli.export import export
from roomledger.event_store.errors import NotAnExport
from roomledger.event_store.file_log import FileLog
from roomledger.runtime.errors import FileInTheWay, NoSuchMoment
from tests.support.commits import PORTAL, ROOM, created, joined, joined_worker, log_of
from tests.support.exported import exported
from tests.support.nats import NatsServer
from tests.support.stored import Teller, opened_store

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the command on an exported log."""
    monkeypatch.chdir(tmp_path)
    whole = log_of((PORTAL, joined_worker("w1")), (ROOM, created()), (ROOM, joined("p1")))
    exported(tmp_path / "whole.jsonl", whole)
    return lambda *arguments: CliRunner().invoke(application(), ["--log", "whole.jsonl", *arguments])


def application() -> typer.Typer:
    app = typer.Typer()
    app.command()(export)
    return app


async def test_a_server_s_log_becomes_a_file(
    nats_server: NatsServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    async with opened_store(nats_server) as store:
        await Teller(store).tell(ROOM, created())
    arguments = ["log.jsonl", "--data-dir", str(nats_server.directory.path)]
    result = await asyncio.to_thread(CliRunner().invoke, application(), arguments)
    assert result.exit_code == 0, result.output
    assert "log.jsonl: sequences 1 to 1, 1 commits, 1 events" in result.stdout
    log = FileLog.open(tmp_path / "log.jsonl")
    assert log.commits == 1
    log.close()


def test_programs_get_what_was_exported(run: Run) -> None:
    result = run("part.jsonl", "--to", "2", "--room", "r1", "--json")
    found: dict[str, Any] = json.loads(result.stdout)
    assert (found["commits"], found["header"]["last"], found["header"]["rooms"]) == (2, 2, ["r1"])


def test_names_are_replaced_on_demand(run: Run, tmp_path: Path) -> None:
    assert run("log.jsonl", "--pseudonyms").exit_code == 0
    assert "Ada" in (tmp_path / "whole.jsonl").read_text()
    assert "Ada" not in (tmp_path / "log.jsonl").read_text()


def test_as_sqlite_it_says_how_to_look_at_it(run: Run) -> None:
    assert "look at it with: datasette log.db" in run("log.db").stdout


def test_what_came_before_a_part_is_said_to_be_unknown(run: Run) -> None:
    run("part.jsonl", "--from", "2")
    result = CliRunner().invoke(application(), ["again.jsonl", "--log", "part.jsonl", "--from", "2"])
    assert "part.jsonl begins at sequence 2: what happened before is not known" in result.stderr


def test_a_file_that_is_there_is_replaced_only_by_force(run: Run, tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_text("precious")
    assert isinstance(run("log.jsonl").exception, FileInTheWay)
    assert (tmp_path / "log.jsonl").read_text() == "precious"
    assert run("log.jsonl", "--force").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--from", "noon"], "neither a sequence nor a time"),
        (["--to", "2026-01-01T00:00:00"], "has no time zone"),
        (["--room", "no room"], "is no id"),
        (["--nats", "nats://127.0.0.1:1"], "from a file or from a server"),
    ],
)
def test_what_makes_no_sense_is_refused(run: Run, arguments: list[str], why: str) -> None:
    result = run("log.jsonl", *arguments)
    assert result.exit_code == 2
    assert why in " ".join(result.stderr.replace("│", "").split())


def test_a_moment_beside_the_log_is_told(run: Run) -> None:
    assert isinstance(run("log.jsonl", "--to", "4").exception, NoSuchMoment)


def test_something_else_is_not_read(run: Run, tmp_path: Path) -> None:
    (tmp_path / "whole.jsonl").write_text("hello")
    assert isinstance(run("log.jsonl").exception, NotAnExport)


def test_a_directory_that_is_not_there_is_told(run: Run, tmp_path: Path) -> None:
    result = run("nowhere/log.jsonl")
    assert isinstance(result.exception, FileNotFoundError)
    assert result.exception.filename == "nowhere"
    assert not (tmp_path / "nowhere").exists()
