"""The nodes of a conference worker, without any I/O: which there are, what they run, which one gets a room.

    (none) ──started──▶ starting ──ready──▶ warm ──a room──▶ assigned ──its last room gone──▶ recycling
                            │                 │                 │                                 │
                            └─────────────────┴── died, silent ─┴─────────────────────────────────┴──▶ (none)

- As many nodes are kept starting or warm as are wanted to be there before they are needed, and as there are
  rooms that wait for one; all in all never more than the limit.
- A room is given to the node that runs it already, else to the warm one that has been ready for longest.
  When there is no warm one and there can be no further one either, it shares the node that runs the fewest
  rooms, if that is allowed.
- A node that is recycled gets no more rooms.  One that is never recycled turns warm again.
- A node that was not heard of for too long is given up.  Time in which nobody could have been heard does not
  count: `hear_all` begins it anew for everybody.

Times are seconds of a monotonic clock.
"""

from collections.abc import Iterator
from enum import StrEnum
from typing import NamedTuple


class Phase(StrEnum):
    """What a node is there for at the moment."""

    STARTING = "starting"
    WARM = "warm"
    ASSIGNED = "assigned"
    RECYCLING = "recycling"


class NodeView(NamedTuple):
    """A node as it is shown."""

    node: str
    phase: Phase
    rooms: tuple[str, ...]


class _Node:
    __slots__ = ("heard", "phase", "rooms")

    def __init__(self, now: float) -> None:
        self.phase = Phase.STARTING
        self.rooms: dict[str, None] = {}
        self.heard = now


class Pool:
    """The nodes of one worker.

    Args:
        prerun: How many are to be there before they are needed.
        limit: How many there may be.
        reuse: Whether a node may run more than one room when there are as many as there may be.
        recycle: Whether a node has done its work when its last room has gone.
    """

    def __init__(self, *, prerun: int, limit: int, reuse: bool, recycle: bool) -> None:
        self.limit = limit
        self.reuse = reuse
        self._prerun = min(prerun, limit)
        self._recycle = recycle
        self._nodes: dict[str, _Node] = {}
        self._runs: dict[str, str] = {}

    # -- What is there

    @property
    def rooms(self) -> int:
        """How many rooms are run."""
        return len(self._runs)

    @property
    def taken(self) -> float:
        """Which share of the nodes that there may be runs rooms."""
        return self._count(Phase.ASSIGNED) / self.limit

    def node_of(self, room: str) -> str | None:
        """Return the node that a room was given to."""
        return self._runs.get(room)

    def view(self, node: str) -> NodeView | None:
        """Return a node as it is shown; None for one that is not there."""
        known = self._nodes.get(node)
        return None if known is None else NodeView(node, known.phase, tuple(known.rooms))

    def views(self) -> Iterator[NodeView]:
        """Yield all nodes, the oldest first."""
        for node, known in self._nodes.items():
            yield NodeView(node, known.phase, tuple(known.rooms))

    def missing(self, waiting: int) -> int:
        """Return how many nodes are to be started now.

        Args:
            waiting: How many rooms wait for a node.
        """
        coming = self._count(Phase.STARTING, Phase.WARM)
        return max(0, min(self.limit - len(self._nodes), max(self._prerun, waiting) - coming))

    # -- Nodes

    def start(self, node: str, now: float) -> None:
        """Take note that a node was started."""
        self._nodes[node] = _Node(now)

    def hear(self, node: str, now: float) -> bool:
        """Take note that a node is there; return whether it has just become ready."""
        known = self._nodes.get(node)
        if known is None:
            return False
        known.heard = now
        if known.phase is not Phase.STARTING:
            return False
        del self._nodes[node]  # the warm ones stand in the order in which they became ready
        self._nodes[node] = known
        known.phase = Phase.WARM
        return True

    def hear_all(self, now: float) -> None:
        """Give everybody the full time, because nobody could be heard."""
        for known in self._nodes.values():
            known.heard = now

    def silent(self, now: float, *, starting_s: float, silence_s: float) -> list[str]:
        """Return the nodes that are to be given up.

        Args:
            now: The time.
            starting_s: How long a node may take to become ready.
            silence_s: How long a ready one may be silent.
        """
        return [
            node
            for node, known in self._nodes.items()
            if now - known.heard >= (starting_s if known.phase is Phase.STARTING else silence_s)
        ]

    def retire(self, node: str) -> None:
        """Give a node no more rooms; those that it runs stay with it until they are given to another."""
        known = self._nodes.get(node)
        if known is not None:
            known.phase = Phase.RECYCLING

    def gone(self, node: str) -> tuple[str, ...]:
        """Take note that a node is there no more, and return the rooms that it ran."""
        known = self._nodes.pop(node, None)
        rooms = () if known is None else tuple(known.rooms)
        for room in rooms:
            del self._runs[room]
        return rooms

    # -- Rooms

    def give(self, room: str, *, share: bool = False) -> str | None:
        """Give a room a node and return it; None if it has to wait for one.

        Args:
            room: Which room.
            share: Whether to share a node, if that is allowed, although there could be a further one.
        """
        runs = self._runs.get(room)
        if runs is not None:
            return runs
        node = self._choose(share=share)
        if node is not None:
            known = self._nodes[node]
            known.phase = Phase.ASSIGNED
            known.rooms[room] = None
            self._runs[room] = node
        return node

    def take(self, room: str) -> str | None:
        """Take note that a room is run no more; return its node if that has done its work."""
        node = self._runs.pop(room, None)
        if node is None:
            return None
        known = self._nodes[node]
        del known.rooms[room]
        if known.rooms or known.phase is not Phase.ASSIGNED:
            return None
        known.phase = Phase.RECYCLING if self._recycle else Phase.WARM
        return node if self._recycle else None

    def _choose(self, *, share: bool) -> str | None:
        busy: str | None = None
        fewest = 0
        for node, known in self._nodes.items():
            if known.phase is Phase.WARM:
                return node
            if known.phase is Phase.ASSIGNED and (busy is None or len(known.rooms) < fewest):
                busy, fewest = node, len(known.rooms)
        is_full = len(self._nodes) >= self.limit and not self._count(Phase.STARTING)
        return busy if self.reuse and (share or is_full) else None

    def _count(self, *phases: Phase) -> int:
        return sum(known.phase in phases for known in self._nodes.values())
