"""Between clients and rooms: what the gateways have done for their sessions, and who has which seat."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Final

import structlog

from roomledger.domain.errors import Code, Refusal
from roomledger.domain.signed_token import Claims
from roomledger.domain.ticket import Ticket
from roomledger.processes.portal.entrance import Entrance
from roomledger.processes.portal.errands import Errand, Errands
from roomledger.processes.portal.inquiries import Denied, Inquiries, Patience, on_behalf_of
from roomledger.processes.portal.notifications import News
from roomledger.processes.portal.return_desk import ReturnDesk
from roomledger.processes.portal.room_feed import Listener, RoomFeeds
from roomledger.processes.portal.session import Here
from roomledger.processes.portal.session_effects import Holding, Returned, Right, Sent
from roomledger.sdk.rooms import Controller, JoinedRoom, ParticipantView
from roomledger.sdk.worker import Worker
from roomledger_events.envelope import Address
from roomledger_events.identifiers import new_id

if TYPE_CHECKING:
    from roomledger.processes.portal.seat import Seat

ANSWER: Final = Patience(5.0, 4.0)
"""How long a room may take for an answer."""
SETTLE_S: Final = 5.0
"""How long who comes back waits until the room has heard that the connection before was lost."""
FAREWELL_S: Final = 3.0
"""How long `Lobby.close` waits for those who are being let in."""

log = structlog.get_logger(__name__)


class Lobby:
    """Where sessions have their rooms asked, followed and left.

    Args:
        here: This portal.
        entrance: Lets clients in.
        desk: Issues tickets, and takes those back who show one.
        feeds: Tells of what happens in rooms.
        errands: Tells rooms and the cluster what they have to know.
        inquiries: Asks rooms.
        controller: Asks the room at a node.
        worker: The portal as the cluster knows it.

    Attributes:
        here: This portal.
        emptying: Whether sessions are to move to other portals, and nobody is taken back here.
    """

    def __init__(
        self,
        *,
        here: Here,
        entrance: Entrance,
        desk: ReturnDesk,
        feeds: RoomFeeds,
        errands: Errands,
        inquiries: Inquiries,
        controller: Controller,
        worker: Worker,
    ) -> None:
        self.here = here
        self.emptying = False
        self._entrance = entrance
        self._desk = desk
        self._feeds = feeds
        self._errands = errands
        self._inquiries = inquiries
        self._controller = controller
        self._worker = worker
        self._seats: dict[str, Seat] = {}
        self._work: set[asyncio.Task[Any]] = set()

    @property
    def sessions(self) -> int:
        """How many sessions are here, with those that wait for their clients."""
        return len(self._seats)

    async def close(self) -> None:
        """Wait a while for those who are being let in, and end what is under way."""
        if self._work:
            await asyncio.wait(self._work, timeout=FAREWELL_S)
        for task in self._work:
            task.cancel()

    def spawn(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        """Have something done beside the connection that it belongs to."""
        task = asyncio.create_task(work)
        self._work.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: "asyncio.Task[Any]") -> None:
        self._work.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("something failed at the portal", exc_info=error)

    # -- Seats

    def sit_down(self, seat: "Seat") -> "Seat | None":
        """Give a participant's session a seat, and return the one that it had here before."""
        former = self._seats.get(seat.participant)
        self._seats[seat.participant] = seat
        return former

    def stand_up(self, seat: "Seat") -> None:
        """Take note that a seat's session is over."""
        if self._seats.get(seat.participant) is seat:
            del self._seats[seat.participant]

    # -- In and out

    async def enter(self, claims: Claims, signature: str, participant: str) -> JoinedRoom | Denied:
        """Have a token's room let a participant in."""
        if self._worker.draining:
            refusal = Refusal(Code.NOT_READY, "this portal lets nobody new in: ask for another token")
            return Denied(refusal, unsure=False)
        return await self._entrance.enter(claims, signature, participant)

    async def take_back(self, ticket: Ticket, signature: str, after: Address | None) -> Returned | Denied:
        """Have a ticket's room take its holder back, and find out what was missed."""
        denied = await self._desk.check(ticket, signature)
        if denied is not None:
            return denied
        if self.emptying:
            refusal = Refusal(Code.NOT_READY, "this portal is being emptied: come back at another one")
            return Denied(refusal, unsure=False)
        if not await self._errands.settled(ticket.participant, SETTLE_S):
            refusal = Refusal(Code.LOG_UNAVAILABLE, "the room does not know of the lost connection yet")
            return Denied(refusal, unsure=False)
        former = self._seats.get(ticket.participant)
        if after is None and former is not None:
            # Who holds a ticket has got the answer that it came with, and all before it.
            after = max(former.surely_told_to, ticket.told_to)
        return await self._desk.take_back(ticket, after)

    def issue(self, holding: Holding) -> str:
        """Return a ticket's text."""
        return self._desk.issue(holding)

    def send(self, errand: Errand) -> None:
        """See to it that something is told, however long it takes."""
        self._errands.add(errand)

    async def pick_up(self, right: Right, participant: str) -> None:
        """Pick a token's task up; a cluster that does not let us is of no concern to the participant."""
        try:
            await self._worker.pick_up(right.code, on_behalf_of(right, participant, f"pick-up:{new_id()}"))
        except Refusal as refusal:
            log.warning("a token's task could not be picked up", token=right.token, why=str(refusal))

    # -- Rooms

    def follow(self, room: str, participant: str, after: Address, tell: Callable[[News], None]) -> Listener:
        """Tell a participant of all that comes after this in a room, until the listener is stopped."""
        return self._feeds.add(room, participant, after, tell)

    async def participants(
        self, right: Right, participant: str
    ) -> tuple[ParticipantView, ...] | Sent | Refusal:
        """Return who is in a participant's room, or why the room cannot be asked."""

        async def list_them(node: str) -> tuple[ParticipantView, ...]:
            return await self._controller.get_participants(node, right.room)

        found = await self._inquiries.ask(right, participant, list_them, ANSWER)
        return found.refusal if isinstance(found, Denied) else found

    async def say(
        self, right: Right, participant: str, receiver: str, message: str
    ) -> tuple[ParticipantView, ...] | Sent | Refusal:
        """Have a participant's room say something, and return where that stands, or why it was not said."""
        meta = on_behalf_of(right, participant, f"text:{new_id()}")

        async def say(node: str) -> str:
            return await self._controller.text(
                node, right.room, participant, to=receiver, message=message, meta=meta
            )

        found = await self._inquiries.ask(right, participant, say, ANSWER)
        return found.refusal if isinstance(found, Denied) else Sent(found)
