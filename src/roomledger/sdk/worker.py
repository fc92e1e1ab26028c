"""A worker of the cluster: joins, says that it is there, reports its load, picks tasks up and lays them down.

    async with Worker(cluster, purpose="echo", worker="echo-1", info=info, load=load.cpu()) as worker:
        async for news in worker:
            ...

Iterate over a worker for what it is told (`News`); the iteration ends when it has quit.

While the cluster is out of reach the worker goes on working and says so; what the cluster is to know of its
tasks is told later.  A cluster that gave it up is joined again, and gets the tasks back that are still run.

The rules are in `membership`; here they meet the cluster and the clock.
"""

import asyncio
import math
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Final, Self

import msgspec
import structlog

from roomledger.domain.errors import Code, Refusal
from roomledger.runtime.calls import RequestMeta
from roomledger.runtime.ending import end
from roomledger.sdk.cluster import Cluster
from roomledger.sdk.membership import Membership, State
from roomledger.sdk.membership_effects import (
    BackInReach,
    Beat,
    Deny,
    Drain,
    DrainAsked,
    DrainEnded,
    Effect,
    Join,
    Joined,
    LayDown,
    Lost,
    MoveTasks,
    News,
    NotReported,
    OutOfReach,
    PickUp,
    Quit,
    Readiness,
    Reject,
    Rejoined,
    Report,
    Request,
    Send,
    TaskReleased,
    Tell,
)
from roomledger_events.workers import WorkerInfo

__all__ = [
    "BackInReach",
    "DrainAsked",
    "DrainEnded",
    "Joined",
    "Lost",
    "MoveTasks",
    "News",
    "NotReported",
    "OutOfReach",
    "Readiness",
    "Rejoined",
    "TaskReleased",
    "Worker",
]

BEAT_LIMIT_S: Final = 2.0
"""How long the answer to a beat may take."""
QUIT_S: Final = 1.0
"""How long a worker that stops waits for what is under way, and then tries to tell the cluster so."""
WAITING: Final = 10_000
"""How much news may wait to be taken; beyond that the oldest is given up."""

log = structlog.get_logger(__name__)


