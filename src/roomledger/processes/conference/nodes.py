"""The nodes of a conference worker: keeps as many as are wanted, notices which are gone, and replaces them.

Which ones there are to be is the matter of `pool`; here nodes are started, heard, killed and waited for.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final, NamedTuple, TypeVar

import msgspec
import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from roomledger.domain.errors import Code, Refusal
from roomledger.processes.conference.node_calls import Beat, beats
from roomledger.processes.conference.node_ledger import NodeLedger
from roomledger.processes.conference.node_process import RunningNode
from roomledger.processes.conference.pool import Pool
from roomledger.runtime.ending import end
from roomledger_events.envelope import Event
from roomledger_events.identifiers import new_secret_id
from roomledger_events.nodes import NodeDied, NodeReady, NodeStarted, NodeStopped

TICK_S: Final = 0.1
DEAF_S: Final = 0.5
"""A tick that comes this much late means that nobody could be heard in the meantime."""
STARTING_S: Final = 30.0
"""How long a node may take to become ready."""
_FIRST_PAUSE_S: Final = 0.1
_LONGEST_PAUSE_S: Final = 10.0

Found = TypeVar("Found")
log = structlog.get_logger(__name__)


class Patience(NamedTuple):
    """How long to wait for nodes, in seconds.

    Attributes:
        ready_s: For a node that is on its way, before there is none to be had.
        silence_s: For a beat, before a node is given up.
    """

    ready_s: float
    silence_s: float


class _Watched:
    __slots__ = ("gone", "node", "why")

    def __init__(self, node: RunningNode) -> None:
        self.node = node
        self.why = ""
        """Why it is being ended, if somebody ends it."""
        self.gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()


class Nodes:
    """The nodes of one worker.

    Args:
        broker: The connection that they are heard on.
        pool: Which there are to be.
        ledger: Is told what becomes of them.
        make: Makes a node of this id.
        worker: The worker's id.
        patience: How long to wait for what.
        lost: Told of rooms whose node is gone, with the event that says so.
    """

    def __init__(
        self,
        broker: Client,
        pool: Pool,
        ledger: NodeLedger,
        make: Callable[[str], RunningNode],
        *,
        worker: str,
        patience: Patience,
        lost: Callable[[tuple[str, ...], Event], None],
    ) -> None:
        self.pool = pool
        self._broker = broker
        self._ledger = ledger
        self._make = make
        self._worker = worker
        self._patience = patience
        self._lost = lost
        self._watched: dict[str, _Watched] = {}
        self._watching: set[asyncio.Task[None]] = set()
        self._waiting = 0
        self._changed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._pause_s = 0.0
        self._not_before = 0.0
        self._stopping = False
        self._beats: Subscription | None = None
        self._keeping: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start as many as are to be there, and keep them; return when one is ready."""
        self._beats = await self._broker.subscribe(beats(self._worker), cb=self._hear)
        self._keeping = asyncio.create_task(self._keep(), name=f"nodes of {self._worker}")
        wanted = self.pool.missing(0)
        while wanted and not any(view.phase == "warm" for view in self.pool.views()):
            await self._change(STARTING_S)

    async def stop(self) -> None:
        """End all of them; their rooms stay as they are for the next worker."""
        self._stopping = True
        await end(self._keeping)
        await asyncio.gather(*(self._end(node, "quit") for node in list(self._watched)))
        await asyncio.gather(*self._watching)
        beats_, self._beats = self._beats, None
        if beats_ is not None and not self._broker.is_closed:
            await beats_.unsubscribe()

    async def failed(self) -> BaseException:
        """Return what ended the keeping of nodes; nothing does so but a fault of ours."""
        if self._keeping is None:
            raise RuntimeError("nodes are watched after their start")
        await asyncio.wait({self._keeping})
        return self._keeping.exception() or asyncio.CancelledError()

    def pid(self, node: str) -> int | None:
        """Return the process of a node."""
        watched = self._watched.get(node)
        return None if watched is None else watched.node.pid

    async def give(self, room: str) -> str:
        """Give a room a node, and return it; wait for one that is on its way, if it must be.

        Raises:
            Refusal: None is to be had.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + self._patience.ready_s
        self._waiting += 1
        try:
            while (node := self.pool.give(room)) is None:
                left = until - loop.time()
                if left <= 0 or self._stopping:
                    break
                self._fill()
                await self._change(left)
        finally:
            self._waiting -= 1
        node = node or self.pool.give(room, share=True)
        if node is None:
            raise Refusal(Code.NO_NODE, f"worker {self._worker} has no node for room {room} now")
        self._fill()
        return node

    async def ask(self, node: str, question: Awaitable[Found]) -> Found:
        """Return what a node answers.

        Raises:
            Refusal: What the node refuses; or it is gone (``no_such_node``).
        """
        watched = self._watched.get(node)
        asking = asyncio.ensure_future(question)
        try:
            if watched is not None:
                either: set[asyncio.Future[Any]] = {asking, watched.gone}
                await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
                if asking.done():
                    return asking.result()
            raise Refusal(Code.NO_SUCH_NODE, f"node {node} is gone")
        finally:
            await end(asking)

    def take(self, room: str) -> None:
        """Take note that a room is run no more; a node that has done its work by that is recycled."""
        idle = self.pool.take(room)
        if idle is not None:
            self._spawn(self._end(idle, "recycled"), f"recycling {idle}")

    async def recycle(self, node: str) -> None:
        """End a node and return when it has gone; another takes its place."""
        await self._end(node, "recycled")

    # -- Keeping

    async def _keep(self) -> None:
        loop = asyncio.get_running_loop()
        last = loop.time()
        while True:
            self._fill()
            await asyncio.sleep(TICK_S)
            now = loop.time()
            if not self._broker.is_connected or now - last > TICK_S + DEAF_S:
                self.pool.hear_all(now)
            last = now
            for node in self.pool.silent(now, starting_s=STARTING_S, silence_s=self._patience.silence_s):
                watched = self._watched[node]
                if not watched.why:
                    watched.why = f"silent for {self._patience.silence_s:g} s"
                    log.error("a node hangs: killing it", node=node)
                    watched.node.kill()

    def _fill(self) -> None:
        now = asyncio.get_running_loop().time()
        if self._stopping or now < self._not_before:
            return
        for _ in range(self.pool.missing(self._waiting)):
            node = f"node-{new_secret_id()[:8]}"
            self.pool.start(node, now)
            self._watched[node] = watched = _Watched(self._make(node))
            self._ledger.note(NodeStarted(node=node), about=node)
            self._spawn(self._watch(node, watched), f"watching {node}")

    async def _watch(self, node: str, watched: _Watched) -> None:
        """See a node through its life."""
        try:
            await watched.node.start()
            how = await watched.node.ended()
        except Exception as error:
            log.exception("a node could not be started", node=node)
            how = str(error)
        view = self.pool.view(node)
        never_ready = view is not None and view.phase == "starting"
        rooms = self.pool.gone(node)
        del self._watched[node]
        watched.gone.set_result(None)
        if watched.why in {"recycled", "quit"}:
            gone = self._ledger.note(NodeStopped(node=node, reason=watched.why), about=node)
        else:
            why = watched.why or how
            log.error("a node died", node=node, rooms=len(rooms), why=why)
            gone = self._ledger.note(NodeDied(node=node, reason=why), about=node)
            self._slow_down(never_ready=never_ready)
        if rooms and not self._stopping:
            self._lost(rooms, gone)
        self._tell()
        self._fill()

    def _slow_down(self, *, never_ready: bool) -> None:
        """Begin no node at once after one that could not even start, or nothing else would be done."""
        self._pause_s = min(max(2 * self._pause_s, _FIRST_PAUSE_S), _LONGEST_PAUSE_S) if never_ready else 0.0
        self._not_before = asyncio.get_running_loop().time() + self._pause_s

    async def _hear(self, message: Msg) -> None:
        try:
            node = msgspec.json.decode(message.data, type=Beat).node
        except msgspec.DecodeError:
            log.warning("a beat of no node", subject=message.subject)
            return
        if self.pool.hear(node, asyncio.get_running_loop().time()):
            self._pause_s = 0.0
            self._ledger.note(NodeReady(node=node), about=node)
            self._tell()

    async def _end(self, node: str, why: str) -> None:
        watched = self._watched.get(node)
        if watched is not None:
            self.pool.retire(node)
            watched.why = watched.why or why
            await watched.node.stop()
            await watched.gone

    # -- Waiting

    def _tell(self) -> None:
        changed, self._changed = self._changed, asyncio.get_running_loop().create_future()
        changed.set_result(None)

    async def _change(self, seconds: float) -> None:
        await asyncio.wait({self._changed}, timeout=seconds)

    def _spawn(self, work: Awaitable[None], name: str) -> None:
        async def do() -> None:
            await work

        task = asyncio.create_task(do(), name=name)
        self._watching.add(task)
        task.add_done_callback(self._watching.discard)
