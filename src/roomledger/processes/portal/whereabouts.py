"""Where rooms are run: found by two look-ups, and remembered until one of them turns out to be wrong."""

import asyncio
from collections import OrderedDict
from typing import Final, NamedTuple

import msgspec

from roomledger.runtime.calls import RequestMeta
from roomledger.sdk.cluster import Cluster
from roomledger.sdk.rooms import Conference
from roomledger_events.identifiers import new_id

PURPOSE: Final = "conference"
REMEMBERED: Final = 10_000
"""How many rooms' places are remembered."""


class Place(NamedTuple):
    """Where a room is run: a node of a conference worker."""

    worker: str
    node: str


class Whereabouts:
    """The places of rooms.

    Args:
        cluster: Knows which worker a room is on.
        conference: Knows the node.
    """

    def __init__(self, cluster: Cluster, conference: Conference) -> None:
        self._cluster = cluster
        self._conference = conference
        self._known: OrderedDict[str, Place] = OrderedDict()
        self._looking: dict[str, asyncio.Task[Place]] = {}

    async def of(self, room: str, meta: RequestMeta) -> Place:
        """Return where a room is run; it is started somewhere if it is run nowhere.

        However many ask at the same time, the look-up is made once, on behalf of the first.

        Raises:
            Refusal: No place is to be had for it.
        """
        known = self._known.get(room)
        if known is not None:
            self._known.move_to_end(room)
            return known
        looking = self._looking.get(room)
        if looking is None:
            looking = asyncio.create_task(self._look_up(room, meta), name=f"where is {room}")
            self._looking[room] = looking
            looking.add_done_callback(lambda done: self._found(room, done))
        return await asyncio.shield(looking)

    def forget(self, room: str, place: Place) -> None:
        """Take note that a room is not at this place any more."""
        if self._known.get(room) == place:
            del self._known[room]

    async def _look_up(self, room: str, meta: RequestMeta) -> Place:
        # A command of its own: the answer to one that was given before would be the place that was wrong.
        anew = msgspec.structs.replace(meta, command=new_id())
        scheduled = await self._cluster.schedule(PURPOSE, room, meta=anew)
        node = await self._conference.get_node(scheduled.worker, room, anew)
        return Place(scheduled.worker, node)

    def _found(self, room: str, looking: asyncio.Task[Place]) -> None:
        del self._looking[room]
        if looking.cancelled() or looking.exception() is not None:
            return
        self._known[room] = looking.result()
        while len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
