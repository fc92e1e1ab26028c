"""How a client gets back in: its ticket is checked, its room told, and what it missed read from the log."""

from collections.abc import Callable
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Final

from roomledger.domain.errors import Code, Refusal
from roomledger.domain.ticket import Ticket, check_time, milliseconds, sign
from roomledger.event_store.errors import LogUnavailable
from roomledger.event_store.store import EventStore
from roomledger.processes.portal.inquiries import Denied, Inquiries, Patience, on_behalf_of
from roomledger.processes.portal.recollection import Recollection
from roomledger.processes.portal.session import Here
from roomledger.processes.portal.session_effects import Holding, Returned, Right
from roomledger.runtime.ticket_keys import TicketKeys
from roomledger.sdk.rooms import Controller, IsBack
from roomledger_events.envelope import Address
from roomledger_events.identifiers import new_id, new_secret_id
from roomledger_events.subjects import Boundary, Kind

RETURN_S: Final = 10.0
"""How long the room may take in all."""
ATTEMPT_S: Final = 2.0
"""How long it has for an answer, before it is looked for anew."""
SKEW_MS: Final = 10_000
"""How much the clocks of portals may differ."""
ENDED: Final = Refusal(Code.SESSION_ENDED, "the session is over: log in with another token")
_OVER: Final = frozenset({Code.NO_SUCH_PARTICIPANT, Code.NO_SUCH_ROOM})


class ReturnDesk:
    """Issues tickets, and takes those back who show one.

    Args:
        keys: What tickets are signed with.
        inquiries: Asks rooms.
        controller: Asks the room at a node.
        store: The log.
        here: This portal.
        life_ms: How long a ticket is good.
        now: The time of day, UTC.
    """

    def __init__(
        self,
        keys: TicketKeys,
        inquiries: Inquiries,
        controller: Controller,
        store: EventStore,
        here: Here,
        *,
        life_ms: int,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._keys = keys
        self._inquiries = inquiries
        self._controller = controller
        self._store = store
        self._here = here
        self._life_ms = life_ms
        self._now = now

    def issue(self, holding: Holding) -> str:
        """Return a ticket's text."""
        now = milliseconds(self._now())
        ticket = Ticket(
            participant=holding.participant,
            ticket=new_secret_id(),
            not_before=now,
            not_after=now + self._life_ms,
            room=holding.right.room,
            token=holding.right.token,
            code=holding.right.code,
            epoch=holding.epoch,
            joined=str(holding.joined),
            told=str(holding.told),
            count=holding.number,
            protocol=holding.protocol,
        )
        return sign(self._keys.signing, ticket)

    async def check(self, ticket: Ticket, signature: str) -> Denied | None:
        """Return why a ticket is no good, or None."""
        try:
            check_time(ticket, self._now(), skew_ms=SKEW_MS)
            await self._keys.verify_ticket(ticket, signature)
        except Refusal as refusal:
            return Denied(refusal, unsure=False)
        except LogUnavailable as error:
            return Denied(Refusal(Code.LOG_UNAVAILABLE, str(error)), unsure=False)
        return None

    async def take_back(self, ticket: Ticket, after: Address | None) -> Returned | Denied:
        """Have the room take the holder of a ticket back, and return what was missed.

        Args:
            ticket: A good one.
            after: Up to where the client was told; None if that is not known.
        """
        right = Right(ticket.token, ticket.code, ticket.room)
        meta = on_behalf_of(right, ticket.participant, f"back:{new_id()}")

        async def come_back(node: str) -> IsBack:
            return await self._controller.come_back(
                node,
                ticket.room,
                ticket.participant,
                portal=self._here.portal,
                incarnation=self._here.incarnation,
                meta=meta,
            )

        back = await self._inquiries.ask(right, ticket.participant, come_back, Patience(RETURN_S, ATTEMPT_S))
        if isinstance(back, Denied):
            return Denied(ENDED, unsure=False) if back.refusal.code in _OVER else back
        until = Address.parse(back.seq)
        recollection = Recollection(
            ticket.participant,
            told=ticket.told_to,
            count=ticket.count,
            after=after,
            joined=Address.parse(ticket.joined),
        )
        only = (Boundary(Kind.ROOM, ticket.room), Boundary(Kind.TEXT, ticket.room))
        try:
            commits = self._store.read(only, start=recollection.start, until=until.sequence)
            async with aclosing(commits):
                async for commit in commits:
                    recollection.take(commit)
        except LogUnavailable as error:
            return Denied(Refusal(Code.LOG_UNAVAILABLE, str(error)), unsure=True)
        since = recollection.since(until)
        return Returned(
            epoch=back.epoch,
            seq=until,
            since=since,
            had=recollection.count(since),
            missed=recollection.missed(until),
            number=recollection.count(until),
        )
