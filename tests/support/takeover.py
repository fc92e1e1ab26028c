"""Cluster managers on one log, callers that go on asking, faults, and what the log says afterwards."""

import asyncio
import contextlib
import json
import shutil
import signal
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Final, NamedTuple

from roomledger.domain.errors import Refusal
from roomledger.event_store.connection import connect
from roomledger.event_store.jetstream import JetStreamStore
from roomledger.event_store.layout import Layout
from roomledger.event_store.store import EventStore
from roomledger.runtime.calls import RequestMeta
from roomledger.runtime.nats_binary import find_nats_conf
from roomledger.sdk.cluster import Cluster
from roomledger_events.envelope import Commit
from roomledger_events.identifiers import new_id
from roomledger_events.subjects import Boundary, Kind
from roomledger_events.tasks import (
    ReservationCancelled,
    ReservationExpired,
    ReservationExtended,
    TaskReleased,
    WorkerReserved,
)
from roomledger_events.workers import SchedulerTakenOver, WorkerInfo
from tests.support.nats import until
from tests.support.serving import Serving, start
from tests.test_nats_cluster import LOG, PASSWORDS, documented, reserve
from tests.test_nats_cluster import start as start_member

PURPOSE: Final = "portal"
RESERVE_MS: Final = 3_600_000
PAUSE_S: Final = 5.0
"""Longer than a lease lasts."""
KILL, STOP, PAUSE = "kill -9", "clean stop", "pause"


class Access(NamedTuple):
    """How a log is reached."""

    url: str
    password: str
    replicas: int = 1


@asynccontextmanager
async def three_servers(path: Path) -> AsyncIterator[Access]:
    """Run a cluster of three, as the documents show it.

    Args:
        path: A directory for their files.
    """
    async with AsyncExitStack() as stack:
        shutil.copy(find_nats_conf(), path / "nats.conf")
        (path / "nats-cluster.conf").write_text(documented("nats-cluster.conf"))
        ports = [stack.enter_context(reserve()) for _ in range(3)]
        routes = [f"nats-route://route:routepw@127.0.0.1:{port.getsockname()[1]}" for port in ports]
        members = [await start_member(stack, path, port, routes) for port in ports]
        access = Access(",".join(member.url for member in members), PASSWORDS["service"], replicas=3)
        await _formed(access)
        yield access


async def _formed(access: Access) -> None:
    """Return when the three have found each other and can keep something three times."""
    connection = await connect(access.url, "service", access.password)
    probe = json.dumps({"name": f"{LOG}_PROBE", "subjects": [f"$KV.{LOG}_PROBE.>"], "num_replicas": 3})

    async def formed() -> bool:
        try:
            answer = await connection.request(f"$JS.API.STREAM.CREATE.{LOG}_PROBE", probe.encode(), timeout=1)
        except TimeoutError:
            return False
        return "error" not in json.loads(answer.data)

    await until(formed, seconds=30)
    await connection.close()


class Answered(NamedTuple):
    """An answer to a caller."""

    at: float
    task: str
    worker: str
    sequence: int


class Fault(NamedTuple):
    """What was done to the active manager, and for how long nobody was answered then, in seconds."""

    kind: str
    gap: float


class Managers:
    """Managers in processes of their own, by name.

    Args:
        access: Where their log is.
        path: A directory for their data.
        purposes: The settings by purpose.
    """

    def __init__(self, access: Access, path: Path, purposes: dict[str, dict[str, object]]) -> None:
        self.running: dict[str, Serving] = {}
        self._path = path
        self._variables = {
            "ROOMLEDGER_NATS_URL": access.url,
            "ROOMLEDGER_NATS_PASSWORD": access.password,
            "ROOMLEDGER_LOG_REPLICAS": str(access.replicas),
            "ROOMLEDGER_SCHEDULER": json.dumps(purposes),
        }

    async def start(self, name: str) -> None:
        self.running[name] = await start(
            self._path / name, "cluster-manager", ROOMLEDGER_MANAGER_ID=name, **self._variables
        )

    async def end(self, name: str, number: signal.Signals = signal.SIGKILL) -> None:
        await self.running.pop(name).stop(number)

    async def close(self) -> None:
        for name in list(self.running):
            with contextlib.suppress(ProcessLookupError):
                self.running[name].send(signal.SIGCONT)
            await self.end(name)


