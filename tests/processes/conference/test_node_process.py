import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from pydantic import SecretStr

from roomledger.processes.conference import node_process
from roomledger.processes.conference.node_calls import beats
from roomledger.processes.conference.node_process import NodeOrder, NodeProcess
from roomledger.settings import Settings
from tests.support.cluster import TestCluster
from tests.support.nats import until

ROOT = Path(__file__).parents[3]
Make = Callable[[], NodeProcess]


@pytest.fixture
async def make(cluster: TestCluster) -> AsyncIterator[Make]:
    """Make the process of a node; whatever is left of it is killed after the test."""
    async with AsyncExitStack() as stack:

        def make_() -> NodeProcess:
            process = NodeProcess(cluster.settings(), "n1", "c1")
            stack.push_async_callback(end, process)
            return process

        async def end(process: NodeProcess) -> None:
            process.kill()
            await process.ended()

        yield make_


async def ready(cluster: TestCluster) -> None:
    """Wait for a beat."""
    subscription = await cluster.access.broker.subscribe(beats("c1"))
    assert (await subscription.next_msg(timeout=20)).data == b'{"node":"n1"}'


async def test_a_node_is_a_process_that_beats(cluster: TestCluster, make: Make) -> None:
    node = make()
    await node.start()
    await ready(cluster)
    assert node.pid not in {None, os.getpid()}


async def test_a_node_that_is_stopped_ends_by_itself(cluster: TestCluster, make: Make) -> None:
    node = make()
    await node.start()
    await ready(cluster)
    await node.stop()
    assert await node.ended() == "exit status 0"


async def test_a_node_that_is_killed_tells_the_signal(make: Make) -> None:
    node = make()
    await node.start()
    node.kill()
    assert await node.ended() == "signal 9"


async def test_a_node_that_does_not_end_is_killed(
    cluster: TestCluster, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node_process, "STOP_S", 0.2)
    node = make()
    await node.start()
    await ready(cluster)
    assert node.pid is not None
    os.kill(node.pid, signal.SIGSTOP)
    await node.stop()
    assert await node.ended() == "signal 9"


async def test_a_node_without_a_log_to_reach_ends(cluster: TestCluster) -> None:
    node = NodeProcess(cluster.settings(nats_url="nats://127.0.0.1:1"), "n1", "c1")
    await node.start()
    assert await node.ended() == "exit status 1"


async def test_a_node_whose_worker_is_killed_is_gone_though_it_hangs(
    cluster: TestCluster, tmp_path: Path
) -> None:
    """A worker of a few lines starts a node, tells its process id, and waits to be killed."""
    script = tmp_path / "worker.py"
    script.write_text(
        "import asyncio, sys\n"
        "from roomledger.processes.conference.node_process import NodeProcess\n"
        "from roomledger.settings import Settings\n"
        "async def main():\n"
        "    settings = Settings(nats_url=sys.argv[1], nats_password=sys.argv[2])\n"
        "    node = NodeProcess(settings, 'n1', 'c1')\n"
        "    await node.start()\n"
        "    print(node.pid, flush=True)\n"
        "    await asyncio.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    worker = await asyncio.create_subprocess_exec(
        sys.executable,
        str(script),
        cluster.server.url,
        cluster.server.credentials["service"],
        stdout=asyncio.subprocess.PIPE,
    )
    assert worker.stdout is not None
    pid = int(await worker.stdout.readline())
    await ready(cluster)
    os.kill(pid, signal.SIGSTOP)
    worker.kill()
    await worker.wait()
    await until(lambda: not Path(f"/proc/{pid}").exists())


def test_an_order_has_the_secrets_and_nobody_else_sees_them():
    settings = Settings(nats_password=SecretStr("very secret"), scheduler={})
    node = NodeProcess(settings, "n1", "c1")
    order: NodeOrder = node._order
    assert order.settings["nats_password"] == "very secret"
    assert Settings(**order.settings) == settings  # type: ignore[arg-type]  # as the node reads it
