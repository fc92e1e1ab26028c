"""The controllers of rooms, found as portals find them: a room is asked where it is run, wherever that is."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from nats.aio.client import Client

from roomledger.domain.errors import Code, Refusal
from roomledger.runtime.calls import RequestMeta
from roomledger.sdk.cluster import Cluster
from roomledger.sdk.rooms import Conference, Controller
from roomledger_events.identifiers import new_id

PURPOSE: Final = "conference"
PATIENCE_S: Final = 5.0
"""How long a room may be on its way from one node to another."""
AGAIN: Final = frozenset(
    {Code.NOT_READY, Code.WRONG_CONTROLLER, Code.NO_SUCH_NODE, Code.NO_NODE, Code.ALL_IN_FULL_LOAD}
)
"""Refusals that a node which takes the room over mends."""
_ATTEMPT_S: Final = 1.0
_PAUSE_S: Final = 0.05

Reply = TypeVar("Reply")


class Controllers:
    """Asks the controllers of rooms.

    Args:
        broker: The connection.
        cluster: Knows which worker a room is on.
        actor: On whose behalf, where a request does not say it.
    """

    def __init__(self, broker: Client, cluster: Cluster, *, actor: str) -> None:
        self._cluster = cluster
        self._conference = Conference(broker, actor=actor)
        self._controller = Controller(broker, actor=actor, time_limit=_ATTEMPT_S)

    async def ask(
        self, room: str, meta: RequestMeta, question: Callable[[Controller, str], Awaitable[Reply]]
    ) -> Reply:
        """Ask the controller of a room, which is started if no node runs the room.

        Args:
            room: Which room.
            meta: What goes with the look-ups.
            question: Asks, given the way to controllers and the node. It is asked again if the room moves, so
                each time it has to be the same command.

        Raises:
            Refusal: What the controller refuses, or that none is to be had.
        """
        loop = asyncio.get_running_loop()
        end = loop.time() + PATIENCE_S
        while True:
            try:
                # A refusal is remembered by its command, so each look-up is a command of its own.
                scheduled = await self._cluster.schedule(
                    PURPOSE, room, meta=_attempt(meta), time_limit=max(_PAUSE_S, end - loop.time())
                )
                node = await self._conference.get_node(scheduled.worker, room, _attempt(meta))
                return await question(self._controller, node)
            except Refusal as refusal:
                if refusal.code not in AGAIN or loop.time() + _PAUSE_S >= end:
                    raise
            await asyncio.sleep(_PAUSE_S)


def _attempt(meta: RequestMeta) -> RequestMeta:
    return RequestMeta(
        command=new_id(), correlation=meta.correlation, actor=meta.actor, traceparent=meta.traceparent
    )
