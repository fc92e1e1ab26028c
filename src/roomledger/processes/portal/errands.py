"""What rooms and the cluster are to be told of sessions, until they know it.

Each step of an errand is tried again for as long as it takes; telling a room twice does no harm. The errands
of one participant are run one after the other.
"""

import asyncio
from collections.abc import Callable
from typing import Final, NamedTuple

import structlog

from roomledger.domain.errors import Code, Refusal
from roomledger.processes.portal.inquiries import AGAIN, on_behalf_of
from roomledger.processes.portal.session import Here
from roomledger.processes.portal.session_effects import Right
from roomledger.processes.portal.whereabouts import Place, Whereabouts
from roomledger.runtime.ending import end
from roomledger.sdk.rooms import Controller
from roomledger.sdk.worker import Worker
from roomledger_events.envelope import Address
from roomledger_events.identifiers import new_id

LIMIT: Final = 20_000
"""How many errands may wait."""
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


class Leaving(NamedTuple):
    """The room is to be told that the participant leaves, and why."""

    reason: str


class Losing(NamedTuple):
    """The room is to be told that the connection is lost.

    Attributes:
        epoch: Which one; None if that is not known.
        told: Up to where the client is known to have been told.
    """

    epoch: int | None
    told: Address | None


class Returning(NamedTuple):
    """The room is to be told that the connection is there; then `done` gets the session's epoch."""

    done: Callable[[int], None]


class LayingDown(NamedTuple):
    """The cluster is to be told that the token's task is done."""


Step = Leaving | Losing | Returning | LayingDown


class Errand(NamedTuple):
    """What is to be told of a session.

    Attributes:
        participant: Whose it is.
        right: The token that it goes back to.
        steps: What is to be told, in order.
        picking: The picking up of the token's task: it is laid down after that.
    """

    participant: str
    right: Right
    steps: tuple[Step, ...]
    picking: asyncio.Future[None] | None = None


class Errands:
    """Sees errands through.

    Args:
        whereabouts: Where rooms are run.
        controller: Tells a room.
        worker: Lays tasks down.
        here: This portal.
        grace_ms: How long rooms are to wait for those who lost their connection.
    """

    def __init__(
        self, whereabouts: Whereabouts, controller: Controller, worker: Worker, here: Here, *, grace_ms: int
    ) -> None:
        self._whereabouts = whereabouts
        self._controller = controller
        self._worker = worker
        self._here = here
        self._grace_ms = grace_ms
        self._going: dict[str, asyncio.Task[None]] = {}
        self._all: set[asyncio.Task[None]] = set()
        self._doors = asyncio.Semaphore(AT_ONCE)

    @property
    def waiting(self) -> int:
        """How many errands are not done yet."""
        return len(self._all)

    def add(self, errand: Errand) -> None:
        """See an errand through, in the background."""
        who = errand.participant
        if len(self._all) >= LIMIT:
            log.error("too many errands wait: this one is given up", room=errand.right.room, participant=who)
            return
        before = self._going.get(who)
        going = asyncio.create_task(self._see_through(errand, before), name=f"errand of {who}")
        self._going[who] = going
        self._all.add(going)
        going.add_done_callback(lambda done: self._done(who, done))

    async def settled(self, participant: str, seconds: float) -> bool:
        """Return whether all that was to be told of a participant is told, waiting for a while."""
        going = self._going.get(participant)
        if going is not None:
            await asyncio.wait({going}, timeout=seconds)
        return going is None or going.done()

    async def finish(self, seconds: float) -> None:
        """Wait until nothing is left to be told, and give up after a while.

        Args:
            seconds: How long to wait.
        """
        if self._all:
            await asyncio.wait(self._all, timeout=seconds)
        left = list(self._all)
        if left:
            log.error("rooms could not be told what became of participants", errands=len(left))
        await end(*left)

    def _done(self, participant: str, done: "asyncio.Task[None]") -> None:
        self._all.discard(done)
        if self._going.get(participant) is done:
            del self._going[participant]

    async def _see_through(self, errand: Errand, before: "asyncio.Task[None] | None") -> None:
        if before is not None:
            await asyncio.wait({before})
        for step in errand.steps:
            if isinstance(step, LayingDown) and errand.picking is not None:
                await asyncio.wait({errand.picking})
            await self._until_done(errand, step)

    async def _until_done(self, errand: Errand, step: Step) -> None:
        told = log.bind(room=errand.right.room, participant=errand.participant, what=type(step).__name__)
        # One command for all attempts, so that it is carried out once.
        command = f"{type(step).__name__.lower()}:{new_id()}"
        pause, tries, done = _FIRST_PAUSE_S, 0, False
        while not done:
            tries += 1
            try:
                async with self._doors:
                    await self._take(errand, step, command)
                done = True
            except Refusal as refusal:
                done = refusal.code in NOTHING_TO_DO
                if tries == 1:
                    log_line = told.info if done else told.warning
                    log_line("an errand was refused", why=str(refusal), again=not done)
            except Exception:  # noqa: BLE001  - reported, and no reason to leave somebody in the room
                told.exception("an errand failed; trying again")
            if not done:
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE_S)
        if tries > 1:
            told.info("an errand was done at last", tries=tries)

    async def _take(self, errand: Errand, step: Step, command: str) -> None:
        if isinstance(step, LayingDown):
            meta = on_behalf_of(errand.right, errand.participant, "lay-down")
            await self._worker.lay_down(errand.right.code, meta)
            return
        room = errand.right.room
        place: Place | None = None
        try:
            meta = on_behalf_of(errand.right, errand.participant, "find")
            place = await self._whereabouts.of(room, meta)
            await self._tell_room(place.node, errand, step, command)
        except Refusal as refusal:
            if place is not None and refusal.code in AGAIN:
                self._whereabouts.forget(room, place)
            raise

    async def _tell_room(
        self, node: str, errand: Errand, step: Leaving | Losing | Returning, command: str
    ) -> None:
        participant, room, here = errand.participant, errand.right.room, self._here
        meta = on_behalf_of(errand.right, participant, command)
        match step:
            case Leaving(reason):
                await self._controller.leave(
                    node, room, participant, reason=reason, portal=here.portal, meta=meta
                )
            case Losing(epoch, told):
                await self._controller.lose_connection(
                    node,
                    room,
                    participant,
                    portal=here.portal,
                    grace_ms=self._grace_ms,
                    epoch=epoch,
                    told=None if told is None else str(told),
                    meta=meta,
                )
            case Returning(done):
                back = await self._controller.come_back(
                    node,
                    room,
                    participant,
                    portal=here.portal,
                    incarnation=here.incarnation,
                    meta=meta,
                )
                done(back.epoch)
