import asyncio
import json
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
import typer
from click.testing import Result
from typer.testing import CliRunner

from roomledger.cli.simulate import simulate
from roomledger.domain.placement import Schedule
from roomledger.domain.purpose import PurposeSettings
from tests.cli.test_verify import other_winner
from tests.support.decided import PurposeLog, tampered
from tests.support.exported import exported

app = typer.Typer()
app.command()(simulate)


@pytest.fixture
def log() -> PurposeLog:
    log = PurposeLog(PurposeSettings("sip", "last-used")).workers("w1", "w2")
    for number in range(4):
        log.do(Schedule(f"t{number}"))
    return log


async def run(path: Path, log: PurposeLog, *arguments: str) -> Result:
    exported(path / "log", log.commits)
    given = ("--log", str(path / "log"), *arguments)
    return await asyncio.to_thread(CliRunner().invoke, app, given, env={"COLUMNS": "160"})


async def test_with_nothing_changed_nothing_moves(log: PurposeLog, tmp_path: Path) -> None:
    result = await run(tmp_path, log)
    assert result.exit_code == 0
    assert "4 requests, 0 went elsewhere" in result.output


async def test_winners_that_are_not_reproduced_are_told(log: PurposeLog, tmp_path: Path) -> None:
    log.commits = tampered(log.commits, other_winner)
    result = await run(tmp_path, log)
    assert result.exit_code == 1
    assert "recorded winners were not reproduced" in result.stderr
    assert "t0: w2 → w1" in result.output


async def test_another_strategy_is_told_to_programs(log: PurposeLog, tmp_path: Path) -> None:
    result = await run(tmp_path, log, "--strategy", "sip=round-robin", "--json")
    (told,) = json.loads(result.output)["purposes"]
    assert [(each["worker"], each["placed"], each["placed_simulated"]) for each in told["workers"]] == [
        ("w1", 4, 2),
        ("w2", 0, 2),
    ]
    assert (told["moved"], result.exit_code) == (2, 0)


async def test_a_change_of_another_purpose_changes_nothing(log: PurposeLog, tmp_path: Path) -> None:
    result = await run(tmp_path, log, "--strategy", "portal=round-robin", "--json")
    assert json.loads(result.output)["purposes"][0]["moved"] == 0


async def test_a_span_begins_and_ends_where_it_is_told_to(log: PurposeLog, tmp_path: Path) -> None:
    result = await run(tmp_path, log, "--from", "7", "--to", "8", "--json")
    told = json.loads(result.output)
    assert (told["first"], told["last"], told["purposes"][0]["requests"]) == (7, 8, 2)


async def test_it_can_be_drawn(log: PurposeLog, tmp_path: Path) -> None:
    picture = tmp_path / "simulated.svg"
    await run(tmp_path, log, "--without", "w1", "--plot", str(picture))
    root = ET.fromstring(picture.read_text())  # noqa: S314  - our own
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    texts = [each.text or "" for each in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"w1", "w2"} <= set(texts)
    assert any("4 of 4 went elsewhere" in text for text in texts)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--strategy", "sip=by-the-stars"), "there is no strategy 'by-the-stars'"),
        (("--max-load", "0"), "a limit is more than 0"),
        (("--task-load", "sip=much"), "'much' is no load"),
        (("--from", "2026-01-01T00:00:00"), "has no time zone"),
        (("--from", "9", "--to", "3"), "the second moment is before the first"),
    ],
)
async def test_what_is_no_change_is_told(
    log: PurposeLog, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    result = await run(tmp_path, log, *arguments)
    assert result.exit_code == 2
    assert message in result.output


async def test_a_picture_is_written_over_a_file_only_by_force(log: PurposeLog, tmp_path: Path) -> None:
    picture = tmp_path / "kept.svg"
    picture.write_text("mine")
    refused = await run(tmp_path, log, "--plot", str(picture))
    assert (refused.exit_code, picture.read_text()) == (2, "mine")
    assert "is there already" in refused.output
    forced = await run(tmp_path, log, "--plot", str(picture), "--force")
    assert (forced.exit_code, "<svg" in picture.read_text()) == (0, True)


async def test_a_picture_has_to_have_a_directory(log: PurposeLog, tmp_path: Path) -> None:
    result = await run(tmp_path, log, "--plot", str(tmp_path / "nowhere" / "x.svg"))
    assert (result.exit_code, "there is no directory" in result.output) == (2, True)


async def test_that_nobody_knows_a_worker_that_is_left_out_is_told(log: PurposeLog, tmp_path: Path) -> None:
    result = await run(tmp_path, log, "--without", "w7", "--without", "w1")
    assert "w7, which is to be left out, is no worker in this part of the log" in result.stderr
    assert "w1, which" not in result.stderr
