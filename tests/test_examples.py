"""The examples are run as they are."""

import contextlib
import re
import signal
from pathlib import Path

import pytest

from roomledger.domain.errors import Refusal
from roomledger.sdk.client import Client, ConnectionBack
from tests.support.children import ROOT, child
from tests.support.cluster import TestCluster
from tests.support.crowd import staged
from tests.support.nats import until

CLIENT = ROOT / "examples" / "client.py"
WORKER = ROOT / "examples" / "worker.py"


async def test_the_worker_joins_takes_a_task_and_quits_on_sigterm(
    cluster: TestCluster, tmp_path: Path
) -> None:
    await cluster.manager()
    manager, broker = cluster.cluster(), cluster.access.broker
    async with child(cluster.server, tmp_path, str(WORKER), "echo-1") as worker:
        await worker.line("Joined()")

        async def placed() -> bool:
            with contextlib.suppress(Refusal):  # until it has reported its load
                return (await manager.schedule("echo", "hello")).worker == "echo-1"
            return False

        await until(placed)
        answer = await broker.request("rpc.echo.echo-1.start", b'{"task": "hello"}', timeout=5)
        assert answer.data == b"{}"
        assert (await manager.get_scheduled("echo", "hello")).state == "running"
        await broker.request("rpc.echo.echo-1.finish", b'{"task": "hello"}', timeout=5)
        assert (await manager.get_scheduled("echo", "hello")).state == "reserved"
        worker.signal(signal.SIGTERM)
        assert (await worker.end())[0] == 0
    assert await manager.get_workers("echo") == ()
    with pytest.raises(Refusal):
        await manager.get_scheduled("echo", "hello")


async def test_the_worker_lays_its_tasks_down_when_it_is_to_move_them(
    cluster: TestCluster, tmp_path: Path
) -> None:
    await cluster.manager()
    manager, broker = cluster.cluster(), cluster.access.broker
    async with child(cluster.server, tmp_path, str(WORKER), "echo-1") as worker:
        await worker.line("Joined()")
        await broker.request("rpc.echo.echo-1.start", b'{"task": "hello"}', timeout=5)
        await manager.drain("echo-1", 1)
        await worker.line("MoveTasks", "hello")

        async def laid_down() -> bool:
            return (await manager.get_scheduled("echo", "hello")).state == "reserved"

        await until(laid_down)


async def test_the_client_tells_what_happens_and_outlives_its_portal(
    cluster: TestCluster, tmp_path: Path
) -> None:
    async with staged(cluster, tmp_path, portals=2) as stage:
        first, second = stage.portals
        await cluster.room("lecture")
        ada, grace = await stage.tokens("lecture", 2, first)
        async with child(cluster.server, tmp_path, str(CLIENT), ada, second.url) as example:
            await example.line("ada is in lecture with 0 others")
            await example.line("ada: hello")
            async with Client(grace, urls=[second.url]) as guest:
                await guest.login()
                await example.line("ada came")
                await first.kill()
                while not isinstance(await anext(guest), ConnectionBack):
                    pass
                await example.line("back at", second.url)
                await guest.text("all", "bye")
                await example.line("ada: bye")
            assert (await example.end())[0] == 0


@pytest.mark.parametrize("example", [WORKER, CLIENT])
def test_an_example_is_about_thirty_lines(example: Path) -> None:
    code = re.sub(r'"""[^"]*?"""', "", example.read_text())
    lines = [line for line in code.splitlines() if line.strip() and not line.startswith(("import", "from"))]
    assert len(lines) <= 35
