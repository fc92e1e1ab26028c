"""The active manager: one writer a purpose, and who was heard of."""

import asyncio
import contextlib
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from functools import partial
from typing import Any

import structlog
from nats.aio.client import Client

from roomledger.domain.decider import Decider
from roomledger.domain.errors import Code, Refusal
from roomledger.domain.explanation import Explanation
from roomledger.domain.membership import Command, Join, LoseWorker, TakeOver
from roomledger.domain.purpose import PurposeSettings
from roomledger.domain.scheduler_digest import digest_of
from roomledger.domain.scheduler_state import SchedulerState
from roomledger.event_store.errors import EventStoreError, LogUnavailable
from roomledger.event_store.store import EventStore
from roomledger.processes.cluster_manager.following import Followed
from roomledger.processes.cluster_manager.liveness import Liveness
from roomledger.runtime.commands import Answer, Meta, Query
from roomledger.runtime.ending import end
from roomledger.runtime.errors import Deposed
from roomledger.runtime.explaining import explained
from roomledger.runtime.pending import Pending
from roomledger.runtime.writer import Writer
from roomledger.sdk.cluster import Digested, StateDigests
from roomledger_events.identifiers import new_id
from roomledger_events.subjects import Boundary, Kind

TICK_S = 0.25
"""How often the silent workers are looked for."""
DEAF_S = 1.0
"""If a tick is so late, this process was asleep itself, and nobody's silence counts."""

WAITING = 4
"""So many may ask for an explanation while another one is made: the log is read for each."""

log = structlog.get_logger(__name__)


class Desk:
    """What decides for one purpose."""

    def __init__(self, writer: Writer[SchedulerState, Command], liveness: Liveness) -> None:
        self.writer = writer
        self.liveness = liveness
        self.running: asyncio.Task[None] | None = None

    def decide(self, command: Command | Query, meta: Meta) -> Pending[Answer]:
        """Have a command decided; it ends with the answer, or with a `Refusal`."""
        return self.writer.submit(command, meta)


