"""A worker: it takes tasks of the purpose ``echo`` until SIGTERM.

Beside `roomledger serve`, each in a terminal:

    python examples/worker.py echo-1
    roomledger tasks --watch
    roomledger schedule echo hello
    nats --context roomledger req rpc.echo.echo-1.start '{"task": "hello"}'
    nats --context roomledger req rpc.echo.echo-1.finish '{"task": "hello"}'
"""

import asyncio
import signal
import sys

from roomledger import settings
from roomledger.runtime.access import open_access
from roomledger.runtime.calls import Method, Nothing, Request, serve
from roomledger.runtime.commands import Meta
from roomledger.sdk.cluster import Cluster
from roomledger.sdk.worker import MoveTasks, Worker
from roomledger_events.identifiers import Id
from roomledger_events.workers import WorkerInfo

PLACES = 100


class OfTask(Request, kw_only=True, frozen=True):
    """What the worker is asked for: start, or finish, a task."""

    task: Id


async def main(name: str) -> None:
    """Work until SIGTERM."""
    access = await open_access(settings.load(), name=f"worker {name}")
    cluster = Cluster(access.broker, actor=f"worker:{name}")
    info = WorkerInfo(ip="127.0.0.1", max_load=0.9)
    # A load of one's own; roomledger.sdk.load has cpu() and memory().
    worker = Worker(cluster, purpose="echo", worker=name, info=info, load=lambda: len(worker.tasks) / PLACES)

    async def start(request: OfTask, _: Meta) -> Nothing:
        await worker.pick_up(request.task)  # here the work would begin
        return Nothing()

    async def finish(request: OfTask, _: Meta) -> Nothing:
        await worker.lay_down(request.task)  # and here end
        return Nothing()

    methods = {"start": Method(OfTask, start), "finish": Method(OfTask, finish)}
    await serve(access.broker, name="echo", version="1.0.0", prefix=f"rpc.echo.{name}", methods=methods)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, worker.quit)
    async with worker:
        async for news in worker:  # such as TaskReleased: another worker has the task now
            print(news, flush=True)
            if isinstance(news, MoveTasks):
                for task in news.tasks:
                    await worker.lay_down(task)
    await access.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
