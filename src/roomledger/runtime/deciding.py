"""Deciding once: read a boundary, decide, append with the expectation, and on a conflict again.

That is for those who write before or beside a boundary's writer, and rarely: each decision reads the
boundary from its beginning, and after a lost race what came in between. Who decides often is a `Writer`.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime
from random import random
from typing import Any, Final, Generic, TypeVar

from roomledger.domain.decider import Context, Decider
from roomledger.event_store.errors import Conflict
from roomledger.event_store.store import EventStore
from roomledger.runtime.arrivals import batches
from roomledger.runtime.commands import Answer, Meta
from roomledger.runtime.envelopes import enveloped
from roomledger_events.envelope import Address, Commit
from roomledger_events.identifiers import new_ids
from roomledger_events.subjects import Boundary

State = TypeVar("State")
Command = TypeVar("Command")

WITHIN_S: Final = 5.0
"""How long a decision is made anew because somebody else wrote meanwhile, in seconds."""


@dataclass(slots=True)
class Folded(Generic[State]):
    """A boundary's state as the log tells it.

    Attributes:
        state: The state.
        expected: The boundary's last sequence in it, 0 for none.
        basis: The log's last sequence in it.
    """

    state: State
    expected: int = 0
    basis: int = 0


async def fold(
    store: EventStore,
    boundary: Boundary,
    decider: Decider[State, Any],
    also: Sequence[Boundary] = (),
) -> Folded[State]:
    """Read a boundary to the present end of the log.

    Args:
        store: The log.
        boundary: Which one.
        decider: Its rules.
        also: Further boundaries that the state takes in.

    Raises:
        LogUnavailable: The log could not be read.
    """
    folded = Folded(decider.initial())
    await fold_on(folded, store, boundary, decider, also)
    return folded


async def fold_on(
    folded: Folded[State],
    store: EventStore,
    boundary: Boundary,
    decider: Decider[State, Any],
    also: Sequence[Boundary] = (),
) -> None:
    """Take in what a boundary's log holds beyond what was folded, to its present end.

    Raises:
        LogUnavailable: The log could not be read.
    """
    head = await store.position()
    async for commit in store.read((boundary, *also), start=folded.basis + 1, until=head.sequence):
        _take_in(folded, [commit], boundary, decider)
    folded.basis = head.sequence


def _take_in(
    folded: Folded[State], commits: Iterable[Commit], boundary: Boundary, decider: Decider[State, Any]
) -> None:
    for commit in commits:
        for event in commit.events:
            folded.state = decider.evolve(folded.state, event)
        if commit.boundary == boundary:
            folded.expected = commit.sequence
        folded.basis = max(folded.basis, commit.sequence)


async def decide_once(
    store: EventStore,
    boundary: Boundary,
    decider: Decider[State, Command],
    command: Command | Callable[[State], Command],
    meta: Meta,
    *,
    source: str,
    also: Sequence[Boundary] = (),
    known: Folded[State] | None = None,
    within_s: float = WITHIN_S,
) -> Answer:
    """Decide a command and return its answer once its facts are in the log.

    Args:
        store: The log.
        boundary: What is decided about.
        decider: Its rules.
        command: What is wanted, or what makes it of the state; it may raise `Refusal`.
        meta: Who wants it, and what it belongs to.
        source: The process, for the events' envelopes.
        also: Further boundaries that the state takes in.
        known: The state to begin with, where it is known without reading, as that of a new id is; after a
            lost race it is read on from there.
        within_s: How long to decide anew while others write to the boundary, in seconds; 0 for not at all.

    Raises:
        Refusal: The command is refused; what the refusal leaves behind is in the log.
        Conflict: Somebody else was first each time.
        LogUnavailable: The log did not answer; the facts may be in the log.
        LogFull: The log has reached its size limit.
        CommitTooLarge: The facts do not go into one commit.
    """
    folded = Folded(decider.initial()) if known is None else known

    async def decide() -> Answer:
        draw = random()  # noqa: S311  - chance, no secret
        context = Context(datetime.now(UTC), folded.basis, draw, meta.correlation or "", meta.actor)
        wanted = command(folded.state) if callable(command) else command
        decision = decider.decide(folded.state, wanted, context)
        reflected = Address(folded.basis)
        if decision.facts:
            events = enveloped(decision.facts, meta, source=source, time=context.now, ids=new_ids(1))
            sequence = await store.append(boundary, events, folded.expected)
            reflected = Address(sequence, len(events) - 1)
        if decision.refusal is not None:
            raise decision.refusal
        return Answer(decision.answer, *reflected)

    end = asyncio.get_running_loop().time() + within_s
    if known is None:
        await fold_on(folded, store, boundary, decider, also)
    try:
        return await decide()
    except Conflict:
        if within_s <= 0:
            raise
    await fold_on(folded, store, boundary, decider, also)
    # Who reads and then appends is always too late where somebody writes without a pause; who follows is not.
    following = store.follow((boundary, *also), start=folded.basis + 1)
    async with aclosing(batches(following)) as arrived:
        while True:
            try:
                return await decide()
            except Conflict as conflict:
                lost = conflict
            try:
                async with asyncio.timeout_at(end):
                    commits = await anext(arrived)
            except TimeoutError:
                raise lost from None
            _take_in(folded, commits, boundary, decider)