class Active:
    """Decides for all purposes, from the state that was followed so far.

    Args:
        broker: The connection that the workers are heard on.
        store: The log.
        manager: This manager's id.
        settings: Returns what is set for a purpose.
        decider: Returns the rules of a purpose.
    """

    def __init__(
        self,
        broker: Client,
        store: EventStore,
        *,
        manager: str,
        settings: Callable[[str], PurposeSettings],
        decider: Callable[[str], Decider[SchedulerState, Any]],
    ) -> None:
        self.desks: dict[str, Desk] = {}
        self.deposed = asyncio.Event()
        self._broker = broker
        self._store = store
        self._manager = manager
        self._settings = settings
        self._decider = decider
        self._opening: dict[str, asyncio.Task[Desk]] = {}
        self._joining: dict[str, str] = {}
        self._ticking: asyncio.Task[None] | None = None
        self._explaining: dict[str, asyncio.Task[Explanation]] = {}
        self._one_explained = asyncio.Lock()

    async def start(self, purposes: dict[str, Followed], sequence: int) -> None:
        """Take every purpose over.

        Args:
            purposes: Their states; they belong to this manager from now on.
            sequence: The last sequence of the log in them.

        Raises:
            EventStoreError: The log did not take it.
        """
        for purpose, followed in purposes.items():
            if followed.sequence:
                await self._open(purpose, followed, sequence)
        self._ticking = asyncio.create_task(self._tick(), name="looking for silent workers")

    async def stop(self) -> None:
        """Decide no more."""
        running = (desk.running for desk in self.desks.values())
        await end(self._ticking, *self._explaining.values(), *running)
        for desk in self.desks.values():
            desk.writer.close()

    def desk(self, purpose: str) -> Desk:
        """Return who decides for a purpose.

        Raises:
            Refusal: No worker ever joined it.
        """
        desk = self.desks.get(purpose)
        if desk is None:
            raise Refusal(Code.NO_SUCH_PURPOSE, f"no worker ever joined the purpose {purpose}")
        return desk

    def desk_of(self, worker: str) -> Desk | None:
        """Return who decides for a worker's purpose; None for a worker that is not known."""
        for desk in self.desks.values():
            if worker in desk.writer.state.workers:
                return desk
        return None

    async def join(self, purpose: str, command: Join, meta: Meta) -> Answer:
        """Let a worker join a purpose, which need not have had any.

        Raises:
            Refusal: Another purpose has a worker of that id, or the rules refuse it.
        """
        other = self.desk_of(command.worker)
        taken_by = self._joining.get(command.worker) or (
            None if other is None else other.writer.boundary.name
        )
        if taken_by not in {None, purpose}:
            raise Refusal(
                Code.INVALID_ARGUMENT,
                f"the id {command.worker} is taken by a worker of purpose {taken_by}",
                purpose=taken_by,
            )
        self._joining[command.worker] = purpose
        try:
            desk = self.desks.get(purpose) or await self._open_new(purpose)
            answer = await desk.decide(command, meta)
        finally:
            self._joining.pop(command.worker, None)
        self.hear(desk, command.worker)
        return answer

    async def explain(self, purpose: str, task: str, meta: Meta) -> Explanation:
        """Say why a task went to its worker, from the log; deciding goes on meanwhile.

        Tasks are explained one at a time. Who asks again under the same command waits for the same answer.

        Raises:
            Refusal: The log has no decision on it, or is out of reach, or too many ask at once (`BUSY`).
        """
        command = meta.command or new_id()
        explaining = self._explaining.get(command)
        if explaining is None:
            if len(self._explaining) > WAITING:
                raise Refusal(Code.BUSY, "other tasks are being explained")
            explaining = asyncio.create_task(self._explain(purpose, task), name=f"explaining {task}")
            self._explaining[command] = explaining
            explaining.add_done_callback(partial(self._explained, command))
        return await asyncio.shield(explaining)

    async def digests(self) -> StateDigests:
        """Return the digest of each purpose's state; each is looked at when it is its turn.

        Raises:
            Refusal: A purpose is not decided here any more.
        """
        purposes = {
            purpose: await desk.writer.at_rest(_digested) for purpose, desk in list(self.desks.items())
        }
        return StateDigests(manager=self._manager, purposes=purposes)

    def hear(self, desk: Desk, worker: str) -> None:
        """Take note that a worker is there."""
        desk.liveness.hear(worker, asyncio.get_running_loop().time(), datetime.now(UTC))

    async def _explain(self, purpose: str, task: str) -> Explanation:
        try:
            async with self._one_explained:
                return await explained(self._store, self._settings(purpose), task)
        except LogUnavailable as error:
            raise Refusal(Code.LOG_UNAVAILABLE, str(error)) from error

    def _explained(self, command: str, explaining: asyncio.Task[Explanation]) -> None:
        del self._explaining[command]
        if not explaining.cancelled():
            explaining.exception()  # whoever asked may have gone

    async def _open_new(self, purpose: str) -> Desk:
        opening = self._opening.get(purpose)
        if opening is None:
            opening = asyncio.create_task(self._open(purpose, Followed(self._decider(purpose).initial()), 0))
            self._opening[purpose] = opening
            opening.add_done_callback(lambda _: self._opening.pop(purpose, None))
        try:
            return await asyncio.shield(opening)
        except EventStoreError as error:
            raise Refusal(Code.LOG_UNAVAILABLE, str(error)) from error

    async def _open(self, purpose: str, followed: Followed, sequence: int) -> Desk:
        epoch = 0

        def owns(state: SchedulerState) -> bool:
            return (state.manager, state.epoch) == (self._manager, epoch)

        writer: Writer[SchedulerState, Command] = Writer(
            self._store,
            Boundary(Kind.SCHEDULER, purpose),
            self._decider(purpose),
            source=f"cluster-manager/{self._manager}",
            also=(Boundary(Kind.LOAD, purpose),),
            owns=owns,
        )
        writer.adopt(followed.state, expected=followed.sequence, basis=sequence, earlier=followed.earlier)
        command = TakeOver(manager=self._manager, settings=self._settings(purpose))
        await writer.take_over(command, Meta(actor=f"manager:{self._manager}"))
        epoch = writer.state.epoch
        desk = Desk(writer, Liveness(self._settings(purpose).lease_ms))
        self._hear_all(desk, writer.state.workers)
        desk.running = asyncio.create_task(self._run(writer), name=f"scheduler {purpose}")
        self.desks[purpose] = desk
        return desk

    async def _run(self, writer: Writer[SchedulerState, Command]) -> None:
        try:
            await writer.run()
        except Deposed as deposed:
            log.warning("another manager has taken over", boundary=str(deposed.boundary))
        except Exception:
            log.exception("deciding failed", boundary=str(writer.boundary))
        self.deposed.set()

    async def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        last = loop.time()
        while True:
            await asyncio.sleep(TICK_S)
            now = loop.time()
            deaf = not self._broker.is_connected or now - last > TICK_S + DEAF_S
            last = now
            for desk in self.desks.values():
                if deaf:
                    self._hear_all(desk, desk.writer.state.workers)
                else:
                    await self._lose_silent(desk, now)

    @staticmethod
    def _hear_all(desk: Desk, workers: Iterable[str]) -> None:
        """Give everybody the full period, because nobody could be heard."""
        now = asyncio.get_running_loop().time()
        for worker in list(workers):
            desk.liveness.hear(worker, now, desk.liveness.last_seen(worker))

    async def _lose_silent(self, desk: Desk, now: float) -> None:
        meta = Meta(actor=f"manager:{self._manager}")
        for worker, silent_ms in list(desk.liveness.silent(now)):
            with contextlib.suppress(Refusal):
                if worker in desk.writer.state.workers:
                    await desk.decide(LoseWorker(worker=worker, silent_ms=silent_ms), meta)
                    log.info("a worker is lost", worker=worker, silent_ms=silent_ms)
                desk.liveness.forget(worker)


def _digested(state: SchedulerState, _expected: int, basis: int) -> Digested:
    return Digested(sequence=basis, digest=digest_of(state))
