"""What a conference worker and its nodes say to each other, on the wire like everybody else.

The worker asks a node to ``run`` a room, and to ``let_go`` of one; the node beats, and says ``room_ended``.
None of it is for others.
"""

import contextlib
from typing import Final

import msgspec
import nats.errors
from nats.aio.client import Client

from roomledger.domain.errors import Code
from roomledger.runtime.calls import Caller, Nothing, Request, RequestMeta
from roomledger.sdk.rooms import CONFERENCE
from roomledger_events.identifiers import Id

NODE: Final = "rpc.node"
BEATS: Final = "rpc.beats"
BEAT_S: Final = 0.5
"""How often a node says that it is there."""
_RUN_S: Final = 10.0
"""How long a node may take to take a room over: it reads all of the room's events."""


class RunRoom(Request, kw_only=True, frozen=True):
    """``node.run``: decide for a room from now on.

    Attributes:
        room: Which room.
        if_occupied: Whether to leave an empty room alone.
    """

    room: Id
    if_occupied: bool = False


class RoomRun(msgspec.Struct, kw_only=True, frozen=True):
    """The reply to ``node.run``: the epoch of the room's controller; 0 for a room that was left alone."""

    epoch: int


class LetGo(Request, kw_only=True, frozen=True):
    """``node.let_go``: decide for a room no more, because it is another worker's.

    Attributes:
        room: Which room.
        epoch: The epoch of the controller that is meant.
    """

    room: Id
    epoch: int


class RoomEnded(Request, kw_only=True, frozen=True):
    """``conference.room_ended``: a node decides for a room no more.

    Attributes:
        node: Which node.
        room: Which room.
        epoch: The epoch of its controller.
        deleted: Whether there is no such room any more.
    """

    node: Id
    room: Id
    epoch: int
    deleted: bool


class Beat(msgspec.Struct, kw_only=True, frozen=True):
    """A node is there."""

    node: str


def beats(worker: str) -> str:
    """Return the subject on which the nodes of a worker beat."""
    return f"{BEATS}.{worker}"


class NodeCalls:
    """Asks the nodes of a worker. Raises `Refusal`.

    Args:
        broker: The connection.
        worker: The worker's id.
    """

    def __init__(self, broker: Client, worker: str) -> None:
        self._caller = Caller(broker, actor=f"worker:{worker}", time_limit=_RUN_S)

    async def run(self, node: str, room: str, meta: RequestMeta, *, if_occupied: bool) -> int:
        """Have a node run a room; return the epoch of its controller, 0 if it was left alone."""
        request = RunRoom(room=room, if_occupied=if_occupied, meta=meta)
        reply = await self._caller.call(f"{NODE}.{node}.run", request, RoomRun, absent=Code.NO_SUCH_NODE)
        return reply.epoch

    async def let_go(self, node: str, room: str, epoch: int) -> None:
        """Have a node decide for a room no more; nothing happens if that is under another epoch by now."""
        request = LetGo(room=room, epoch=epoch)
        await self._caller.call(f"{NODE}.{node}.let_go", request, Nothing, absent=Code.NO_SUCH_NODE)


class WorkerCalls:
    """Tells a conference worker what its node did. Raises `Refusal`.

    Args:
        broker: The connection.
        worker: The worker's id.
        node: The node's.
    """

    def __init__(self, broker: Client, worker: str, node: str) -> None:
        self._broker = broker
        self._worker = worker
        self._node = node
        self._caller = Caller(broker, actor=f"node:{node}")
        self._beat = msgspec.json.encode(Beat(node=node))

    async def beat(self) -> None:
        """Say that the node is there; nobody answers."""
        with contextlib.suppress(nats.errors.Error):  # the next one will do
            await self._broker.publish(beats(self._worker), self._beat)

    async def room_ended(self, room: str, epoch: int, *, deleted: bool) -> None:
        """Say that the node decides for a room no more."""
        request = RoomEnded(node=self._node, room=room, epoch=epoch, deleted=deleted)
        await self._caller.call(f"{CONFERENCE}.{self._worker}.room_ended", request, Nothing)
