"""Those who leave: the room is told, and the cluster that the token's task is done, until both know.

A departure is tried again for as long as it takes. Telling a room twice, or of somebody who is not in,
does no harm.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple

import structlog

from roomledger.domain.errors import Code, Refusal
from roomledger.domain.signed_token import Claims
from roomledger.processes.portal.entrance import AGAIN, on_behalf_of
from roomledger.processes.portal.whereabouts import Place, Whereabouts
from roomledger.runtime.ending import end
from roomledger.sdk.rooms import Controller
from roomledger.sdk.worker import Worker

LIMIT: Final = 10_000
"""How many departures may wait."""
AT_ONCE: Final = 64
"""How many are on their way at the same time."""
NOTHING_TO_DO: Final = frozenset(
    {
        Code.NO_SUCH_ROOM,
        Code.NO_SUCH_PARTICIPANT,
        Code.NO_SUCH_WORKER,
        Code.NO_SUCH_TASK,
        Code.INVALID_ARGUMENT,
    }
)
"""Refusals that say that there is nobody to be told, or nothing to tell."""
_FIRST_PAUSE_S: Final = 0.05
_LONGEST_PAUSE_S: Final = 2.0

log = structlog.get_logger(__name__)


class Departure(NamedTuple):
    """Somebody's leaving.

    Attributes:
        participant: Who.
        claims: The token's.
        reason: Why; None if the room knows already.
        lay_down: Whether the token's task is to be laid down.
        after: What has to be over first: the picking up of that task.
    """

    participant: str
    claims: Claims
    reason: str | None
    lay_down: bool
    after: Awaitable[None] | None = None


class Departures:
    """Sees to it that those who left are out.

    Args:
        whereabouts: Where rooms are run.
        controller: Tells a room.
        worker: Lays tasks down.
    """

    def __init__(self, whereabouts: Whereabouts, controller: Controller, worker: Worker) -> None:
        self._whereabouts = whereabouts
        self._controller = controller
        self._worker = worker
        self._going: set[asyncio.Task[None]] = set()
        self._doors = asyncio.Semaphore(AT_ONCE)

    @property
    def waiting(self) -> int:
        """How many departures are not done yet."""
        return len(self._going)

    def add(self, departure: Departure) -> None:
        """See a departure through, in the background."""
        if len(self._going) >= LIMIT:
            log.error(
                "too many departures wait: the room is not told of this one",
                room=departure.claims.room,
                participant=departure.participant,
            )
            return
        going = asyncio.create_task(self._see_through(departure), name=f"departure {departure.participant}")
        self._going.add(going)
        going.add_done_callback(self._going.discard)

    async def finish(self, seconds: float) -> None:
        """Wait until nobody is on the way out any more, and give up after a while.

        Args:
            seconds: How long to wait.
        """
        if self._going:
            await asyncio.wait(self._going, timeout=seconds)
        left = list(self._going)
        if left:
            log.error(
                "participants may stay in their rooms: the rooms could not be told", departures=len(left)
            )
        await end(*left)

    async def _see_through(self, departure: Departure) -> None:
        if departure.after is not None:
            await departure.after
        if departure.reason is not None:
            await self._until_done(departure, self._tell_room)
        if departure.lay_down:
            await self._until_done(departure, self._lay_down)

    async def _until_done(self, departure: Departure, do: Callable[[Departure], Awaitable[None]]) -> None:
        told = log.bind(
            room=departure.claims.room, participant=departure.participant, what=do.__name__.strip("_")
        )
        pause, tries, done = _FIRST_PAUSE_S, 0, False
        while not done:
            tries += 1
            try:
                async with self._doors:
                    await do(departure)
                done = True
            except Refusal as refusal:
                done = refusal.code in NOTHING_TO_DO
                if tries == 1:
                    log_line = told.info if done else told.warning
                    log_line("a departure could not be told", why=str(refusal), again=not done)
            except Exception:  # noqa: BLE001  - reported, and no reason to leave somebody in the room
                told.exception("a departure failed; trying again")
            if not done:
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE_S)
        if tries > 1:
            told.info("a departure was told at last", tries=tries)

    async def _tell_room(self, departure: Departure) -> None:
        claims, participant = departure.claims, departure.participant
        place: Place | None = None
        try:
            place = await self._whereabouts.of(claims.room, on_behalf_of(claims, participant, "find"))
            await self._controller.leave(
                place.node,
                claims.room,
                participant,
                reason=departure.reason or "",
                meta=on_behalf_of(claims, participant, "leave"),
            )
        except Refusal as refusal:
            if place is not None and refusal.code in AGAIN:
                self._whereabouts.forget(claims.room, place)
            raise

    async def _lay_down(self, departure: Departure) -> None:
        meta = on_behalf_of(departure.claims, departure.participant, "lay-down")
        await self._worker.lay_down(departure.claims.code, meta)
