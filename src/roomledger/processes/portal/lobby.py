"""Between clients and rooms: what a gateway has done for its sessions."""

import asyncio
from collections.abc import Callable
from typing import Final

import structlog

from roomledger.domain.errors import Refusal
from roomledger.domain.signed_token import Claims
from roomledger.processes.portal.departures import Departure, Departures
from roomledger.processes.portal.entrance import AGAIN, Denied, Entrance, on_behalf_of
from roomledger.processes.portal.notifications import News
from roomledger.processes.portal.room_feed import RoomFeeds
from roomledger.processes.portal.whereabouts import Place, Whereabouts
from roomledger.sdk.rooms import Controller, JoinedRoom, ParticipantView
from roomledger.sdk.worker import Worker

ANSWER_S: Final = 5.0
"""For how long a room that is on its way to another node is asked again."""
_PAUSE_S: Final = 0.1

log = structlog.get_logger(__name__)


class Lobby:
    """Where sessions have their rooms asked, followed and left.

    Args:
        entrance: Lets clients in.
        feeds: Tells of what happens in rooms.
        departures: Sees to it that those who left are out.
        whereabouts: Where rooms are run.
        controller: Asks a room.
        worker: The portal as the cluster knows it.
    """

    def __init__(
        self,
        *,
        entrance: Entrance,
        feeds: RoomFeeds,
        departures: Departures,
        whereabouts: Whereabouts,
        controller: Controller,
        worker: Worker,
    ) -> None:
        self._entrance = entrance
        self._feeds = feeds
        self._departures = departures
        self._whereabouts = whereabouts
        self._controller = controller
        self._worker = worker

    async def enter(self, claims: Claims, signature: str, participant: str) -> JoinedRoom | Denied:
        """Have a token's room let a participant in."""
        return await self._entrance.enter(claims, signature, participant)

    async def participants(self, claims: Claims, participant: str) -> tuple[ParticipantView, ...]:
        """Return who is in a participant's room.

        Raises:
            Refusal: The room cannot be asked.
        """
        loop = asyncio.get_running_loop()
        end = loop.time() + ANSWER_S
        while True:
            place: Place | None = None
            try:
                place = await self._whereabouts.of(claims.room, on_behalf_of(claims, participant, "find"))
                return await self._controller.get_participants(place.node, claims.room)
            except Refusal as refusal:
                if refusal.code not in AGAIN or loop.time() >= end:
                    raise
            if place is not None:
                self._whereabouts.forget(claims.room, place)
            await asyncio.sleep(_PAUSE_S)

    def follow(self, joined: JoinedRoom, tell: Callable[[News], None]) -> None:
        """Tell a participant of all that comes after its join."""
        self._feeds.add(joined, tell)

    def unfollow(self, room: str, participant: str) -> None:
        """Tell a participant no more."""
        self._feeds.remove(room, participant)

    async def pick_up(self, claims: Claims, participant: str) -> None:
        """Pick a token's task up; a cluster that does not let us is of no concern to the participant."""
        try:
            await self._worker.pick_up(claims.code, on_behalf_of(claims, participant, "pick-up"))
        except Refusal as refusal:
            log.warning("a token's task could not be picked up", token=claims.token, why=str(refusal))

    def depart(self, departure: Departure) -> None:
        """See to it that somebody is out."""
        self._departures.add(departure)
