"""The processes that a portal talks to, as small as they can be: real services on a real broker, one node.

They keep the wire's rules, and let a test hold an answer back, refuse it, or move a room to another node.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from nats.aio.client import Client

from roomledger.domain.errors import Code, Refusal
from roomledger.event_store.store import EventStore
from roomledger.runtime.calls import Method, Nothing, Request, Service, serve
from roomledger.runtime.commands import Meta
from roomledger.sdk.cluster import (
    Join,
    Joined,
    KeptAlive,
    OfWorker,
    OfWorkerAndTask,
    PickUpTasks,
    ReportLoad,
    Schedule,
    Scheduled,
)
from roomledger.sdk.room_shapes import ComeBack, LoseConnection, SendText, TextStored
from roomledger.sdk.rooms import (
    GetNode,
    IsBack,
    JoinedRoom,
    JoinRoom,
    LeaveRoom,
    NodeFound,
    OfRoom,
    Participants,
    ParticipantView,
    RoomView,
)
from roomledger_events.envelope import Address, Event, Payload
from roomledger_events.identifiers import new_id
from roomledger_events.rooms import (
    ParticipantAway,
    ParticipantBack,
    ParticipantJoined,
    ParticipantLeft,
    Permission,
    RoomDeleted,
    TextSent,
)
from roomledger_events.subjects import Boundary, Kind
from roomledger_events.workers import WorkerInfo

WORKER = "conference-1"


class Heard(NamedTuple):
    """A request that came in."""

    method: str
    request: Any
    meta: Meta


class Neighbours:
    """A cluster manager, a conference worker, and a controller for every room.

    Attributes:
        heard: The requests, in order.
        node: Where rooms are run; the services of one that is `moved` away from answer wrong_controller.
        placing: The refusal that the node of a room is asked for in vain with, if any.
        before_join: Awaited before a join is decided; may raise a `Refusal`.
        after_join: Awaited when somebody is in, before the answer.
        before_leave: Awaited before a leave is decided; may raise a `Refusal`.
        before_text: The same for a text.
        before_back: The same for a return.
        away: Who lost the connection and is not back.
    """

    def __init__(self, broker: Client, store: EventStore) -> None:
        self.heard: list[Heard] = []
        self.node = "node-1"
        self.limit = 1000
        self.placing: Refusal | None = None
        self.before_join: Callable[[], Awaitable[None]] = _nothing
        self.after_join: Callable[[], Awaitable[None]] = _nothing
        self.before_leave: Callable[[], Awaitable[None]] = _nothing
        self.before_text: Callable[[], Awaitable[None]] = _nothing
        self.before_back: Callable[[], Awaitable[None]] = _nothing
        self.away: set[str] = set()
        self._broker = broker
        self._store = store
        self._present: dict[str, dict[str, ParticipantView]] = {}
        self._used: set[str] = set()
        self._epochs: dict[str, int] = {}
        self._last: dict[str, int] = {}
        self._appending = asyncio.Lock()
        self._services: list[Service] = []

    async def start(self) -> None:
        await self._serve(
            "rpc.cluster",
            {
                "join": (Join, self._join_cluster),
                "quit": (OfWorker, _done),
                "get_worker": (OfWorker, _unknown),
                "keep_alive": (OfWorker, _kept),
                "report_load": (ReportLoad, _done),
                "pick_up_tasks": (PickUpTasks, _done),
                "lay_down_task": (OfWorkerAndTask, _done),
                "schedule": (Schedule, self._schedule),
            },
        )
        await self._serve(f"rpc.conference.{WORKER}", {"get_node": (GetNode, self._get_node)})
        await self.start_node(self.node)

    async def start_node(self, node: str) -> None:
        """Answer for the rooms of a node."""
        methods = {
            "join": (JoinRoom, self._join),
            "leave": (LeaveRoom, self._leave),
            "text": (SendText, self._text),
            "lose_connection": (LoseConnection, self._lose),
            "come_back": (ComeBack, self._come_back),
            "get_participants": (OfRoom, self._participants),
        }
        await self._serve(f"rpc.controller.{node}", methods, node)

    async def move(self, node: str) -> None:
        """Run all rooms on another node from now on."""
        await self.start_node(node)
        self.node = node

    async def stop(self) -> None:
        for service in self._services:
            await service.stop()

    # -- What a test looks at

    def present(self, room: str = "r1") -> set[str]:
        """Return who is in."""
        return set(self._present.get(room, {}))

    def requests(self, method: str) -> list[Any]:
        """Return the requests of a method, in order."""
        return [heard.request for heard in self.heard if heard.method == method]

    # -- What a test does

    async def drop(self, participant: str, message: str | None = None, room: str = "r1") -> None:
        who = self._present[room].pop(participant)
        await self.append(_left(who, "dropped", message), room=room)

    async def delete(self, room: str = "r1") -> None:
        self._present.pop(room, None)
        await self.append(RoomDeleted(room=room), room=room)

    async def enter(self, *participants: str, room: str = "r1") -> None:
        """Let some in by themselves, in one commit."""
        views = [ParticipantView(id=each, user=f"user-{each}", role="viewer") for each in participants]
        self._present.setdefault(room, {}).update({view.id: view for view in views})
        await self.append(*[_joined(view, "portal-9", new_id()) for view in views], room=room)

    async def append(self, *facts: Payload, room: str = "r1") -> int:
        """Append one commit to a room and return its sequence."""
        events = [_event(fact, room) for fact in facts]
        async with self._appending:
            last = self._last.get(room, 0)
            sequence = await self._store.append(Boundary(Kind.ROOM, room), events, last)
            self._last[room] = sequence
        return sequence

    # -- The services

    async def _serve(
        self,
        prefix: str,
        methods: dict[str, tuple[type[Request], Callable[..., Awaitable[Any]]]],
        node: str | None = None,
    ) -> None:
        def heard(name: str, answer: Callable[..., Awaitable[Any]]) -> Callable[[Any, Meta], Awaitable[Any]]:
            async def hear(request: Any, meta: Meta) -> Any:  # noqa: ANN401  - any method's
                self.heard.append(Heard(name, request, meta))
                if node not in {None, self.node}:
                    raise Refusal(Code.WRONG_CONTROLLER, f"{node} does not run this room")
                return await answer(request)

            return hear

        service = await serve(
            self._broker,
            name=prefix.split(".")[1],
            version="0.0.1",
            prefix=prefix,
            methods={
                name: Method(request, heard(f"{prefix.split('.')[1]}.{name}", answer))
                for name, (request, answer) in methods.items()
            },
        )
        self._services.append(service)

    async def _join_cluster(self, _: Join) -> Joined:
        return Joined(sequence=1)

    async def _schedule(self, _: Schedule) -> Scheduled:
        info = WorkerInfo(ip="127.0.0.1", max_load=0.9)
        return Scheduled(
            worker=WORKER, info=info, expires_at=datetime.now(UTC) + timedelta(minutes=1), sequence=1
        )

    async def _get_node(self, _: GetNode) -> NodeFound:
        if self.placing is not None:
            raise self.placing
        return NodeFound(node=self.node)

    async def _join(self, request: JoinRoom) -> JoinedRoom:
        await self.before_join()
        who = request.participant
        present = self._present.setdefault(request.room, {})
        if request.token in self._used:
            raise Refusal(Code.TOKEN_USED, "this token was used")
        if len(present) >= self.limit:
            raise Refusal(Code.ROOM_FULL, "the room is full")
        self._used.add(request.token)
        view = ParticipantView(id=who.id, user=f"user-{request.token}", role="viewer")
        present[view.id] = view
        participants = tuple(present.values())
        sequence = await self.append(_joined(view, who.portal, request.token), room=request.room)
        await self.after_join()
        return JoinedRoom(
            id=view.id,
            user=view.user,
            role=view.role,
            permission=Permission(),
            room=RoomView(id=request.room, name="Room", views=("common",), participants=participants),
            seq=str(Address(sequence)),
        )

    async def _leave(self, request: LeaveRoom) -> Nothing:
        await self.before_leave()
        who = self._present.get(request.room, {}).pop(request.participant, None)
        if who is not None:
            await self.append(_left(who, request.reason), room=request.room)
        return Nothing()

    async def _text(self, request: SendText) -> TextStored:
        await self.before_text()
        said = TextSent(sender=request.sender, to=request.to, message=request.message)
        last = self._last.get(request.room, 0)
        sequence = await self._store.append(
            Boundary(Kind.TEXT, request.room),
            [_event(said, request.sender)],
            None,
            guard=(Boundary(Kind.ROOM, request.room), last),
        )
        return TextStored(seq=str(Address(sequence)))

    async def _lose(self, request: LoseConnection) -> Nothing:
        if request.participant in self._present.get(request.room, {}):
            away = ParticipantAway(
                participant=request.participant,
                portal=request.portal,
                back_by=datetime.now(UTC) + timedelta(milliseconds=request.grace_ms),
                told=request.told or "",
            )
            await self.append(away, room=request.room)
            self.away.add(request.participant)
        return Nothing()

    async def _come_back(self, request: ComeBack) -> IsBack:
        await self.before_back()
        who = self._present.get(request.room, {}).get(request.participant)
        if who is None:
            raise Refusal(Code.NO_SUCH_PARTICIPANT, "nobody such is in this room")
        self._epochs[who.id] = epoch = self._epochs.get(who.id, 1) + 1
        back = ParticipantBack(
            participant=who.id,
            portal=request.portal,
            incarnation=request.incarnation or "",
            epoch=epoch,
        )
        sequence = await self.append(back, room=request.room)
        self.away.discard(who.id)
        return IsBack(
            user=who.user,
            role=who.role,
            permission=Permission(),
            seq=str(Address(sequence)),
            epoch=epoch,
        )

    async def _participants(self, request: OfRoom) -> Participants:
        return Participants(
            participants=tuple(self._present.get(request.room, {}).values()),
            seq=str(Address(self._last.get(request.room, 0))),
        )


def _event(fact: Payload, about: str) -> Event:
    return Event.of(
        fact,
        about=about,
        id=new_id(),
        source="test",
        time=datetime.now(UTC),
        correlation="test",
        actor="test",
    )


def _left(who: ParticipantView, reason: str, message: str | None = None) -> ParticipantLeft:
    return ParticipantLeft(participant=who.id, reason=reason, message=message, user=who.user, role=who.role)


def _joined(view: ParticipantView, portal: str, token: str) -> ParticipantJoined:
    return ParticipantJoined(
        participant=view.id,
        user=view.user,
        role=view.role,
        permission=Permission(),
        portal=portal,
        token=token,
    )


async def _nothing() -> None:
    pass


async def _done(_: Request) -> Nothing:
    return Nothing()


async def _unknown(_: Request) -> Nothing:
    raise Refusal(Code.NO_SUCH_WORKER, "there is no such worker")


async def _kept(_: Request) -> KeptAlive:
    return KeptAlive(status="ok", draining=False)
