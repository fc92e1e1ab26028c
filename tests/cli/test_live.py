"""What the commands have in common that ask the cluster manager."""

import asyncio
import json
import os
import pty
import re
import signal
from pathlib import Path

import pytest

from roomledger.cli.live import How, View, show
from roomledger.domain.errors import Code, Refusal
from roomledger.sdk.cluster import Cluster
from tests.support.children import child
from tests.support.cluster import TestCluster
from tests.support.nats import NatsServer


@pytest.mark.usefixtures("cluster")
async def test_a_watch_goes_on_while_no_manager_answers(
    nats_server: NatsServer, capsys: pytest.CaptureFixture[str]
) -> None:
    answers: list[View | Refusal] = [
        View({"n": 1}, "one"),
        Refusal(Code.NOT_READY, "nobody answers"),
        View({"n": 2}, "two", over=True),
    ]

    async def look(_: Cluster) -> View:
        answer = answers.pop(0)
        if isinstance(answer, Refusal):
            raise answer
        return answer

    how = How(as_json=True, watch=True, every=0.01, data_dir=nats_server.directory.path)
    await asyncio.to_thread(show, how, look)
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == [
        {"n": 1},
        {"error": {"code": "not_ready", "message": "nobody answers"}},
        {"n": 2},
    ]


@pytest.mark.usefixtures("cluster")
async def test_people_still_see_what_was_there_before(
    nats_server: NatsServer, capsys: pytest.CaptureFixture[str]
) -> None:
    answers: list[View | Refusal] = [View(1, "one"), Refusal(Code.NOT_READY, "[nobody] answers")]

    async def look(_: Cluster) -> View:
        answer = answers.pop(0) if answers else View(2, "two", over=True)
        if isinstance(answer, Refusal):
            raise answer
        return answer

    how = How(watch=True, every=0.01, data_dir=nats_server.directory.path)
    await asyncio.to_thread(show, how, look)
    shown = capsys.readouterr().out
    assert re.fullmatch(r"one\n\S+ \[nobody\] answers: .* before\none\ntwo\n", shown), shown


@pytest.mark.usefixtures("cluster")
async def test_a_watch_ends_with_what_waiting_cannot_mend(nats_server: NatsServer) -> None:
    views = [View(1, "one")]

    async def look(_: Cluster) -> View:
        if views:
            return views.pop()
        raise Refusal(Code.NO_SUCH_PURPOSE, "gone")

    how = How(watch=True, every=0.01, data_dir=nats_server.directory.path)
    with pytest.raises(Refusal, match="gone"):
        await asyncio.to_thread(show, how, look)


async def test_ctrl_c_ends_a_watch_without_a_traceback(cluster: TestCluster, tmp_path: Path) -> None:
    await cluster.manager()
    arguments = ("-m", "roomledger", "workers", "--watch", "--json", "--every", "0.1")
    async with child(cluster.server, tmp_path, *arguments) as watching:
        await watching.line("workers")
        watching.signal(signal.SIGINT)
        code, _, errors = await watching.end()
    assert (code, errors) == (130, "")


async def test_a_reader_that_has_had_enough_ends_a_watch(cluster: TestCluster, tmp_path: Path) -> None:
    await cluster.manager()
    arguments = ("-m", "roomledger", "workers", "--watch", "--json", "--every", "0.1")
    async with child(cluster.server, tmp_path, *arguments) as watching:
        await watching.line("workers")
        transport = watching.process.stdout._transport  # type: ignore[union-attr]  # asyncio has no other way
        transport.close()
        async with asyncio.timeout(10):
            code = await watching.process.wait()
        assert watching.process.stderr is not None
        assert (code, await watching.process.stderr.read()) == (0, b"")


async def test_on_a_terminal_a_watch_stays_in_one_place(cluster: TestCluster, tmp_path: Path) -> None:
    await cluster.manager()
    await cluster.worker("portal", "w1")
    ours, theirs = pty.openpty()
    arguments = ("-m", "roomledger", "workers", "--watch", "--every", "0.1", "--for", "0.5")
    async with child(cluster.server, tmp_path, *arguments, stdout=theirs) as watching:
        assert (await watching.end())[::2] == (0, "")
    os.close(theirs)
    shown = b"".join(iter(lambda: _read(ours), b""))
    os.close(ours)
    assert shown.count(b"w1") >= 3
    assert b"\x1b[1A" in shown, "it goes back up, to write over what it wrote before"


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # nobody writes to it any more, and all is read
        return b""
