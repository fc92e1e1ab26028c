"""The writer of a boundary: one piece of code for cluster managers and for the controllers of rooms.

Commands wait in a bounded queue.  The writer takes all that are there, decides each on the state in memory
and evolves the state with it, appends all their events as one commit under the expected last
sequence, and answers.  One commit is in flight at a time; what comes in meanwhile is decided ahead, on a
state with what is in flight, and goes into the next one, which so grows with the load by itself.

While a commit's fate is unknown, because the log does not answer, its callers and all new ones are told so,
and the same commit is sent again until it is known.  A commit that lost the race means that somebody else
wrote: the writer reads what it was, and either it is the writer no more (`Deposed`) or it decides again.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from time import monotonic
from typing import Any, Generic, TypeVar

import structlog

from roomledger.domain.decider import Context, Decider, Decision
from roomledger.domain.errors import Code, Refusal
from roomledger.event_store.errors import Conflict, LogFull, LogUnavailable
from roomledger.event_store.store import EventStore
from roomledger.runtime.batch import Batch, Decided
from roomledger.runtime.commands import Answer, Meta, Query, Waiting
from roomledger.runtime.earlier import Earlier, first_answer
from roomledger.runtime.envelopes import enveloped
from roomledger.runtime.errors import Deposed
from roomledger.runtime.intake import Intake
from roomledger.runtime.pending import Pending
from roomledger.runtime.taken_in import TakenIn
from roomledger_events.envelope import MAX_EVENTS, CommitTooLarge
from roomledger_events.identifiers import new_ids
from roomledger_events.subjects import GUARDED, Boundary, Kind

State = TypeVar("State")
Command = TypeVar("Command")
Seen = TypeVar("Seen")
log = structlog.get_logger(__name__)

SURE_S = 1.0
"""For so long after the log confirmed the writer it answers from memory alone; no other takes over sooner."""

_RETRY_S = 0.5


class Writer(Generic[State, Command]):
    """Decides the commands of one boundary, in order, as long as it is the boundary's one writer.

    Args:
        store: The log.
        boundary: What it writes.
        decider: The rules.
        source: The process, for the events' envelopes; one incarnation's own.
        also: Further boundaries that the state takes in, such as a room's tokens or a purpose's loads.
        owns: Whether the state says that this writer is still the one who decides.
    """

    def __init__(
        self,
        store: EventStore,
        boundary: Boundary,
        decider: Decider[State, Command],
        *,
        source: str,
        owns: Callable[[State], bool],
        also: Sequence[Boundary] = (),
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        draw: Callable[[], float] = random.random,
    ) -> None:
        self.boundary = boundary
        self.commits = 0
        self.events = 0
        self._store = store
        self._decider = decider
        self._source = source
        self._owns = owns
        self._taken_in = TakenIn(store, boundary, decider, source=source, also=also)
        self._clock = clock
        self._draw = draw
        self._intake = Intake(boundary)
        self._next = Batch()
        self._in_flight: Batch | None = None
        self._will_decide_ahead = False
        self._wake = asyncio.Event()
        self._caught_up: list[asyncio.Future[None]] = []
        self._looks: list[tuple[Callable[[State, int, int], Any], asyncio.Future[Any]]] = []
        self._asking: set[asyncio.Task[None]] = set()

    @property
    def state(self) -> State:
        """What has been decided has led to; not all of it need be in the log yet."""
        return self._taken_in.state

    @property
    def unconfirmed_s(self) -> float:
        """For how long the log has not shown that this is the writer: a process may be halted for a while."""
        return self._taken_in.unconfirmed_s

    # -- Commands in

    def submit(self, command: Command | Query, meta: Meta) -> Pending[Answer]:
        """Queue a command; it ends with its answer, or with a `Refusal`.

        A command that is cancelled while it waits is not carried out.
        """
        known = self._intake.answered.get(meta.command)
        if known is not None:
            return known
        waiting = self._intake.admit(command, meta)
        if not waiting.answer.done():
            sequence = self._taken_in.earlier.get(meta.command)
            if sequence is None:
                self._enqueue(waiting)
            else:
                self._begin_answering_again(waiting, sequence)
        return waiting.answer

    def _enqueue(self, waiting: Waiting) -> None:
        self._intake.queue.append(waiting)
        self._wake.set()
        if self._in_flight is not None and not self._will_decide_ahead:
            self._will_decide_ahead = True
            asyncio.get_running_loop().call_soon(self._decide_ahead)

    def notice(self, boundary: Boundary, sequence: int) -> None:
        """Take note that a commit is in the log; what is not the writer's own will be read."""
        self._taken_in.notice(boundary, sequence)
        if self._taken_in.is_behind:
            self._wake.set()

    def catch_up(self) -> Awaitable[None]:
        """Return when the state has taken in all that is in the log now; a `Refusal` if it cannot."""
        caught_up: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self._intake.closed is not None:
            caught_up.set_exception(self._intake.closed)
            return caught_up
        self._caught_up.append(caught_up)
        self._wake.set()
        return caught_up

    def at_rest(self, look: Callable[[State, int, int], Seen]) -> "Awaitable[Seen]":
        """Have something looked at while nothing is under way.

        Args:
            look: Gets the state, the last sequence of the boundary and that of the log in it; must not change
                the state.
        """
        seen: asyncio.Future[Seen] = asyncio.get_running_loop().create_future()
        self._looks.append((look, seen))
        self._wake.set()
        return seen

    def commands(self) -> dict[str, int]:
        """Return which commit each command led to that may be asked for again."""
        return self._taken_in.earlier.known() | self._intake.answered.sequences()

    # -- Becoming the writer

    def adopt(self, state: State, *, expected: int, basis: int, earlier: Earlier | None = None) -> None:
        """Start from a state that somebody folded already.

        Args:
            state: It belongs to the writer from now on.
            expected: The last sequence of the boundary in it.
            basis: The last sequence of the log in it.
            earlier: The commands that have been carried out up to there.
        """
        self._taken_in.adopt(state, expected=expected, basis=basis, earlier=earlier)

    async def load(self) -> None:
        """Fold the state from the log, from its beginning.

        Raises:
            LogUnavailable: The log could not be read.
        """
        await self._taken_in.read()

    async def take_over(self, command: Command, meta: Meta, *, tries: int = 10) -> None:
        """Append the fact that this is the writer now; from then on it can serve.

        Args:
            command: The one that leads to the fact.
            meta: Who wants it.
            tries: How often to read on and try again when somebody else writes at the same time.

        Raises:
            Refusal: The state does not let it.
            Conflict: Somebody else wrote each time.
            LogUnavailable: The log could not be read or did not answer.
        """
        for left in reversed(range(tries)):
            now = self._clock()
            decision = self._decide(command, meta, now)
            if decision.refusal is not None:
                raise decision.refusal
            events = enveloped(decision.facts, meta, source=self._source, time=now, ids=new_ids(1))
            if not events:
                break
            began = monotonic()
            try:
                sequence = await self._store.append(self.boundary, events, self._taken_in.expected)
            except Conflict:
                if left == 0:
                    raise
                await self._taken_in.read_on()
                continue
            self._taken_in.confirm(began)
            self._taken_in.evolve(events)
            self._taken_in.wrote(self.boundary, sequence)
            break
        self._intake.closed = None

    def close(self) -> None:
        """Refuse all that waits and all that comes."""
        self._intake.closed = refusal = Refusal(
            Code.NOT_READY, f"{self.boundary} is not decided here any more"
        )
        if self._in_flight is not None:
            self._intake.refuse_decided(self._in_flight, refusal)
        self._refuse_all(refusal)

    # -- The loop

    async def run(self) -> None:
        """Decide until cancelled.

        Raises:
            Deposed: Somebody else is the writer now.
        """
        timer: asyncio.TimerHandle | None = None
        try:
            while True:
                timer = self._arm(timer)
                if not self._intake.queue:
                    await self._wake.wait()
                self._wake.clear()
                if self._taken_in.is_behind or self._caught_up:
                    await self._catch_up()
                self._look()
                self._queue_due()
                # A queue that never empties must not put off those who wait for the log's end, or for a rest.
                while self._next.decided or (self._intake.queue and not self._is_waited_for()):
                    await self._commit()
                    self._must_own()  # what it has decided may have been to decide no more
                    self._queue_due()
        finally:
            if timer is not None:
                timer.cancel()
            self.close()

    def _is_waited_for(self) -> bool:
        """Whether somebody waits until nothing is under way."""
        return bool(self._caught_up or self._looks)

    def _look(self) -> None:
        looks, self._looks = self._looks, []
        for look, seen in looks:
            if not seen.done():
                seen.set_result(look(self.state, self._taken_in.expected, self._taken_in.basis))

    def _arm(self, timer: asyncio.TimerHandle | None) -> asyncio.TimerHandle | None:
        if timer is not None:
            timer.cancel()
        deadline = self._decider.deadline(self.state)
        if deadline is None:
            return None
        seconds = max(0.0, (deadline - self._clock()).total_seconds())
        return asyncio.get_running_loop().call_later(seconds, self._wake.set)

    def _queue_due(self) -> None:
        deadline = self._decider.deadline(self.state)
        now = self._clock()
        if deadline is None or deadline > now:
            return
        for command in reversed(self._decider.due(self.state, now)):
            self._intake.put_first(command)

    def _decide_ahead(self) -> None:
        """Decide what has come in while a commit is in flight, unless somebody waits for a rest."""
        self._will_decide_ahead = False
        if self._in_flight is not None and self._intake.closed is None and not self._is_waited_for():
            self._decide_what_waits()

    def _decide_what_waits(self) -> None:
        """Decide commands and evolve the state with them, as far as their events go into the next commit."""
        queue, decided, draft = self._intake.queue, self._next.decided, self._next.events
        if not queue or len(draft) >= MAX_EVENTS:
            return
        now, ids = self._clock(), new_ids(min(len(queue), MAX_EVENTS))
        while queue:
            waiting = queue[0]
            if waiting.answer.cancelled():
                queue.popleft()
                continue
            try:
                decision = self._decide(waiting.command, waiting.meta, now)
            except Exception as error:
                queue.popleft()
                log.exception("a command could not be decided", boundary=str(self.boundary))
                waiting.answer.set_exception(error)
                continue
            if decision.facts:
                events = enveloped(decision.facts, waiting.meta, source=self._source, time=now, ids=ids)
                of_another_kind = draft and draft[0].data.kind is not events[0].data.kind
                if of_another_kind or not draft.add(events):
                    break
                self._taken_in.evolve(events)
            queue.popleft()
            decided.append(Decided(waiting, decision, len(draft) - 1))

    async def _commit(self) -> None:
        """See the next commit through, with what waits: store its events, then answer."""
        self._decide_what_waits()
        batch, self._next = self._next, Batch()
        before = self._taken_in.basis
        if batch.events:
            self._in_flight = batch
            try:
                await self._append(batch)
                self._in_flight = None
            except Conflict:
                await self._decide_again(batch)
                return
            except LogFull as full:
                await self._take_back(batch, Refusal(Code.LOG_FULL, str(full)))
                return
            except CommitTooLarge as large:
                await self._take_back(batch, Refusal(Code.INVALID_ARGUMENT, str(large)))
                return
        elif batch.decided and self.unconfirmed_s > SURE_S:
            await self._make_sure(batch)
            return
        for each in batch.decided:
            waiting, decision, place = each.waiting, each.decision, each.place
            if decision.refusal is not None:
                self._intake.refuse(waiting, decision.refusal)
            elif not waiting.answer.done():
                reflected = (before, MAX_EVENTS - 1) if place < 0 else (self._taken_in.basis, place)
                waiting.answer.set_result(Answer(decision.answer, *reflected))

    def _decide(self, command: Any, meta: Meta, now: datetime) -> Decision:  # noqa: ANN401  - the decider knows its commands
        try:
            if type(command) is Query:
                return Decision(answer=command.of(self.state))
            context = Context(now, self._taken_in.basis, self._draw(), meta.correlation or "", meta.actor)
            return self._decider.decide(self.state, command, context)
        except Refusal as refusal:
            return Decision(refusal=refusal)

    async def _append(self, batch: Batch) -> None:
        events = batch.events
        kind: Kind = events[0].data.kind
        own = kind is self.boundary.kind
        boundary = self.boundary if own else Boundary(kind, self.boundary.name)
        last = self._taken_in.expected
        expected = last if kind in GUARDED else None
        guard = None if own else (self.boundary, last)
        while True:
            began = monotonic()
            try:
                sequence = await self._store.append(boundary, events, expected, guard=guard)
                break
            except LogUnavailable as error:
                self._intake.closed = refusal = Refusal(Code.LOG_UNAVAILABLE, str(error))
                self._intake.refuse_decided(batch, refusal)
                self._refuse_all(refusal)
                log.warning("the log does not answer", boundary=str(boundary), error=str(error))
        if self._intake.closed is not None:
            log.info("the log answers again", boundary=str(boundary))
            self._intake.closed = None
        if expected is not None or guard is not None:
            self._taken_in.confirm(began)
        self._taken_in.wrote(boundary, sequence)
        self.commits += 1
        self.events += len(events)

    async def _catch_up(self) -> None:
        waiting, self._caught_up = self._caught_up, []
        try:
            await self._taken_in.read_on()
        except LogUnavailable as error:
            for caught_up in waiting:
                if not caught_up.done():
                    caught_up.set_exception(Refusal(Code.LOG_UNAVAILABLE, str(error)))
            asyncio.get_running_loop().call_later(_RETRY_S, self._wake.set)
            return
        for caught_up in waiting:
            if not caught_up.done():
                caught_up.set_result(None)
        self._must_own()

    async def _make_sure(self, batch: Batch) -> None:
        """Have the log confirm this writer before it answers without writing, then decide again.

        What is written is safe by its expectation. But a writer that was halted, and has not noticed that
        another one took over, would else tell from its memory what is not so any more.
        """
        try:
            await self._taken_in.read_on()
        except LogUnavailable as error:
            self._intake.refuse_decided(batch, Refusal(Code.LOG_UNAVAILABLE, str(error)))
            return
        self._intake.put_back(batch)
        self._must_own()

    async def _decide_again(self, batch: Batch) -> None:
        """Put the commands of a lost commit back, on a state without what they would have done."""
        self._put_back_next()
        self._intake.put_back(batch)
        await self._reload()

    async def _take_back(self, batch: Batch, refusal: Refusal) -> None:
        """Refuse commands whose commit was not stored and never will be."""
        self._put_back_next()
        self._intake.refuse_decided(batch, refusal)
        await self._reload()

    def _put_back_next(self) -> None:
        """Put back what was decided ahead of a commit that was not stored."""
        batch, self._next, self._in_flight = self._next, Batch(), None
        self._intake.put_back(batch)

    async def _reload(self) -> None:
        while True:
            try:
                await self.load()
                break
            except LogUnavailable as error:
                self._refuse_all(Refusal(Code.LOG_UNAVAILABLE, str(error)))
        self._must_own()

    def _must_own(self) -> None:
        if not self._owns(self.state):
            raise Deposed(self.boundary)

    # -- Answers

    def _begin_answering_again(self, waiting: Waiting, sequence: int) -> None:
        asking = asyncio.create_task(self._answer_again(waiting, sequence), name="giving the first answer")
        self._asking.add(asking)
        asking.add_done_callback(self._asking.discard)

    async def _answer_again(self, waiting: Waiting, sequence: int) -> None:
        """Answer a command that another writer has carried out as that one did; or have it decided."""
        try:
            commit = await self._taken_in.commit(sequence)
        except LogUnavailable as error:
            self._intake.refuse(waiting, Refusal(Code.LOG_UNAVAILABLE, str(error)))
            return
        if waiting.answer.done():
            return
        told = None
        if commit is not None:
            command, asked = waiting.command, waiting.meta.command
            told = first_answer(self._decider, self.state, command, asked, commit, self._clock())
        if self._intake.closed is not None:
            self._intake.refuse(waiting, self._intake.closed)
        elif told is None:
            self._enqueue(waiting)
        elif isinstance(told, Refusal):
            self._intake.refuse(waiting, told)
        else:
            waiting.answer.set_result(told)

    def _refuse_all(self, refusal: Refusal) -> None:
        self._intake.refuse_decided(self._next, refusal)
        self._intake.refuse_queue(refusal)
        waiting = [*self._caught_up, *(seen for _, seen in self._looks)]
        self._caught_up, self._looks = [], []
        for future in waiting:
            if not future.done():
                future.set_exception(refusal)
