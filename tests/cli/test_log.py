import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from roomledger.cli.log import log, text_line
from roomledger.event_store.errors import NotConnected
from roomledger.event_store.jetstream import JetStreamStore
from roomledger_events.nodes import NodeReady
from roomledger_events.rooms import ParticipantLeft, TextSent
from roomledger_events.subjects import Boundary, Kind
from roomledger_events.tasks import TaskPickedUp
from roomledger_events.tokens import TokenRevoked
from roomledger_events.workers import LoadReported
from tests.support.commits import (
    NODES,
    PORTAL,
    PORTAL_LOAD,
    ROOM,
    TOKENS,
    commit,
    created,
    issued,
    joined,
    joined_worker,
    reserved,
)
from tests.support.nats import NatsServer
from tests.support.stored import Teller, opened_store

Run = Callable[..., Coroutine[Any, Any, Result]]
OTHER_ROOM = Boundary(Kind.ROOM, "r2")
AUDIO = Boundary(Kind.SCHEDULER, "audio")
TEXTS = Boundary(Kind.TEXT, "r1")


@pytest.fixture
async def store(nats_server: NatsServer) -> AsyncIterator[JetStreamStore]:
    async with opened_store(nats_server) as store:
        teller = Teller(store)
        await teller.tell(PORTAL, joined_worker("w1"), joined_worker("w2"))  # 1
        await teller.tell(ROOM, created())  # 2
        await teller.tell(PORTAL, reserved("code-t1"), correlation="t1")  # 3
        await teller.tell(TOKENS, issued("t1"), correlation="t1")  # 4
        await teller.tell(ROOM, joined("p1"), joined("p2", "t2"), actor="participant:p1")  # 5
        await teller.tell(PORTAL, TaskPickedUp(task="code-t1", worker="w2", reserved_for="w1"))  # 6
        await teller.tell(PORTAL_LOAD, LoadReported(worker="w1", load=0.5))  # 7
        await teller.tell(TEXTS, TextSent(sender="p1", to="all", message="hi"))  # 8
        await teller.tell(OTHER_ROOM, ParticipantLeft(participant="p9", reason="logout"))  # 9
        await teller.tell(AUDIO, joined_worker("w3"))  # 10
        await teller.tell(NODES, NodeReady(node="n1"), actor="worker:c1")  # 11
        await teller.tell(ROOM, TokenRevoked(token="t1"))  # 12
        yield store


@pytest.fixture
def run(nats_server: NatsServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run `log tail` on the server's data directory."""
    monkeypatch.setenv("ROOMLEDGER_DATA_DIR", str(nats_server.directory.path))
    monkeypatch.chdir(tmp_path)

    async def run(*arguments: str) -> Result:
        return await asyncio.to_thread(CliRunner().invoke, log, ["tail", *arguments])

    return run


async def addresses(run: Run, *arguments: str) -> list[str]:
    result = await run("--json", *arguments)
    assert result.exit_code == 0, result.output
    return [json.loads(line)["address"] for line in result.stdout.splitlines()]


@pytest.mark.usefixtures("store")
async def test_all_events_come_in_log_order(run: Run) -> None:
    found = await addresses(run)
    assert found[:5] == ["1.0", "1.1", "2.0", "3.0", "4.0"]
    assert len(found) == 14


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        (["--from", "11"], ["11.0", "12.0"]),
        (["--room", "r1"], ["2.0", "4.0", "5.0", "5.1", "8.0", "12.0"]),
        (["--purpose", "portal"], ["1.0", "1.1", "3.0", "6.0", "7.0"]),
        (["--type", "ParticipantJoined"], ["5.0", "5.1"]),
        (["--worker", "w1"], ["1.0", "3.0", "4.0", "5.0", "5.1", "6.0", "7.0"]),
        (["--worker", "c1"], ["11.0"]),
        (["--token", "t1"], ["3.0", "4.0", "5.0", "12.0"]),
        (["--task", "code-t1"], ["3.0", "4.0", "6.0"]),
        (["--participant", "p1"], ["5.0", "5.1", "8.0"]),
        (["--room", "r1", "--token", "t1", "--type", "TokenRevoked"], ["12.0"]),
        (["--room", "r7"], []),
    ],
    ids=lambda value: " ".join(value) if value[:1] and value[0].startswith("--") else "",
)
async def test_filters_leave_what_is_asked_for(run: Run, filters: list[str], expected: list[str]) -> None:
    assert await addresses(run, *filters) == expected


