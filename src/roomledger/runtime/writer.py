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
import math
import random
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import UTC, datetime
from time import monotonic
from typing import Any, Generic, TypeVar

import msgspec
import structlog

from roomledger.domain.decider import Context, Decider, Decision, Fact
from roomledger.domain.errors import Code, Refusal
from roomledger.event_store.errors import Conflict, LogFull, LogUnavailable
from roomledger.event_store.store import EventStore
from roomledger.runtime.answered import Answered
from roomledger.runtime.commands import TIMER, Answer, Meta, Query, Waiting
from roomledger.runtime.earlier import REMEMBERED, Earlier
from roomledger.runtime.errors import Deposed
from roomledger.runtime.pending import Pending
from roomledger_events.envelope import MAX_EVENTS, Commit, CommitTooLarge, Draft, Event
from roomledger_events.identifiers import new_ids
from roomledger_events.subjects import GUARDED, Boundary, Kind

State = TypeVar("State")
Command = TypeVar("Command")
Seen = TypeVar("Seen")
log = structlog.get_logger(__name__)

QUEUE_LIMIT = 20_000
"""Commands that may wait for one boundary; further ones are refused as busy."""

SURE_S = 1.0
"""For so long after the log confirmed the writer it answers from memory alone; no other takes over sooner."""

_RETRY_S = 0.5


class _Decided(msgspec.Struct, frozen=True):
    waiting: Waiting
    decision: Decision
    place: int
    """Of the decision's last event in the commit, -1 for before them all."""


