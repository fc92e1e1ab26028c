"""The examples are run as they are."""

import contextlib
import re
import signal
from pathlib import Path

import pytest

from roomledger.domain.errors import Refusal
from tests.support.children import ROOT, child
from tests.support.cluster import TestCluster
from tests.support.nats import until

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


def test_the_worker_is_about_thirty_lines() -> None:
    code = re.sub(r'"""[^"]*?"""', "", WORKER.read_text())
    lines = [line for line in code.splitlines() if line.strip() and not line.startswith(("import", "from"))]
    assert len(lines) <= 35
