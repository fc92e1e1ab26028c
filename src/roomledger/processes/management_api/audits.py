"""The events that concern something, as a service may see them: those of its own rooms and tokens."""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from roomledger.domain.trail import Trail, is_on
from roomledger.event_store.store import EventStore
from roomledger.runtime.errors import NoSuchMoment
from roomledger.runtime.moments import span
from roomledger.runtime.projector import Projector
from roomledger.runtime.rebuilding import Moment
from roomledger.runtime.trails import Told
from roomledger_events.envelope import Address, Commit
from roomledger_events.mentions import CONFERENCE, Mention, Thing, mentions
from roomledger_events.subjects import Kind
from roomledger_projections.audit import AUDIT, addresses_of
from roomledger_projections.rooms import ROOMS, rooms_owned
from roomledger_projections.tokens import TOKENS, tokens_owned

AT_ONCE: Final = 16
"""So many commits are read side by side."""
LOOKED_AT: Final = 2000
"""So many events are looked at for a page at most; a page may be short, then, and not be the last one."""
LEARNT_FROM: Final = 64
"""So many events that name something tell enough of what belongs to it."""
_ORDER: Final = (Thing.TOKEN, Thing.PARTICIPANT, Thing.TASK, Thing.ROOM, Thing.WORKER)
"""What fewer events name comes first."""


class Page(NamedTuple):
    """A part of an audit.

    Attributes:
        events: In log order.
        next: Behind which address the next page begins; None if this is the last one.
        sequence: The sequence of the log that this reflects.
    """

    events: list[Told]
    next: Address | None
    sequence: int


class Audits:
    """What the log says of things, found by the projection that knows what each event names.

    Args:
        store: The log.
        projector: Keeps what is known.
    """

    def __init__(self, store: EventStore, projector: Projector) -> None:
        self._store = store
        self._projector = projector

    async def page(
        self,
        trails: Sequence[Trail],
        moments: tuple[Moment, Moment],
        *,
        after: Address | None,
        limit: int,
        service: str | None,
    ) -> Page:
        """Return a page of the events that are on all of these trails.

        Args:
            trails: None means all events.
            moments: From when to when.
            after: Behind which address the page begins.
            limit: How many events it has at most.
            service: Who sees it; None for one that may see everything.

        Raises:
            Refusal: What is known does not reflect the log yet.
            EventStoreError: The log cannot be read.
        """
        ordered = sorted(trails, key=lambda trail: _ORDER.index(trail.start.thing))
        sought = [await self._learnt(trail) for trail in ordered]
        known = max(0, self._projector.position)
        try:
            part = await span(self._store, *moments)
        except NoSuchMoment:
            return Page([], None, known)
        found: list[Told] = []
        looked_at = 0
        while True:
            addresses, known = await self._projector.ask(
                AUDIT,
                addresses_of,
                sought[0] if sought else (),
                after=after,
                start=part.first,
                until=part.last,
                limit=limit + 1,
            )
            looked_at += len(addresses)
            events = await self._told(addresses[:limit])
            for told in await self._seen(service, events):
                if all(is_on(each, told.commit.boundary, told.event) for each in sought[1:]):
                    found.append(told)
                    if len(found) == limit:
                        last = told.address == addresses[-1]
                        return Page(found, None if last else told.address, known)
            if len(addresses) <= limit:
                return Page(found, None, known)
            after = addresses[limit - 1]
            if looked_at >= LOOKED_AT:
                return Page(found, after, known)

    async def _learnt(self, trail: Trail) -> frozenset[Mention]:
        """Return what the events of a trail name."""
        if trail.told_by:
            await self._learn(trail, {trail.start})
            await self._learn(trail, {Mention(Thing.TOKEN, token) for token in trail.tokens})
        return trail.sought

    async def _learn(self, trail: Trail, sought: set[Mention]) -> None:
        if not sought:
            return
        addresses, _ = await self._projector.ask(AUDIT, addresses_of, sought, limit=LEARNT_FROM)
        for told in await self._told(addresses):
            trail.learn(told.event)

    async def _told(self, addresses: Iterable[Address]) -> list[Told]:
        """Return the events that stand there; those that have expired are left out."""
        wanted = list(addresses)
        few = asyncio.Semaphore(AT_ONCE)

        async def read(sequence: int) -> Commit | None:
            async with few:
                async for commit in self._store.read(start=sequence, until=sequence):
                    return commit
            return None

        sequences = list(dict.fromkeys(address.sequence for address in wanted))
        commits = dict(zip(sequences, await asyncio.gather(*map(read, sequences)), strict=True))
        found = []
        for address in wanted:
            commit = commits[address.sequence]
            if commit is not None:
                found.append(Told(commit, address.place, commit.events[address.place]))
        return found

    async def _seen(self, service: str | None, events: Sequence[Told]) -> list[Told]:
        """Return those events that a service may see: of its rooms, and of what its tokens led to."""
        if service is None or not events:
            return list(events)
        named = {told.address: set(mentions(told.commit.boundary, told.event)) for told in events}
        every = set().union(*named.values())
        ids = {each.id for each in every if each.thing in {Thing.TOKEN, Thing.CORRELATION}}
        codes = {each.id for each in every if each.thing is Thing.TASK}
        rooms = {each.id for each in every if each.thing is Thing.ROOM}
        (own_tokens, own_codes), _ = await self._projector.ask(TOKENS, tokens_owned, service, ids, codes)
        own_rooms, _ = await self._projector.ask(ROOMS, rooms_owned, service, rooms)

        def may_see(told: Told) -> bool:
            boundary = told.commit.boundary
            if boundary.kind in {Kind.ROOM, Kind.TEXT}:
                since = own_rooms.get(boundary.name)
                return since is not None and told.commit.sequence >= since
            if boundary.kind is Kind.TOKEN:
                return getattr(told.event.data, "service", None) == service
            for thing, name in named[told.address]:
                if thing is Thing.CORRELATION and name in own_tokens:
                    return True
                if thing is Thing.TASK and boundary != CONFERENCE and name in own_codes:
                    return True
                if thing is Thing.ROOM and told.commit.sequence >= own_rooms.get(name, _NEVER):
                    return True
            return False

        return [told for told in events if may_see(told)]


_NEVER: Final = 2**63
