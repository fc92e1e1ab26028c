"""Who caused what: events as a tree, by their correlations and causes.

At the top stands what set a chain off: a token, or whatever else the events are correlated by. Below it stand
the events, each under the event that caused it; those that one command led to stand together under it.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from roomledger_events.envelope import Address, Event
from roomledger_events.tokens import TokenIssued

Placed = tuple[Address, Event]
"""An event with where it stands."""


class Chain(NamedTuple):
    """All that one thing set off.

    Attributes:
        correlation: The id that they have in common.
        is_token: Whether that is a token's.
        causes: What came of it, in log order.
    """

    correlation: str
    is_token: bool
    causes: "list[Effect | Command]"


class Command(NamedTuple):
    """A command that led to several events.

    Attributes:
        id: Its id.
        effects: The events.
    """

    id: str
    effects: "list[Effect]"


class Effect(NamedTuple):
    """An event with what it led to itself.

    Attributes:
        address: Where it stands.
        event: The event.
        effects: What it led to.
    """

    address: Address
    event: Event
    effects: "list[Effect]"


def cause_of(events: Sequence[Placed]) -> dict[Address, Address]:
    """Return of each event that another one of them caused where that one stands."""
    by_id = {event.id: address for address, event in events}
    return {address: by_id[event.causationid] for address, event in events if event.causationid in by_id}


def chains(events: Sequence[Placed]) -> list[Chain]:
    """Return events, which are given in log order, as the trees of what set them off."""
    effects = {address: Effect(address, event, []) for address, event in events}
    causes = cause_of(events)
    tokens = {event.data.token for _, event in events if isinstance(event.data, TokenIssued)}
    tokens |= {event.correlationid for _, event in events if _uses(event)}
    found: dict[str, Chain] = {}
    commands: dict[tuple[str, str], Command] = {}
    for address, event in events:
        effect = effects[address]
        cause = causes.get(address)
        # What an event caused was appended after it; anything else would make a ring.
        if cause is not None and cause < address:
            effects[cause].effects.append(effect)
            continue
        correlation = event.correlationid
        chain = found.setdefault(correlation, Chain(correlation, correlation in tokens, []))
        if event.causationid in {None, correlation}:
            chain.causes.append(effect)
            continue
        key = correlation, event.causationid or ""
        if key not in commands:
            commands[key] = Command(key[1], [])
            chain.causes.append(commands[key])
        commands[key].effects.append(effect)
    return [chain._replace(causes=[_alone(cause) for cause in chain.causes]) for chain in found.values()]


def _uses(event: Event) -> bool:
    return getattr(event.data, "token", _NONE) == event.correlationid


_NONE: Final = object()


def _alone(cause: Effect | Command) -> Effect | Command:
    """Return an event instead of a command that led to this one only."""
    return cause.effects[0] if isinstance(cause, Command) and len(cause.effects) == 1 else cause
