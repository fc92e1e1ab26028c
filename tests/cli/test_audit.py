import asyncio
import csv
import io
import json
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
import typer
from click.testing import Result
from typer.testing import CliRunner

from roomledger.cli import audit as command
from roomledger.runtime.errors import NoSuchMoment
from roomledger_events.rooms import ParticipantLeft
from roomledger_events.tasks import ReservationExpired
from tests.support.commits import (
    PORTAL,
    ROOM,
    TOKENS,
    created,
    issued,
    joined,
    joined_worker,
    log_of,
    reserved,
)
from tests.support.exported import exported
from tests.support.nats import NatsServer
from tests.support.stored import Teller, opened_store

Run = Callable[..., Coroutine[Any, Any, Result]]
LOG = log_of(
    (PORTAL, joined_worker("w1")),
    (ROOM, created()),
    (PORTAL, reserved("code-t1")),
    (TOKENS, issued("t1")),
    (ROOM, joined("p1")),
    (ROOM, ParticipantLeft(participant="p1", reason="logout")),
    (PORTAL, ReservationExpired(task="code-t1", worker="w1")),
    (PORTAL, joined_worker("w2")),
)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the command on an exported log."""
    file = exported(tmp_path / "log.jsonl", LOG)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)
    app = typer.Typer()
    app.command()(command.audit)

    async def run(*arguments: str) -> Result:
        return await asyncio.to_thread(CliRunner().invoke, app, [*arguments, "--log", str(file)])

    return run


async def audited(run: Run, *arguments: str) -> dict[str, Any]:
    result = await run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    told: dict[str, Any] = json.loads(result.stdout)
    return told


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["token", "t1"], ["3.0", "4.0", "5.0", "6.0", "7.0"]),
        (["participant", "p1"], ["3.0", "4.0", "5.0", "6.0", "7.0"]),
        (["user", "Ada"], ["3.0", "4.0", "5.0", "6.0", "7.0"]),
        (["room", "r1"], ["2.0", "4.0", "5.0", "6.0"]),
        (["worker", "w1"], ["1.0", "3.0", "4.0", "5.0", "7.0"]),
        (["task", "code-t1"], ["3.0", "4.0", "7.0"]),
        (["token", "t1", "--from", "4", "--to", "2026-01-01T00:00:06Z"], ["4.0", "5.0", "6.0"]),
    ],
)
async def test_all_that_concerns_it_is_told_across_the_log(
    run: Run, arguments: list[str], expected: list[str]
) -> None:
    assert [event["address"] for event in (await audited(run, *arguments))["events"]] == expected


async def test_programs_get_what_happened_and_the_tree_of_causes(run: Run) -> None:
    told = await audited(run, "participant", "p1", "--from", "5", "--to", "6")
    assert (told["thing"], told["id"]) == ("participant", "p1")
    assert told["events"][1]["what"] == "participant p1 left room r1, logged out"
    assert told["events"][1]["cause"] is None
    effects: list[str] = []
    assert told["tree"] == [
        {
            "correlation": "c",
            "token": False,
            "effects": [{"address": "5.0", "effects": effects}, {"address": "6.0", "effects": effects}],
        }
    ]


async def test_people_get_a_table_and_a_tree(run: Run) -> None:
    shown = (await run("token", "t1")).stdout
    assert "token t1: 5 events" in shown
    assert "2026-01-01T00:00:06.000000Z" in shown
    assert "request c" in shown
    assert "6.0  service:s1  participant p1 left room r1, logged out" in shown


async def test_as_csv_it_has_a_row_an_event(run: Run) -> None:
    rows = list(csv.DictReader(io.StringIO((await run("token", "t1", "--csv")).stdout)))
    assert [row["address"] for row in rows] == ["3.0", "4.0", "5.0", "6.0", "7.0"]
    assert rows[3]["what"] == "participant p1 left room r1, logged out"
    assert json.loads(rows[3]["data"]) == {"participant": "p1", "reason": "logout"}


async def test_a_page_is_written_once(run: Run, tmp_path: Path) -> None:
    first = await run("token", "t1", "--html", "page.html")
    assert first.stdout == "5 events are drawn in page.html\n"
    page = (tmp_path / "page.html").read_text()
    assert page.startswith("<!DOCTYPE html>")
    again = await run("room", "r1", "--html", "page.html")
    assert again.exit_code == 2
    assert "is there already" in " ".join(again.output.split())
    assert (tmp_path / "page.html").read_text() == page
    forced = await run("room", "r1", "--html", "page.html", "--force")
    assert forced.stdout == "4 events are drawn in page.html\n"


async def test_what_is_too_much_to_draw_is_said(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "DRAWN", 4)
    result = await run("token", "t1", "--html", "page.html")
    assert result.exit_code == 2
    assert "there are 5 events, and a page holds at most 4" in " ".join(result.output.split())


@pytest.mark.parametrize("thing", ["token", "participant", "user", "room", "worker", "task"])
async def test_what_is_not_known_is_said_and_is_no_success(run: Run, thing: str) -> None:
    result = await run(thing, "x9")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == f"there is nothing about {thing} x9 in this part of the log\n"


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["door", "d1"], "'door' is not one of"),
        (["token", "t1", "--json", "--csv"], "choose one of them"),
        (["token", "t1", "--from", "2026-01-01"], "has no time zone"),
        (["token", "t1", "--to", "4.1"], "is neither a sequence nor a time"),
        (["token", "t1", "--from", "4", "--to", "3"], "the second moment is before the first"),
    ],
)
async def test_what_makes_no_sense_is_refused(run: Run, arguments: list[str], reason: str) -> None:
    result = await run(*arguments)
    assert result.exit_code == 2
    assert reason in " ".join(result.output.split())


async def test_a_part_that_the_log_does_not_have_is_named(run: Run) -> None:
    result = await run("token", "t1", "--from", "99")
    assert isinstance(result.exception, NoSuchMoment)


async def test_it_reads_the_log_of_a_server(
    nats_server: NatsServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROOMLEDGER_DATA_DIR", str(nats_server.directory.path))
    monkeypatch.chdir(tmp_path)
    async with opened_store(nats_server) as store:
        teller = Teller(store)
        await teller.tell(ROOM, created())
        await teller.tell(TOKENS, issued("t1"), correlation="t1")
        await teller.tell(ROOM, joined("p1"), correlation="t1")
        app = typer.Typer()
        app.command()(command.audit)
        result = await asyncio.to_thread(CliRunner().invoke, app, ["user", "Ada", "--json"])
    told = json.loads(result.stdout)
    assert [event["address"] for event in told["events"]] == ["2.0", "3.0"]
    assert told["tree"][0]["token"] is True
