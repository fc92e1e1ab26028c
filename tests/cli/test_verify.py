import asyncio
import json
import sqlite3
from pathlib import Path

import msgspec
import pytest
import typer
from click.testing import Result
from typer.testing import CliRunner

from roomledger.cli.verify import verify
from roomledger.domain.placement import Schedule
from roomledger.domain.purpose import PurposeSettings
from roomledger.runtime.errors import LogInPart
from roomledger_events.envelope import Commit, Payload
from roomledger_events.tasks import WorkerReserved
from tests.support.decided import PurposeLog, tampered
from tests.support.exported import exported, header_of
from tests.support.serving import run, serving

app = typer.Typer()
app.command()(verify)


def other_winner(data: Payload) -> Payload | None:
    return msgspec.structs.replace(data, worker="w2") if isinstance(data, WorkerReserved) else None


async def verified(path: Path, commits: list[Commit], *arguments: str, **header: int) -> Result:
    exported(path / "log", commits, header_of(commits[-1].sequence, **header))
    arguments = ("--log", str(path / "log"), *arguments)
    return await asyncio.to_thread(CliRunner().invoke, app, arguments, env={"COLUMNS": "140"})


@pytest.fixture
def log() -> PurposeLog:
    return PurposeLog(PurposeSettings("sip", "least-used")).workers("w1", "w2").do(Schedule("t1"))


async def test_a_cluster_is_verified_while_it_serves_and_a_missing_row_is_named(tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with serving(data):
        code, token, errors = await run(data, "token", "--user", "ada")
        assert code == 0, errors
        code, _, errors = await run(data, "join", "-", "--for", "0.1", stdin=token)
        assert code == 0, errors
        code, out, errors = await run(data, "verify", "--json")
        assert (code, errors) == (0, ""), out
        report = json.loads(out)
        assert (report["wrong"], report["notes"]) == (0, ["there is no snapshot to compare"])
        assert report["figures"]["states compared"] == 2
        assert report["figures"]["decisions that agree"] == report["figures"]["decisions"] == 2
        code, out, _ = await run(data, "verify")
        assert (code, "Nothing is wrong" in out) == (0, True)
    with sqlite3.connect(data / "projections" / "tokens.sqlite") as db:
        db.execute("DELETE FROM tokens")
    db.close()
    async with serving(data):
        code, out, errors = await run(data, "verify", COLUMNS="140")
        assert (code, errors) == (1, "")
        assert "1 findings" in out
        assert "is missing" in out
        assert "there is no snapshot" not in out


async def test_a_file_is_verified_without_a_server(log: PurposeLog, tmp_path: Path) -> None:
    result = await verified(tmp_path, log.commits)
    assert (result.exit_code, "Nothing is wrong" in result.output) == (0, True)


async def test_a_tampered_winner_in_a_file_is_named(log: PurposeLog, tmp_path: Path) -> None:
    changed = tampered(log.commits, other_winner)
    result = await verified(tmp_path, changed)
    assert result.exit_code == 1
    assert "the log says w2, the rules choose w1" in result.output
    report = json.loads((await verified(tmp_path, changed, "--json")).output)
    assert [(each["check"], each["about"]) for each in report["findings"]] == [("decisions", "t1")]


async def test_a_part_of_a_log_is_not_verified(log: PurposeLog, tmp_path: Path) -> None:
    result = await verified(tmp_path, log.commits[2:], first=3)
    assert isinstance(result.exception, LogInPart)
    assert "holds a part of a log, and this needs the log from its beginning on" in str(result.exception)