class _Batch:
    """Commands that were decided, and the commit of their events."""

    __slots__ = ("decided", "events")

    def __init__(self) -> None:
        self.decided: list[_Decided] = []
        self.events = Draft()


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
        self.state = decider.initial()
        self.basis = 0
        self.commits = 0
        self.events = 0
        self._store = store
        self._decider = decider
        self._source = source
        self._owns = owns
        self._read_from = (boundary, *also)
        self._clock = clock
        self._draw = draw
        self._expected = 0
        self._confirmed = -math.inf
        self._queue: deque[Waiting] = deque()
        self._next = _Batch()
        self._in_flight: _Batch | None = None
        self._will_decide_ahead = False
        self._wake = asyncio.Event()
        self._read_to = 0
        self._last_beside = 0
        self._outside = 0
        self._outside_beside = 0
        self._caught_up: list[asyncio.Future[None]] = []
        self._looks: list[tuple[Callable[[State, int, int], Any], asyncio.Future[Any]]] = []
        self._answered = Answered()
        self._earlier = Earlier()
        self._asking: set[asyncio.Task[None]] = set()
        self._unavailable: Refusal | None = Refusal(Code.NOT_READY, f"{boundary} is not being decided here")

    @property
    def unconfirmed_s(self) -> float:
        """For how long the log has not shown that this is the writer: a process may be halted for a while."""
        return monotonic() - self._confirmed

    # -- Commands in

    def submit(self, command: Command | Query, meta: Meta) -> Pending[Answer]:
        """Queue a command; it ends with its answer, or with a `Refusal`.

        A command that is cancelled while it waits is not carried out.
        """
        known = self._answered.get(meta.command)
        if known is not None:
            return known
        answer: Pending[Answer] = Pending()
        if self._unavailable is not None:
            answer.set_exception(self._unavailable)
        elif len(self._queue) >= QUEUE_LIMIT:
            answer.set_exception(Refusal(Code.BUSY, f"{len(self._queue)} commands wait for {self.boundary}"))
        else:
            self._answered.remember(meta.command, answer)
            waiting = Waiting(command, meta, answer)
            sequence = self._earlier.get(meta.command)
            if sequence is None:
                self._enqueue(waiting)
            else:
                self._begin_answering_again(waiting, sequence)
        return answer

    def _enqueue(self, waiting: Waiting) -> None:
        self._queue.append(waiting)
        self._wake.set()
        if self._in_flight is not None and not self._will_decide_ahead:
            self._will_decide_ahead = True
            asyncio.get_running_loop().call_soon(self._decide_ahead)

    def notice(self, boundary: Boundary, sequence: int) -> None:
        """Take note that a commit is in the log; what is not the writer's own will be read."""
        if boundary == self.boundary:
            self._outside = max(self._outside, sequence)
        else:
            self._outside_beside = max(self._outside_beside, sequence)
        if self._is_behind():
            self._wake.set()

    def catch_up(self) -> Awaitable[None]:
        """Return when the state has taken in all that is in the log now; a `Refusal` if it cannot."""
        caught_up: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self._unavailable is not None:
            caught_up.set_exception(self._unavailable)
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
        return self._earlier.known() | self._answered.sequences()

    # -- Becoming the writer

    def adopt(self, state: State, *, expected: int, basis: int, earlier: Earlier | None = None) -> None:
        """Start from a state that somebody folded already.

        Args:
            state: It belongs to the writer from now on.
            expected: The last sequence of the boundary in it.
            basis: The last sequence of the log in it.
            earlier: The commands that have been carried out up to there.
        """
        self.state, self._expected, self.basis = state, expected, basis
        self._earlier = earlier or Earlier()
        self._read_to, self._last_beside = basis, 0

    async def load(self) -> None:
        """Fold the state from the log, from its beginning.

        Raises:
            LogUnavailable: The log could not be read.
        """
        self.adopt(self._decider.initial(), expected=0, basis=0)
        await self._read_on()

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
            events = self._events_of(decision.facts, meta, now, new_ids(1))
            if not events:
                break
            began = monotonic()
            try:
                sequence = await self._store.append(self.boundary, events, self._expected)
            except Conflict:
                if left == 0:
                    raise
                await self._read_on()
                continue
            self._confirmed = began
            for event in events:
                self.state = self._decider.evolve(self.state, event)
            self._expected = self.basis = sequence
            break
        self._unavailable = None

    def close(self) -> None:
        """Refuse all that waits and all that comes."""
        self._unavailable = Refusal(Code.NOT_READY, f"{self.boundary} is not decided here any more")
        if self._in_flight is not None:
            self._refuse_decided(self._in_flight, self._unavailable)
        self._refuse_all(self._unavailable)

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
                if not self._queue:
                    await self._wake.wait()
                self._wake.clear()
                if self._is_behind() or self._caught_up:
                    await self._catch_up()
                self._look()
                self._queue_due()
                # A queue that never empties must not put off those who wait for the log's end, or for a rest.
                while self._next.decided or (self._queue and not self._is_waited_for()):
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
                seen.set_result(look(self.state, self._expected, self.basis))

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
            self._queue.appendleft(Waiting(command, TIMER, Pending()))

    def _decide_ahead(self) -> None:
        """Decide what has come in while a commit is in flight, unless somebody waits for a rest."""
        self._will_decide_ahead = False
        if self._in_flight is not None and self._unavailable is None and not self._is_waited_for():
            self._decide_what_waits()

    def _decide_what_waits(self) -> None:
        """Decide commands and evolve the state with them, as far as their events go into the next commit."""
        queue, decided, draft = self._queue, self._next.decided, self._next.events
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
                events = self._events_of(decision.facts, waiting.meta, now, ids)
                of_another_kind = draft and draft[0].data.kind is not events[0].data.kind
                if of_another_kind or not draft.add(events):
                    break
                evolve = self._decider.evolve
                for event in events:
                    self.state = evolve(self.state, event)
            queue.popleft()
            decided.append(_Decided(waiting, decision, len(draft) - 1))

    async def _commit(self) -> None:
        """See the next commit through, with what waits: store its events, then answer."""
        self._decide_what_waits()
        batch, self._next = self._next, _Batch()
        before = self.basis
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
                self._refuse(waiting, decision.refusal)
            elif not waiting.answer.done():
                reflected = (before, MAX_EVENTS - 1) if place < 0 else (self.basis, place)
                waiting.answer.set_result(Answer(decision.answer, *reflected))

    def _decide(self, command: Any, meta: Meta, now: datetime) -> Decision:  # noqa: ANN401  - the decider knows its commands
        try:
            if type(command) is Query:
                return Decision(answer=command.of(self.state))
            context = Context(now, self.basis, self._draw(), meta.correlation or "", meta.actor)
            return self._decider.decide(self.state, command, context)
        except Refusal as refusal:
            return Decision(refusal=refusal)

    def _events_of(self, facts: Sequence[Fact], meta: Meta, now: datetime, ids: Iterator[str]) -> list[Event]:
        return [
            Event.of(
                fact.data,
                about=fact.about,
                id=next(ids),
                source=self._source,
                time=now,
                correlation=fact.correlation or meta.correlation or meta.command or fact.about,
                causation=meta.causation or meta.command,
                actor=meta.actor,
                traceparent=meta.traceparent,
            )
            for fact in facts
        ]

    async def _append(self, batch: _Batch) -> None:
        events = batch.events
        kind: Kind = events[0].data.kind
        own = kind is self.boundary.kind
        boundary = self.boundary if own else Boundary(kind, self.boundary.name)
        expected = self._expected if kind in GUARDED else None
        guard = None if own else (self.boundary, self._expected)
        while True:
            began = monotonic()
            try:
                sequence = await self._store.append(boundary, events, expected, guard=guard)
                break
            except LogUnavailable as error:
                self._unavailable = Refusal(Code.LOG_UNAVAILABLE, str(error))
                self._refuse_decided(batch, self._unavailable)
                self._refuse_all(self._unavailable)
                log.warning("the log does not answer", boundary=str(boundary), error=str(error))
        if self._unavailable is not None:
            log.info("the log answers again", boundary=str(boundary))
            self._unavailable = None
        if expected is not None or guard is not None:
            self._confirmed = began
        self.basis = sequence
        if own:
            self._expected = sequence
        else:
            self._last_beside = sequence
        self.commits += 1
        self.events += len(events)

    async def _catch_up(self) -> None:
        waiting, self._caught_up = self._caught_up, []
        try:
            await self._read_on()
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

    async def _read_on(self) -> None:
        began = monotonic()
        head = await self._store.position()
        # Not from the basis on: a commit of our own may stand behind one of another's that was not read yet.
        start = self._read_to + 1
        async for commit in self._store.read(self._read_from, start=start, until=head.sequence):
            self._earlier.note(commit)
            if self._is_taken_in(commit):
                continue
            for event in commit.events:
                self.state = self._decider.evolve(self.state, event)
            if commit.boundary == self.boundary:
                self._expected = commit.sequence
        self._read_to = head.sequence
        self.basis = max(self.basis, head.sequence)
        self._confirmed = began

    def _is_behind(self) -> bool:
        return self._outside > self._expected or self._outside_beside > self._read_to

    def _is_taken_in(self, commit: Commit) -> bool:
        """Whether this writer wrote it, or read it already."""
        if commit.boundary == self.boundary:
            return commit.sequence <= self._expected
        mine = bool(commit.events) and commit.events[0].source == self._source
        return mine and commit.sequence <= self._last_beside

    async def _make_sure(self, batch: _Batch) -> None:
        """Have the log confirm this writer before it answers without writing, then decide again.

        What is written is safe by its expectation. But a writer that was halted, and has not noticed that
        another one took over, would else tell from its memory what is not so any more.
        """
        try:
            await self._read_on()
        except LogUnavailable as error:
            self._refuse_decided(batch, Refusal(Code.LOG_UNAVAILABLE, str(error)))
            return
        self._put_back(batch)
        self._must_own()

    async def _decide_again(self, batch: _Batch) -> None:
        """Put the commands of a lost commit back, on a state without what they would have done."""
        self._put_back_next()
        self._put_back(batch)
        await self._reload()

    async def _take_back(self, batch: _Batch, refusal: Refusal) -> None:
        """Refuse commands whose commit was not stored and never will be."""
        self._put_back_next()
        self._refuse_decided(batch, refusal)
        await self._reload()

    def _put_back(self, batch: _Batch) -> None:
        self._queue.extendleft(each.waiting for each in reversed(batch.decided))

    def _put_back_next(self) -> None:
        """Put back what was decided ahead of a commit that was not stored."""
        batch, self._next, self._in_flight = self._next, _Batch(), None
        self._put_back(batch)

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
            told = await self._first_answer(waiting, sequence)
        except LogUnavailable as error:
            self._refuse(waiting, Refusal(Code.LOG_UNAVAILABLE, str(error)))
            return
        if waiting.answer.done():
            return
        if self._unavailable is not None:
            self._refuse(waiting, self._unavailable)
        elif told is None:
            self._enqueue(waiting)
        elif isinstance(told, Refusal):
            self._refuse(waiting, told)
        else:
            waiting.answer.set_result(told)

    async def _first_answer(self, waiting: Waiting, sequence: int) -> Answer | Refusal | None:
        async for commit in self._store.read(self._read_from, start=sequence, until=sequence):
            caused = [
                (place, event)
                for place, event in enumerate(commit.events)
                if event.causationid == waiting.meta.command
            ]
            if not caused or commit.time < self._clock() - REMEMBERED:
                return None
            first = self._decider.again(self.state, waiting.command, [event for _, event in caused])
            if first is None or first.refusal is not None:
                return None if first is None else first.refusal
            return Answer(first.answer, sequence, caused[-1][0])
        return None

    def _refuse(self, waiting: Waiting, refusal: Refusal) -> None:
        if refusal.retry_after_ms is not None:
            self._answered.forget(waiting.meta.command)
        if not waiting.answer.done():
            waiting.answer.set_exception(refusal)

    def _refuse_decided(self, batch: _Batch, refusal: Refusal) -> None:
        for each in batch.decided:
            self._refuse(each.waiting, refusal)

    def _refuse_all(self, refusal: Refusal) -> None:
        self._refuse_decided(self._next, refusal)
        while self._queue:
            self._refuse(self._queue.popleft(), refusal)
        waiting = [*self._caught_up, *(seen for _, seen in self._looks)]
        self._caught_up, self._looks = [], []
        for future in waiting:
            if not future.done():
                future.set_exception(refusal)
