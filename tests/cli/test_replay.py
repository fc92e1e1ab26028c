import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import typer
from click.testing import Result
from typer.testing import CliRunner

from roomledger.cli import moments
from roomledger.cli import replay as command
from roomledger.event_store.errors import NotConnected
from roomledger.event_store.jetstream import JetStreamStore
from roomledger.runtime.errors import NoSuchMoment
from roomledger_events.rooms import ParticipantLeft
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


@pytest.fixture
async def store(nats_server: NatsServer) -> AsyncIterator[JetStreamStore]:
    async with opened_store(nats_server) as store:
        teller = Teller(store)
        await teller.tell(PORTAL, joined_worker("w1"))
        await teller.tell(ROOM, created())
        await teller.tell(PORTAL, reserved("k1"))
        await teller.tell(TOKENS, issued("t1"))
        await teller.tell(ROOM, joined("p1"))
        await teller.tell(ROOM, ParticipantLeft(participant="p1", reason="logout"))
        yield store


@pytest.fixture
def run(nats_server: NatsServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the command on the server's data directory."""
    monkeypatch.setenv("ROOMLEDGER_DATA_DIR", str(nats_server.directory.path))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)
    app = typer.Typer()
    app.command()(command.replay)

    async def run(*arguments: str) -> Result:
        return await asyncio.to_thread(CliRunner().invoke, app, arguments)

    return run


async def state_of(run: Run, *arguments: str) -> dict[str, Any]:
    result = await run("--json", *arguments)
    assert result.exit_code == 0, result.output
    state: dict[str, Any] = json.loads(result.stdout)
    return state


@pytest.mark.usefixtures("store")
async def test_programs_get_the_state_as_one_object(run: Run) -> None:
    state = await state_of(run)
    assert list(state) == ["sequence", "time", "workers", "tasks", "rooms", "tokens"]
    assert state["sequence"] == 6
    assert [worker["id"] for worker in state["workers"]] == ["w1"]
    assert [(task["purpose"], task["id"], task["worker"]) for task in state["tasks"]] == [
        ("portal", "k1", "w1")
    ]
    assert [(room["id"], room["participants"]) for room in state["rooms"]] == [("r1", [])]
    assert [(token["id"], token["state"], token["used_by"]) for token in state["tokens"]] == [
        ("t1", "used", "p1")
    ]


@pytest.mark.usefixtures("store")
async def test_at_a_sequence_it_is_the_state_of_then(run: Run) -> None:
    state = await state_of(run, "--at", "5")
    assert [each["id"] for each in state["rooms"][0]["participants"]] == ["p1"]


@pytest.mark.usefixtures("store")
async def test_at_a_time_it_is_the_state_of_then(run: Run) -> None:
    then = await state_of(run, "--at", "5")
    assert await state_of(run, "--at", then["time"]) == then


@pytest.mark.usefixtures("store")
async def test_people_get_tables(run: Run) -> None:
    result = await run("--at", "5")
    assert result.exit_code == 0, result.output
    for shown in ("sequence 5", "w1", "k1", "reserved", "Room one", "Ada (presenter)", "t1", "used"):
        assert shown in result.stdout


async def test_nothing_is_cut_where_the_lines_are_short(
    run: Run, store: JetStreamStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    teller = Teller(store)
    teller.knows(PORTAL, 3)
    await teller.tell(PORTAL, joined_worker("w" * 64))
    shown = (await run()).stdout
    assert "…" not in shown
    assert shown.count("w") >= 64


async def test_what_users_wrote_is_not_taken_for_markup(run: Run, store: JetStreamStore) -> None:
    worker = joined_worker("w9", hostname="[bold]h")
    teller = Teller(store)
    teller.knows(PORTAL, 3)
    await teller.tell(PORTAL, worker)
    assert "[bold]h:8080" in (await run()).stdout


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize(
    ("at", "reason"),
    [
        ("0", "the log begins at sequence 1"),
        ("7", "the log ends at sequence 6"),
        ("2000-01-01T00:00:00Z", "begins at"),
    ],
)
async def test_a_moment_beside_the_log_is_told_in_a_sentence(run: Run, at: str, reason: str) -> None:
    result = await run("--at", at)
    assert isinstance(result.exception, NoSuchMoment)
    assert reason in str(result.exception)


@pytest.mark.parametrize("at", ["2026-01-31T12:00:00", "2026-01-31"])
def test_a_time_without_zone_is_refused(at: str) -> None:
    with pytest.raises(typer.BadParameter, match="has no time zone: add Z for UTC"):
        moments.moment_of(at)


@pytest.mark.parametrize("at", ["", "noon", "-1", "1042.3", "9" * 5000, "٣"])
def test_what_is_neither_a_sequence_nor_a_time_is_refused(at: str) -> None:
    with pytest.raises(typer.BadParameter, match="is neither a sequence nor a time"):
        moments.moment_of(at)


def test_a_sequence_and_a_time_are_read() -> None:
    assert moments.moment_of("1042") == 1042
    assert moments.moment_of("2026-01-31T12:00:00+02:00") == datetime.fromisoformat("2026-01-31T10:00:00Z")


@pytest.mark.usefixtures("store")
async def test_a_wrong_moment_ends_it_before_anything_is_asked_of_the_server(run: Run) -> None:
    result = await run("--at", "noon", "--nats", "nats://127.0.0.1:1")
    assert result.exit_code == 2
    assert "is neither a sequence nor a time" in result.output


async def test_where_nothing_serves_that_is_said(run: Run, tmp_path: Path) -> None:
    result = await run("--data-dir", str(tmp_path / "nowhere"))
    assert isinstance(result.exception, NotConnected)
    assert "no roomledger serves on" in str(result.exception)


async def test_an_exported_log_tells_the_same_without_a_server(run: Run, tmp_path: Path) -> None:
    path = exported(tmp_path / "log.jsonl", log_of((PORTAL, joined_worker("w1")), (ROOM, created())))
    state = await state_of(run, "--log", str(path))
    assert state["sequence"] == 2
    assert [worker["id"] for worker in state["workers"]] == ["w1"]
    assert [room["id"] for room in (await state_of(run, "--log", str(path), "--at", "1"))["rooms"]] == []