class Managed:
    """Managers, and who looks at them.

    Attributes:
        store: The log.
        managers: The processes.
    """

    def __init__(self, access: Access, store: EventStore, managers: Managers, calls: Cluster) -> None:
        self.access = access
        self.store = store
        self.managers = managers
        self.calls = calls
        self.taken_over: list[str] = []

    @property
    def active(self) -> str:
        """The name of the manager that took over last."""
        return self.taken_over[-1].rpartition("-")[0]

    async def watch(self) -> None:
        """Take note of who takes over."""
        scheduler = (Boundary(Kind.SCHEDULER, PURPOSE),)
        async with contextlib.aclosing(self.store.follow(scheduler)) as commits:
            async for commit in commits:
                self.taken_over += [
                    event.data.manager
                    for event in commit.events
                    if isinstance(event.data, SchedulerTakenOver)
                ]

    async def join(self, purpose: str, workers: Iterable[str], load: float = 0.1) -> None:
        """Let workers join that report their load once."""
        for worker in workers:
            await self.calls.join(purpose, worker, WorkerInfo(ip="127.0.0.1", max_load=0.9))
            await self.calls.report_load(worker, load)

    async def commits(self, *only: Boundary) -> list[Commit]:
        return [commit async for commit in self.store.read(only)]


@asynccontextmanager
async def managed(
    access: Access, path: Path, purposes: dict[str, dict[str, object]], count: int = 3
) -> AsyncIterator[Managed]:
    """Start managers on a log, whose settings by purpose are these."""
    async with AsyncExitStack() as stack:
        managers = Managers(access, path, purposes)
        stack.push_async_callback(managers.close)
        await managers.start("m0")
        await asyncio.gather(*(managers.start(f"m{number}") for number in range(1, count)))
        connection = await connect(access.url, "service", access.password)
        stack.push_async_callback(connection.close)
        store = await JetStreamStore.open(connection, Layout(replicas=access.replicas))
        yield Managed(access, store, managers, Cluster(connection, actor="test"))


