import asyncio
import json
import signal
import sys
from collections.abc import Callable, Coroutine
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import typer
from click.testing import Result
from typer.testing import CliRunner

from roomledger.cli import replay as command
from roomledger.cli.log import printable
from roomledger.cli.playing import Pace, speed_of
from roomledger.runtime.errors import NoSuchMoment
from roomledger_events.rooms import ParticipantLeft
from tests.support.commits import (
    PORTAL,
    ROOM,
    START,
    TOKENS,
    created,
    issued,
    joined,
    joined_worker,
    log_of,
    reserved,
)
from tests.support.exported import exported

Run = Callable[..., Coroutine[Any, Any, Result]]
LOG = log_of(
    (PORTAL, joined_worker("w1")),
    (ROOM, created()),
    (PORTAL, reserved("code-t1")),
    (TOKENS, issued("t1")),
    (ROOM, joined("p1")),
    (ROOM, ParticipantLeft(participant="p1", reason="logout")),
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return exported(tmp_path / "log.jsonl", LOG)


@pytest.fixture
def run(file: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the command on an exported log."""
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(file.parent)
    app = typer.Typer()
    app.command()(command.replay)

    async def run(*arguments: str) -> Result:
        return await asyncio.to_thread(CliRunner().invoke, app, [*arguments, "--log", str(file)])

    return run


async def addresses(run: Run, *arguments: str) -> list[str]:
    result = await run("--json", *arguments)
    assert result.exit_code == 0, result.output
    return [json.loads(line)["address"] for line in result.stdout.splitlines()]


async def test_people_get_a_line_an_event_that_says_what_happened(run: Run) -> None:
    result = await run("--from", "5", "--to", "5")
    assert result.stdout == (
        "2026-01-01T00:00:05.000000Z       5.0  service:s1  participant p1 joined room r1 as 'Ada',"
        " 'presenter', with token t1 at portal w1\n"
    )


async def test_programs_get_an_object_a_line(run: Run) -> None:
    (line,) = (await run("--from", "6", "--json")).stdout.splitlines()
    told = json.loads(line)
    assert told["what"] == "participant p1 left room r1, logged out"
    assert (told["address"], told["boundary"], told["stored"], told["data"]["participant"]) == (
        *("6.0", "room.r1", "2026-01-01T00:00:06.000000Z", "p1"),
    )


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--from", "4"], ["4.0", "5.0", "6.0"]),
        (["--to", "2026-01-01T00:00:02Z"], ["1.0", "2.0"]),
        (["--from", "2026-01-01T01:00:03+01:00", "--to", "4"], ["3.0", "4.0"]),
        (["--room", "r1"], ["2.0", "4.0", "5.0", "6.0"]),
        (["--user", "Ada"], ["3.0", "4.0", "5.0", "6.0"]),
        (["--token", "t1"], ["3.0", "4.0", "5.0", "6.0"]),
        (["--participant", "p1"], ["3.0", "4.0", "5.0", "6.0"]),
        (["--worker", "w1"], ["1.0", "3.0", "4.0", "5.0"]),
        (["--task", "code-t1"], ["3.0", "4.0"]),
        (["--token", "t1", "--room", "r1", "--from", "5"], ["5.0", "6.0"]),
        (["--speed", "max", "--to", "1"], ["1.0"]),
        (["--speed", "1000", "--from", "5"], ["5.0", "6.0"]),
    ],
)
async def test_the_part_that_is_asked_for_is_played(
    run: Run, arguments: list[str], expected: list[str]
) -> None:
    assert await addresses(run, *arguments) == expected


async def test_what_is_not_there_is_said_and_is_no_success(run: Run) -> None:
    result = await run("--token", "t9")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "nothing of that is in this part of the log\n"


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--at", "3", "--from", "2"], "show a moment, compare two, or play a span"),
        (["--at", "3", "--diff", "2", "3"], "show a moment, compare two, or play a span"),
        (["--from", "5", "--to", "4"], "the second moment is before the first"),
        (["--diff", "5", "4"], "the second moment is before the first"),
        (["--from", "2026-01-01T00:00:03"], "has no time zone"),
        (["--diff", "2026-01-01", "3"], "has no time zone"),
        (["--to", "1042.3"], "is neither a sequence nor a time"),
        (["--from", "1", "--speed", "0"], "is neither a number above 0 nor max"),
        (["--from", "1", "--speed", "nan"], "is neither a number above 0 nor max"),
        (["--from", "1", "--speed", "fast"], "is neither a number above 0 nor max"),
        (["--nats", "nats://127.0.0.1:1"], "a log is read from a file or from a server"),
    ],
)
async def test_what_makes_no_sense_is_refused(run: Run, arguments: list[str], reason: str) -> None:
    result = await run(*arguments)
    assert result.exit_code == 2
    assert reason in " ".join(result.output.split())


async def test_a_span_beside_the_log_is_told_in_a_sentence(run: Run) -> None:
    result = await run("--from", "7")
    assert isinstance(result.exception, NoSuchMoment)
    assert str(result.exception) == "nothing can be shown: the log holds the sequences 1 to 6, not 7"


async def test_two_moments_are_compared_in_a_table(run: Run) -> None:
    shown = (await run("--diff", "3", "6")).stdout
    assert "from sequence 3, 2026-01-01T00:00:03.000000Z" in shown
    assert "Ada, presenter, r1, used" in shown
    assert "tokens: 1 came, 0 went, 0 changed" in shown


async def test_what_changed_is_shown_with_both_values(run: Run) -> None:
    shown = (await run("--diff", "4", "5")).stdout
    assert "state issued → used" in shown
    assert "participants: 1 came, 0 went, 0 changed" in shown


async def test_two_moments_are_compared_for_programs(run: Run) -> None:
    told = json.loads((await run("--diff", "4", "2026-01-01T00:00:05Z", "--json")).stdout)
    assert (told["from"]["sequence"], told["to"]["sequence"]) == (4, 5)
    assert [row["id"] for row in told["participants"]["added"]] == ["p1"]
    assert told["tokens"]["changed"][0]["changes"]["used_by"] == {"from": None, "to": "p1"}


async def test_where_nothing_is_different_that_is_said(run: Run) -> None:
    assert (await run("--diff", "5", "5")).stdout.endswith("nothing is different\n")


@pytest.mark.parametrize(
    ("first", "second", "reason"),
    [
        ("0", "5", "the log begins at sequence 1, after 0"),
        ("5", "7", "the log ends at sequence 6, before 7"),
        ("5", "2026-01-01T00:00:02Z", "2026-01-01T00:00:02.000000Z is before sequence 5"),
    ],
)
async def test_moments_that_cannot_be_compared_are_named(
    run: Run, first: str, second: str, reason: str
) -> None:
    result = await run("--diff", first, second)
    assert isinstance(result.exception, NoSuchMoment)
    assert result.exception.reason == reason


def test_an_event_is_due_as_much_later_as_it_happened_by_the_speed() -> None:
    pace = Pace(2)
    assert pace.due(START, 100.0) == 0
    assert pace.due(START + timedelta(seconds=6), 100.5) == 2.5
    assert pace.due(START + timedelta(seconds=6), 104.0) == 0


async def test_at_original_speed_the_time_between_events_is_waited_for(run: Run) -> None:
    begun = asyncio.get_running_loop().time()
    assert await addresses(run, "--from", "5", "--speed", "4") == ["5.0", "6.0"]
    assert asyncio.get_running_loop().time() - begun >= 0.25


async def test_ctrl_c_ends_it_without_a_word(file: Path) -> None:
    arguments = ("replay", "--log", str(file), "--from", "1", "--speed", "0.001")
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "roomledger", *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert child.stdout is not None
    async with asyncio.timeout(30):
        assert b"worker w1 joined" in await child.stdout.readline()
        child.send_signal(signal.SIGINT)
        rest, errors = await child.communicate()
    assert (child.returncode, rest, errors) == (130, b"", b"")


@pytest.mark.parametrize(("text", "speed"), [("1", 1.0), ("0.5", 0.5), ("100", 100.0), ("max", None)])
def test_a_speed_is_read(text: str, speed: float | None) -> None:
    assert speed_of(text) == speed


def test_what_cannot_be_printed_is_shown_escaped() -> None:
    assert printable("a\x1b[2Jb\nc é") == "a\\x1b[2Jb\\nc é"
