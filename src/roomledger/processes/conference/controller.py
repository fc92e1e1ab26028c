"""The controller of one room: the shell around its rules.

It folds the room from the log, appends that it decides from now on, and does so until another controller took
over, the room was released, or it is told to stop.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Final

import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from roomledger.domain.decider import Decider
from roomledger.domain.room import MAX_LOST
from roomledger.domain.room_commands import LosePortal, RoomCommand, TakeOverController
from roomledger.domain.room_state import RoomState
from roomledger.event_store.store import EventStore
from roomledger.processes.conference.lists import Lists
from roomledger.runtime.commands import Answer, Meta, Query
from roomledger.runtime.ending import end
from roomledger.runtime.errors import Deposed
from roomledger.runtime.writer import Writer
from roomledger_events.envelope import Address
from roomledger_events.subjects import Boundary, Kind, Subjects

SEQUENCE: Final = "Nats-Sequence"
TEXTS_KEPT_S: Final = 600.0
"""For how long the texts that an earlier controller sent are remembered: as long as the log keeps them."""

log = structlog.get_logger(__name__)


class RoomController:
    """Decides for one room.

    Args:
        broker: The connection that the feed is heard on.
        store: The log.
        subjects: The cluster's subjects.
        rules: The rules of a room.
        room: Which room.
        worker: The conference worker.
        node: The node of that worker.
        ended: Told when it decides no more, for whatever reason but `stop`.
    """

    def __init__(
        self,
        broker: Client,
        store: EventStore,
        subjects: Subjects,
        rules: Decider[RoomState, RoomCommand],
        *,
        room: str,
        worker: str,
        node: str,
        ended: Callable[["RoomController"], None],
    ) -> None:
        self.room = room
        self.lists = Lists()
        self.epoch = 0
        self._broker = broker
        self._store = store
        self._subjects = subjects
        self._worker = worker
        self._node = node
        self._ended = ended
        self._heard: list[Subscription] = []
        self._texts: dict[str, Address] = {}
        self._running: asyncio.Task[None] | None = None
        self._writer: Writer[RoomState, RoomCommand] = Writer(
            store,
            Boundary(Kind.ROOM, room),
            rules,
            source=f"conference/{node}",
            also=(Boundary(Kind.TOKEN, room),),
            owns=self._owns,
        )

    @property
    def deleted(self) -> bool:
        """Whether there is no such room any more."""
        return self._writer.state.settings is None

    async def start(self, meta: Meta, *, if_occupied: bool = False) -> bool:
        """Take the room over; return whether that was done.

        Args:
            meta: Who wants it.
            if_occupied: Whether to leave a room alone that nobody is in.

        Raises:
            Refusal: There is no such room.
            LogUnavailable: The log could not be read or did not answer.
        """
        try:
            for kind in (Kind.ROOM, Kind.TOKEN):
                boundary = Boundary(kind, self.room)
                subject = self._subjects.pattern(boundary, live=True)
                self._heard.append(await self._broker.subscribe(subject, cb=partial(self._hear, boundary)))
            await self._writer.load()
            if if_occupied and not self._writer.state.participants:
                await self._hear_no_more()
                return False
            await self._writer.take_over(TakeOverController(self._worker, self._node), meta)
            await self._read_texts()
        except BaseException:
            await self._hear_no_more()
            raise
        self.epoch = self._writer.state.epoch
        asyncio.get_running_loop().call_later(TEXTS_KEPT_S, self._texts.clear)
        self._running = asyncio.create_task(self._run(), name=f"room {self.room}")
        return True

    async def stop(self) -> None:
        """Decide no more; the room stays as it is for the next controller."""
        await self._hear_no_more()
        await end(self._running)
        self._writer.close()

    async def decide(self, command: RoomCommand | Query, meta: Meta) -> Answer:
        """Have a command decided.

        Raises:
            Refusal: It was refused, or the log is out of reach.
        """
        return await self._writer.submit(command, meta)

    def portals(self) -> set[tuple[str, str]]:
        """Return at which runs of which portals the connections of the participants are."""
        present = self._writer.state.participants.values()
        return {(each.portal, each.incarnation) for each in present if each.ends_with(None)}

    async def lose_portal(self, portal: str, running: str | None, grace_ms: int) -> int:
        """Find those away who were at another run of a portal than this, and return how many they were.

        Raises:
            Refusal: The log is out of reach, or the room is not decided here any more.
        """

        def there(state: RoomState) -> list[str]:
            present = state.participants.values()
            return [each.id for each in present if each.portal == portal and each.ends_with(running)]

        meta = Meta(actor=f"node:{self._node}")
        lost: list[str] = (await self.decide(Query(there), meta)).value
        for start in range(0, len(lost), MAX_LOST):
            some = tuple(lost[start : start + MAX_LOST])
            await self.decide(LosePortal(portal, running, some, grace_ms), meta)
        return len(lost)

    def sent(self, command: str | None) -> Address | None:
        """Return where a text stands that an earlier controller sent by this command; None if none did."""
        return None if command is None else self._texts.get(command)

    async def learn_of_token(self, token: str) -> None:
        """Read on to the log's end if the token is not known yet.

        Raises:
            Refusal: The log is out of reach.
        """
        if not self._writer.state.tokens.knows(token):
            await self._writer.catch_up()

    async def _read_texts(self) -> None:
        """Learn of the texts that earlier controllers sent.

        A text is the one thing that, asked for again, would be there twice: who is in twice, or has left
        twice, is seen in the state. Nothing comes on top: a text is guarded by the room's last sequence.
        """
        if not self._writer.state.participants:
            return
        async for commit in self._store.read((Boundary(Kind.TEXT, self.room),)):
            for place, event in enumerate(commit.events):
                if event.causationid:
                    self._texts[event.causationid] = Address(commit.sequence, place)

    def _owns(self, state: RoomState) -> bool:
        return state.controller == (self._worker, self._node, self.epoch)

    async def _hear(self, boundary: Boundary, message: Msg) -> None:
        self._writer.notice(boundary, int((message.headers or {}).get(SEQUENCE, "0")))

    async def _hear_no_more(self) -> None:
        heard, self._heard = self._heard, []
        for subscription in heard:
            if not self._broker.is_closed:
                await subscription.unsubscribe()

    async def _run(self) -> None:
        try:
            await self._writer.run()
        except Deposed:
            log.info("the room is decided elsewhere, or no more", room=self.room, node=self._node)
        except Exception:
            log.exception("the controller of a room failed", room=self.room, node=self._node)
        await self._hear_no_more()
        self._ended(self)