class Worker:
    """One worker of the cluster; use it as an asynchronous context manager, or `start` and `stop` it.

    Args:
        cluster: Whom it joins.
        purpose: What kind of work it does.
        worker: Its id.
        info: What it tells of itself.
        load: Its present load, 0 to 1; `load.cpu()` and `load.memory()` are ready-made ones.

    Attributes:
        id: Its id.
    """

    def __init__(
        self, cluster: Cluster, *, purpose: str, worker: str, info: WorkerInfo, load: Callable[[], float]
    ) -> None:
        self.id = worker
        self._cluster = cluster
        self._purpose = purpose
        self._info = info
        self._load = load
        self._measured = True
        self._membership = Membership()
        self._starting: asyncio.Future[list[asyncio.Task[Refusal | None]]] | None = None
        self._ended = False
        self._news: asyncio.Queue[News | None] = asyncio.Queue(WAITING)
        self._timer: asyncio.TimerHandle | None = None
        self._asking: set[asyncio.Task[Refusal | None]] = set()
        self._log = log.bind(worker=worker)

    @property
    def state(self) -> State:
        """Where its membership stands."""
        return self._membership.state

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks that it runs."""
        return self._membership.running

    @property
    def draining(self) -> bool:
        """Whether it gets no new tasks."""
        return self._membership.draining

    # -- Its life

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Join, for as long as it takes, report, and go on beating in the background.

        Raises:
            Refusal: The cluster does not take it, and waiting will not mend that.
        """
        self._starting = asyncio.get_running_loop().create_future()
        self._carry_out(self._membership.start())
        if reports := await self._starting:
            await asyncio.wait(reports)

    def quit(self) -> None:
        """Begin to leave the cluster; the iteration ends when it is left."""
        self._carry_out(self._membership.quit())

    async def stop(self) -> None:
        """Leave the cluster, which frees the worker's tasks; what is under way is waited for."""
        if self._asking and self.state is not State.QUITTING:
            await asyncio.wait(self._asking, timeout=QUIT_S)
        self.quit()
        while self.state is State.QUITTING:
            await asyncio.wait(self._asking, return_when=asyncio.FIRST_COMPLETED)
        await end(*self._asking)

    # -- Its tasks

    async def pick_up(self, task: str, meta: RequestMeta | None = None) -> None:
        """Run a task; a cluster that cannot be told now is told later.

        Raises:
            Refusal: The cluster does not let it.
        """
        await self._answer(self._membership.pick_up(task, meta))

    async def lay_down(self, task: str, meta: RequestMeta | None = None) -> None:
        """Run a task no more; a cluster that cannot be told now is told later.

        Raises:
            Refusal: The cluster will not hear of it.
        """
        await self._answer(self._membership.lay_down(task, meta))

    async def reject(self, task: str, meta: RequestMeta | None = None) -> None:
        """Give back a task that was reserved for this worker and that it cannot take.

        Raises:
            Refusal: The cluster will not hear of it.
        """
        await self._answer(self._membership.reject(task, meta))

    async def report_state(self, readiness: Readiness) -> None:
        """Say whether it can be given tasks; a worker that has not said it can."""
        await self._answer(self._membership.report_state(Readiness(readiness)))

    async def drain(self, deadline_ms: int | None = None) -> None:
        """Ask for no new tasks, and to be told to move those that it has after a time.

        Raises:
            Refusal: The cluster does not let it.
        """
        await self._answer(self._membership.drain(self._now(), deadline_ms))

    # -- What it is told

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> News:
        """Return what it is told next.

        Raises:
            StopAsyncIteration: It has quit, and there is nothing more.
        """
        news = await self._news.get()
        if news is None:
            self._put(None)  # for whoever asks again
            raise StopAsyncIteration
        return news

    # -- Carrying out what the membership says

    def _carry_out(self, effects: Sequence[Effect]) -> "list[asyncio.Task[Refusal | None]]":
        """Do it, and return the requests that are under way by it."""
        asking = []
        for effect in effects:
            if isinstance(effect, Send):
                task = asyncio.create_task(self._ask(effect.request), name=f"{self.id}: {effect.request}")
                self._asking.add(task)
                task.add_done_callback(self._asking.discard)
                asking.append(task)
            elif isinstance(effect, Tell):
                self._tell(effect.news)
        self._go_on_starting(effects, asking)
        if self.state is State.GONE and not self._ended:
            self._ended = True
            self._put(None)
        self._set_timer()
        return asking

    def _go_on_starting(
        self, effects: Sequence[Effect], asking: "list[asyncio.Task[Refusal | None]]"
    ) -> None:
        if self._starting is None or self._starting.done():
            return
        for effect in effects:
            if isinstance(effect, Deny) and isinstance(effect.request, Join):
                self._starting.set_exception(effect.refusal)
        if Tell(Joined()) in effects or self.state is State.GONE:
            self._starting.set_result(asking)

    async def _answer(self, effects: Sequence[Effect]) -> None:
        for task in self._carry_out(effects):
            refusal = await asyncio.shield(task)
            if refusal is not None:
                raise refusal

    async def _ask(self, request: Request) -> Refusal | None:
        """Send a request, do what follows from its answer, and return the refusal if it is one for good."""
        try:
            reply = await self._send(request)
        except Refusal as refusal:
            effects = self._membership.refused(request, refusal, self._now())
        except Exception as error:
            log.exception("an answer cannot be read", worker=self.id, request=type(request).__name__)
            unread = Refusal(Code.INTERNAL, f"the answer cannot be read: {error}")
            effects = self._membership.refused(request, unread, self._now())
        else:
            effects = self._membership.replied(request, reply, self._now())
        self._carry_out(effects)
        return next((each.refusal for each in effects if isinstance(each, Deny)), None)

    async def _send(self, request: Request) -> Any:  # noqa: ANN401, PLR0911  - what each request is answered with
        cluster = self._cluster
        match request:
            case Join():
                return await cluster.join(self._purpose, self.id, self._info)
            case Beat():
                return await cluster.keep_alive(self.id, time_limit=BEAT_LIMIT_S)
            case Report(state=state):
                if state is not None:
                    await cluster.report_state(self.id, state)
                return await self._report_load()
            case PickUp(tasks=tasks, meta=meta):
                return await cluster.pick_up_tasks(self.id, tasks, meta)
            case LayDown(task=task, meta=meta):
                return await cluster.lay_down_task(self.id, task, meta)
            case Reject(task=task, meta=meta):
                return await cluster.unschedule(self.id, task, meta)
            case Drain(deadline_ms=deadline_ms):
                return await cluster.drain(self.id, deadline_ms)
            case Quit():
                return await cluster.quit(self.id, time_limit=QUIT_S)

    async def _report_load(self) -> None:
        try:
            load = _share(self._load())
        except Exception:
            if self._measured:
                log.exception("the load cannot be measured, and is not reported", worker=self.id)
            self._measured = False
        else:
            self._measured = True
            await self._cluster.report_load(self.id, load)

    def _tell(self, news: News) -> None:
        said = self._log.warning if isinstance(news, Lost | OutOfReach | NotReported) else self._log.info
        said(_SENTENCES[type(news)], **_figures(news))
        self._put(news)

    def _put(self, news: News | None) -> None:
        if self._news.full():
            self._log.error(
                "too much news waits: the oldest is given up", given_up=str(self._news.get_nowait())
            )
        self._news.put_nowait(news)

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._membership.due is not None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_at(self._membership.due, self._tick)

    def _tick(self) -> None:
        self._carry_out(self._membership.tick(self._now()))

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()


_SENTENCES: Final[dict[type[News], str]] = {
    Joined: "joined the cluster",
    Lost: "the cluster had given this worker up: joining again",
    Rejoined: "joined the cluster again, and handing back what is still run",
    TaskReleased: "a task is another worker's now",
    DrainAsked: "this worker gets no new tasks",
    MoveTasks: "the tasks that are left are to be moved",
    DrainEnded: "this worker gets new tasks again",
    OutOfReach: "the cluster is out of reach: going on without it",
    BackInReach: "the cluster is back in reach",
    NotReported: "the cluster does not take this worker's reports",
}


def _share(load: float) -> float:
    """Return a load as it is reported: a little too much is full, and what is no number is no load.

    Raises:
        ValueError: It is no number.
    """
    if math.isnan(load):
        raise ValueError("the load is not a number")
    return min(1.0, max(0.0, float(load)))


def _figures(news: News) -> dict[str, Any]:
    """Return what goes with a log line; of many tasks only how many there are."""
    told = msgspec.structs.asdict(news)
    return {name: len(value) if isinstance(value, tuple) else value for name, value in told.items()}
