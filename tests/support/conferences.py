"""Conference workers as processes of their own, and those who ask rooms as portals do."""

import asyncio
import contextlib
import signal
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TypeVar

from nats.aio.client import Client

from roomledger.domain.errors import Refusal
from roomledger.processes.portal.inquiries import AGAIN
from roomledger.processes.portal.whereabouts import Whereabouts
from roomledger.runtime.calls import RequestMeta
from roomledger.sdk.cluster import Cluster
from roomledger.sdk.rooms import Conference, Controller, JoinedRoom, NodeView
from roomledger_events.identifiers import new_id
from tests.support.cluster import TestCluster
from tests.support.serving import Serving, start

Found = TypeVar("Found")


class ConferenceProcess:
    """`roomledger conference` as a child, with nodes that are children of it."""

    def __init__(self, cluster: TestCluster, worker: str, serving: Serving) -> None:
        self.id = worker
        self._serving = serving
        self._conference = Conference(cluster.access.broker, actor="test")

    @classmethod
    async def start(
        cls, cluster: TestCluster, stack: AsyncExitStack, path: Path, worker: str, **settings: object
    ) -> "ConferenceProcess":
        """Start one, which is stopped with the stack."""
        values = {
            "worker_id": worker,
            "nats_url": cluster.server.url,
            "nats_password": cluster.server.credentials["service"],
            "max_nodes": 1,
            **settings,
        }
        variables = {f"ROOMLEDGER_{name.upper()}": str(value) for name, value in values.items()}
        serving = await start(path / worker, "conference", **variables)
        process = cls(cluster, worker, serving)
        stack.push_async_callback(process.end)
        return process

    async def nodes(self) -> tuple[NodeView, ...]:
        return await self._conference.get_nodes(self.id)

    async def node_of(self, room: str) -> NodeView:
        return await self._conference.query_node(self.id, room=room)

    def signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):  # it has ended
            self._serving.send(number)

    async def end(self) -> None:
        """Have it end, however it is."""
        self.signal(signal.SIGCONT)
        await self._serving.stop()


class Guests:
    """Asks rooms as a portal does: they are looked up, and looked up anew while they are on their way."""

    def __init__(self, broker: Client, portal: str) -> None:
        self.portal = portal
        self._rooms = Controller(broker, actor=f"portal:{portal}", time_limit=1)
        self._whereabouts = Whereabouts(
            Cluster(broker, actor=f"portal:{portal}"),
            Conference(broker, actor=f"portal:{portal}", time_limit=2.5),
        )

    async def ask(
        self, room: str, question: Callable[[Controller, str], Awaitable[Found]], seconds: float = 10
    ) -> Found:
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        while True:
            place = None
            try:
                place = await self._whereabouts.of(room, RequestMeta(correlation="test"))
                return await question(self._rooms, place.node)
            except Refusal as refusal:
                if refusal.code not in AGAIN or loop.time() > until:
                    raise
            if place is not None:
                self._whereabouts.forget(room, place)
            await asyncio.sleep(0.05)

    async def join(self, room: str, token: str, participant: str) -> JoinedRoom:
        meta = RequestMeta(command=f"join:{participant}", correlation=token)
        return await self.ask(
            room,
            lambda rooms, node: rooms.join(
                node, room, token, participant=participant, portal=self.portal, meta=meta
            ),
        )

    async def leave(self, room: str, participant: str) -> None:
        await self.ask(room, lambda rooms, node: rooms.leave(node, room, participant, reason="logout"))

    async def drop(self, room: str, participant: str) -> bool:
        meta = RequestMeta(command=new_id())
        dropped = await self.ask(room, lambda rooms, node: rooms.drop(node, room, participant, meta=meta))
        return dropped.dropped

    async def text(self, room: str, sender: str, message: str) -> str:
        meta = RequestMeta(command=new_id())
        return await self.ask(
            room, lambda rooms, node: rooms.text(node, room, sender, to="all", message=message, meta=meta)
        )

    async def present(self, room: str) -> set[str]:
        found = await self.ask(room, lambda rooms, node: rooms.get_participants(node, room))
        return {each.id for each in found}