@pytest.mark.usefixtures("store")
async def test_people_get_a_line_an_event(run: Run) -> None:
    result = await run("--room", "r1", "--type", "ParticipantJoined")
    first = result.stdout.splitlines()[0].split()
    assert [first[0], *first[2:6]] == ["5.0", "room.r1", "ParticipantJoined", "x", "participant:p1"]
    assert "participant=p1 user=Ada" in result.stdout


@pytest.mark.usefixtures("store")
async def test_programs_get_the_whole_event(run: Run) -> None:
    result = await run("--json", "--type", "TextSent")
    event = json.loads(result.stdout)
    assert event["address"] == "8.0"
    assert event["boundary"] == "text.r1"
    assert event["specversion"] == "1.0"
    assert event["data"] == {"sender": "p1", "to": "all", "message": "hi"}


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--room", "r1", "--purpose", "portal"], "to a room or to a purpose, not to both"),
        (["--room", "a.b"], "'a.b' is no id"),
        (["--purpose", "*"], "'*' is no id"),
        (["--type", "Nonsense"], "there is no 'Nonsense'; there are "),
        (["--from", "0"], "should be greater than or equal to 1"),
    ],
)
async def test_a_filter_that_makes_no_sense_is_told_in_a_sentence(
    run: Run, monkeypatch: pytest.MonkeyPatch, arguments: list[str], reason: str
) -> None:
    monkeypatch.setenv("COLUMNS", "2000")
    result = await run(*arguments)
    assert result.exit_code == 2
    assert reason in result.output


async def test_where_nothing_serves_that_is_said(run: Run, tmp_path: Path) -> None:
    assert isinstance((await run("--data-dir", str(tmp_path / "nowhere"))).exception, NotConnected)


def test_long_data_are_cut_for_people() -> None:
    sent = commit(1, TEXTS, TextSent(sender="p1", to="all", message="long " * 1000))
    assert len(text_line(sent, 0, sent.events[0])) < 300


def test_what_users_wrote_does_not_steer_the_terminal() -> None:
    sent = commit(1, TEXTS, TextSent(sender="p1", to="all", message="\x1b[2J\n\x9b1m"))
    line = text_line(sent, 0, sent.events[0])
    assert line.isprintable()
    assert r"\x1b[2J\n\x9b1m" in line


def started(server: NatsServer, *arguments: str) -> subprocess.Popen[bytes]:
    program = "from roomledger.cli.log import log; log()"
    environment = os.environ | {"ROOMLEDGER_DATA_DIR": str(server.directory.path)}
    command = [sys.executable, "-c", program, "tail", *arguments]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)  # noqa: S603  - our own


async def test_following_shows_what_comes_until_it_is_interrupted(
    nats_server: NatsServer, store: JetStreamStore
) -> None:
    with started(nats_server, "--follow", "--json", "--from", "12") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        shown = [await asyncio.to_thread(process.stdout.readline)]
        await Teller(store).tell(TEXTS, TextSent(sender="p1", to="all", message="news"))
        shown.append(await asyncio.to_thread(process.stdout.readline))
        process.send_signal(signal.SIGINT)
        assert await asyncio.to_thread(process.wait, 10) == 130
        assert [json.loads(line)["address"] for line in shown] == ["12.0", "13.0"]
        assert process.stderr.read() == b""


@pytest.mark.usefixtures("store")
async def test_a_reader_that_has_had_enough_is_no_error(nats_server: NatsServer) -> None:
    with started(nats_server, "--json") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert await asyncio.to_thread(process.wait, 20) == 0
        assert process.stderr.read() == b""