class Callers:
    """Clients that ask for tasks, each task two of them, spread over a time.

    Args:
        access: Where the cluster is.
        tasks: How many tasks.
        clients: How many clients.
        seconds: The time that they are spread over; what is left when they are told to hurry comes at once.
    """

    def __init__(self, access: Access, *, tasks: int, clients: int, seconds: float) -> None:
        self.answers: list[Answered] = []
        self.refused: dict[str, int] = {}
        self.hurry = asyncio.Event()
        self._access = access
        self._seconds = seconds
        self._asks: list[list[tuple[float, str]]] = [[] for _ in range(clients)]
        for number in range(tasks):
            first = number % clients
            second = (first + 1 + (number // clients) % (clients - 1)) % clients
            for client in (first, second):
                self._asks[client].append((number / tasks, f"t{number}"))

    async def run(self) -> None:
        """Return when every client has an answer to each of its asks."""
        async with AsyncExitStack() as stack:
            calls = []
            for _ in range(8):
                connection = await connect(self._access.url, "service", self._access.password)
                stack.push_async_callback(connection.close)
                calls.append(Cluster(connection, actor="test"))
            began = asyncio.get_running_loop().time()
            async with asyncio.TaskGroup() as group:
                for number, asks in enumerate(self._asks):
                    group.create_task(self._ask_all(calls[number % len(calls)], asks, began))

    async def _ask_all(self, calls: Cluster, asks: list[tuple[float, str]], began: float) -> None:
        loop = asyncio.get_running_loop()
        for share, task in asks:
            wait = began + share * self._seconds - loop.time()
            if wait > 0 and not self.hurry.is_set():
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(wait):
                        await self.hurry.wait()
            await self._ask(calls, task)

    async def _ask(self, calls: Cluster, task: str) -> None:
        meta = RequestMeta(command=new_id())
        while True:
            try:
                found = await calls.schedule(PURPOSE, task, reserve_ms=RESERVE_MS, meta=meta)
            except Refusal as refusal:
                if refusal.retry_after_ms is None:
                    raise
                self.refused[refusal.code] = self.refused.get(refusal.code, 0) + 1
                continue
            now = asyncio.get_running_loop().time()
            self.answers.append(Answered(now, task, found.worker, found.sequence))
            return


class Disturbed(NamedTuple):
    """What callers noticed of a time full of faults.

    Attributes:
        faults: What was done, and the gaps that it left.
        answers: How many there were, each of them as the log has it.
        taken_over: How often a manager took over.
    """

    faults: list[Fault]
    answers: int
    taken_over: int

    def gaps(self, kind: str) -> list[float]:
        """Return the gaps that faults of a kind left, in seconds."""
        return [fault.gap for fault in self.faults if fault.kind == kind]


async def disturbed(
    access: Access,
    path: Path,
    settings: dict[str, dict[str, object]],
    *,
    tasks: int,
    rounds: int,
    kinds: Sequence[str],
) -> Disturbed:
    """Do things to the active one of three managers again and again, under 64 clients.

    Args:
        access: Where a log is.
        path: A directory for the managers' data.
        settings: By purpose.
        tasks: How many tasks are asked for, each of them twice.
        rounds: How often each thing is done.
        kinds: What is done.

    Raises:
        AssertionError: Somebody was told what is not in the log, or the log has two writers.
    """
    async with managed(access, path, settings) as cluster:
        await cluster.join(PURPOSE, (f"w{number}" for number in range(10)))
        watching = asyncio.create_task(cluster.watch())
        await until(lambda: bool(cluster.taken_over))
        callers = Callers(access, tasks=tasks, clients=64, seconds=rounds * 90)
        calling = asyncio.create_task(callers.run())
        await until(lambda: len(callers.answers) > 20)
        faults: list[Fault] = []
        for _ in range(rounds):
            faults += await disturb(cluster, callers, kinds)
        callers.hurry.set()
        await calling
        watching.cancel()
        check(await cluster.commits(Boundary(Kind.SCHEDULER, PURPOSE)), callers.answers)
        assert len(callers.answers) == 2 * tasks
    return Disturbed(faults, len(callers.answers), len(cluster.taken_over))


async def disturb(cluster: Managed, callers: Callers, kinds: Sequence[str]) -> list[Fault]:
    """Do one thing after another to whichever manager is active, and return how long each left a gap.

    The callers must go on longer than this, or their end would look like a gap.
    """
    faults = []
    for kind in kinds:
        before, name = len(cluster.taken_over), cluster.active
        first = len(callers.answers) - 1
        manager = cluster.managers.running[name]
        if kind == PAUSE:
            manager.send(signal.SIGSTOP)
            await asyncio.sleep(PAUSE_S)
            manager.send(signal.SIGCONT)
        else:
            await cluster.managers.end(name, signal.SIGKILL if kind == KILL else signal.SIGTERM)
            await cluster.managers.start(name)
        await until(lambda: len(cluster.taken_over) > before, seconds=15)  # noqa: B023  - awaited here
        after = len(callers.answers)
        await until(lambda: len(callers.answers) >= after + 40, seconds=15)  # noqa: B023  - as above
        assert not callers.hurry.is_set()
        times = [answer.at for answer in callers.answers[first:]]
        faults.append(Fault(kind, max(b - a for a, b in pairwise(times))))
    return faults


def check(commits: Sequence[Commit], answers: Sequence[Answered]) -> None:
    """Hold what callers were told against the log, and the log against the rule of one writer.

    Raises:
        AssertionError: They do not agree.
    """
    said: set[tuple[str, str, int]] = set()
    holder: dict[str, str] = {}
    writer = ""
    for commit in commits:
        for event in commit.events:
            data = event.data
            match data:
                case SchedulerTakenOver():
                    writer = f"cluster-manager/{data.manager}"
                case WorkerReserved():
                    assert data.task not in holder, f"{data.task} has two workers at {commit.sequence}"
                    holder[data.task] = data.worker
                    said.add((data.task, data.worker, commit.sequence))
                case ReservationExtended():
                    assert holder[data.task] == data.worker
                    said.add((data.task, data.worker, commit.sequence))
                case ReservationCancelled() | ReservationExpired() | TaskReleased():
                    holder.pop(data.task, None)
                case _:
                    pass
            assert event.source == writer, f"{event.source} wrote {commit.sequence} after {writer} took over"
    told: dict[str, set[str]] = {}
    for answer in answers:
        told.setdefault(answer.task, set()).add(answer.worker)
        assert (answer.task, answer.worker, answer.sequence) in said, f"{answer} is not in the log"
    two = {task: workers for task, workers in told.items() if len(workers) > 1}
    assert not two, f"told of different workers: {two}"
