"""Puts what was decided into envelopes: the events of a command."""

from collections.abc import Iterator, Sequence
from datetime import datetime

from roomledger.domain.decider import Fact
from roomledger.runtime.commands import Meta
from roomledger_events.envelope import Event


def enveloped(
    facts: Sequence[Fact], meta: Meta, *, source: str, time: datetime, ids: Iterator[str]
) -> list[Event]:
    """Return the events of what a command led to.

    Args:
        facts: What happened.
        meta: What travelled with the command.
        source: The process that decided.
        time: When it was decided, UTC.
        ids: Where their ids are taken from.
    """
    return [
        Event.of(
            fact.data,
            about=fact.about,
            id=next(ids),
            source=source,
            time=time,
            correlation=fact.correlation or meta.correlation or meta.command or fact.about,
            causation=meta.causation or meta.command,
            actor=meta.actor,
            traceparent=meta.traceparent,
        )
        for fact in facts
    ]
