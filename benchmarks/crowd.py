"""A busy cluster's clients and workers, all played over the wire by one process.

Workers of many purposes join, beat, report, drain, fall silent and come back; participants ask for tokens
over HTTP, join rooms as portals have them join, write, lose their connection, are kicked and leave.
"""

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Final

from benchmarks.tokens import KEY, Caller, request
from roomledger.domain.errors import Refusal
from roomledger.domain.signed_token import read
from roomledger.event_store.connection import Connection
from roomledger.runtime.calls import RequestMeta
from roomledger.sdk.cluster import Cluster
from roomledger.sdk.room_shapes import MediaWish, PermissionWish
from roomledger.sdk.rooms import Conference, Controller
from roomledger_events.identifiers import new_id
from roomledger_events.tasks import Preference
from roomledger_events.workers import Capacity, VideoCapacity, WorkerInfo

ISPS: Final = ("isp1", "isp2", "isp3")
REGIONS: Final = ("north", "south", "east")
SHARES: Final = {
    "portal": 30,
    "webrtc": 35,
    "streaming": 10,
    "video": 10,
    "audio": 5,
    "recording": 5,
    "sip": 5,
}
"""Purpose → how many of a hundred workers are its."""
STRATEGIES: Final = {
    "portal": "least-used",
    "webrtc": "weight-robin",
    "streaming": "round-robin",
    "video": "least-used",
    "audio": "most-used",
    "recording": "randomly-pick",
    "sip": "last-used",
}
CODECS: Final = VideoCapacity(encode=("h264", "vp8"), decode=("h264", "vp8", "vp9"))
FULL: Final = 400
"""So many tasks are a load of 1."""


@dataclass(frozen=True)
class Sizes:
    """How large the cluster is.

    Attributes:
        workers: How many workers there are, beside those that decide for rooms.
        rooms: How many rooms.
        participants: How many participants come, one after another.
        together: How many are there at once.
        stay_s: How long one stays, on average.
        seed: Of all that is left to chance here.
    """

    workers: int = 100
    rooms: int = 1_000
    participants: int = 20_000
    together: int = 200
    stay_s: float = 0.5
    seed: int = 1


@dataclass
class Hand:
    """A worker that this process plays."""

    worker: str
    purpose: str
    info: WorkerInfo
    tasks: set[str] = field(default_factory=set)
    silent: bool = False

    @property
    def load(self) -> float:
        """What it reports."""
        return min(0.05 + len(self.tasks) / FULL, 1.0)


class Crowd:
    """All of them."""

    def __init__(self, broker: Connection, port: int, sizes: Sizes) -> None:
        self.told: Counter[str] = Counter()
        self._sizes = sizes
        self._port = port
        self._chance = Random(sizes.seed)  # noqa: S311  - chance, no secret
        self._cluster = Cluster(broker, actor="crowd")
        self._conference = Conference(broker, actor="crowd", time_limit=10)
        self._controller = Controller(broker, actor="crowd", time_limit=10)
        self._hands: dict[str, Hand] = {}
        self._portals: dict[str, Hand] = {}
        self._nodes: dict[str, asyncio.Task[str]] = {}

    async def come(self) -> None:
        """Create the rooms, and let all workers join."""
        caller = await Caller.connect(self._port)
        for number in range(self._sizes.rooms):
            limit = 2 if number % 10 == 3 else -1
            body = {"name": f"Room {number}", "id": f"room-{number}", "options": {"participantLimit": limit}}
            await caller.ask(request("/v1/rooms", body), b"201")
        caller.close()
        purposes = [name for name, share in SHARES.items() for _ in range(share)]
        for number in range(self._sizes.workers):
            purpose = purposes[number * len(purposes) // self._sizes.workers]
            await self._enter(self._hand(purpose, number))

    async def live(self) -> None:
        """Let all participants come and go."""
        numbers = iter(range(self._sizes.participants))
        beside = [asyncio.create_task(self._beat()), asyncio.create_task(self._trouble())]
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(self._sizes.together):
                    group.create_task(self._come_and_go(numbers))
        finally:
            for task in beside:
                task.cancel()
            await asyncio.gather(*beside, return_exceptions=True)

    # -- Workers

    def _hand(self, purpose: str, number: int) -> Hand:
        named = number % 3  # two of three serve one isp, the others all
        capacity = Capacity(
            isps=() if named == 0 else (ISPS[number % 2],),
            regions=(REGIONS[number % len(REGIONS)],),
            video=CODECS if purpose == "video" else None,
        )
        port = 20_000 + number
        info = WorkerInfo(ip="127.0.0.1", port=port, max_load=0.9, capacity=capacity)
        hand = self._hands[f"{purpose}-{number}"] = Hand(f"{purpose}-{number}", purpose, info)
        if purpose == "portal":
            self._portals[f"127.0.0.1:{port}"] = hand
        return hand

    async def _enter(self, hand: Hand) -> None:
        await self._cluster.join(hand.purpose, hand.worker, hand.info)
        await self._cluster.report_load(hand.worker, hand.load)
        for start in range(0, len(hand.tasks), 100):
            tasks = tuple(sorted(hand.tasks)[start : start + 100])
            hand.tasks.difference_update(await self._cluster.pick_up_tasks(hand.worker, tasks))

    async def _beat(self) -> None:
        while True:
            await asyncio.gather(*(self._quietly(self._beat_of(hand)) for hand in list(self._hands.values())))
            await asyncio.sleep(0.5)

    async def _beat_of(self, hand: Hand) -> None:
        if hand.silent:
            return
        if (await self._cluster.keep_alive(hand.worker)).status == "who_are_you":
            self.told["joined again"] += 1
            await self._enter(hand)
        await self._cluster.report_load(hand.worker, hand.load)

    async def _trouble(self) -> None:
        """Let a worker drain, fall silent, be not ready or leave, one after another."""
        for turn in range(1_000_000):
            await asyncio.sleep(0.3)
            hand = self._chance.choice(list(self._hands.values()))
            await self._quietly(self._trouble_of(hand, turn % 4))

    async def _trouble_of(self, hand: Hand, turn: int) -> None:
        if turn == 0:
            await self._cluster.drain(hand.worker, 1_000)
            await asyncio.sleep(1.5)
            await self._cluster.undrain(hand.worker)
        elif turn == 1:
            hand.silent = True
            await asyncio.sleep(4)
            hand.silent = False
            self.told["fell silent"] += 1
        elif turn == 2:
            await self._cluster.report_state(hand.worker, 0)
            await asyncio.sleep(0.5)
            await self._cluster.report_state(hand.worker, 2)
        else:
            await self._cluster.quit(hand.worker)
            hand.tasks.clear()

    # -- Participants

    async def _come_and_go(self, numbers: Iterator[int]) -> None:
        for number in numbers:
            try:
                await self._one(number)
            except Refusal as refusal:
                self.told[refusal.code.value] += 1

    async def _asked(self, wanted: bytes) -> tuple[bytes, bytes]:
        """Ask over a connection of its own: one that is kept is closed when its user has stayed for long."""
        caller = await Caller.connect(self._port)
        try:
            return await caller.exchange(wanted)
        finally:
            caller.close()

    async def _one(self, number: int) -> None:
        chance = self._chance
        room = f"room-{min(int(chance.expovariate(3) * self._sizes.rooms), self._sizes.rooms - 1)}"
        where = {"isp": chance.choice((*ISPS[:2], "isp9" if chance.random() < 0.02 else ISPS[0]))}
        if chance.random() < 0.7:
            where["region"] = chance.choice(REGIONS)
        body = {"user": f"user {number}", "role": "presenter", "preference": where}
        status, text = await self._asked(request(f"/v1/rooms/{room}/tokens", body))
        if status != b"200":
            self.told[f"no token: {json.loads(text)['code']}"] += 1
            return
        claims, _ = read(text.decode())
        self.told["tokens"] += 1
        if chance.random() < 0.02:
            return  # it is never used
        if chance.random() < 0.02:
            await self._asked(_delete(f"/v1/tokens/{claims.token}"))
        portal = self._portals[claims.host]
        meta = RequestMeta(correlation=claims.token)
        node = await self._node(room)
        participant = new_id()
        try:
            await self._controller.join(
                node, room, claims.token, participant=participant, portal=portal.worker, meta=meta
            )
        except Refusal as refusal:
            if refusal.code in {"no_such_node", "wrong_controller"}:
                self._nodes.pop(room, None)
            raise
        self.told["joins"] += 1
        await self._take(portal, claims.code, meta)
        held = [(portal, claims.code), *await self._placed(participant, where, meta)]
        await self._stay(node, room, participant, portal.worker)
        for hand, task in held:
            hand.tasks.discard(task)
            await self._quietly(self._cluster.lay_down_task(hand.worker, task, meta))

    async def _placed(
        self, participant: str, where: dict[str, str], meta: RequestMeta
    ) -> list[tuple[Hand, str]]:
        """Have a few more tasks of a participant placed, as who serves media does."""
        found = []
        if self._chance.random() < 0.05:
            strange = Preference(video=VideoCapacity(encode=("av1",)))  # nobody has it
            await self._quietly(self._cluster.schedule("video", f"{participant}-av1", strange, meta=meta))
        for purpose in ("webrtc", *self._chance.sample(list(SHARES)[2:], self._chance.choice((0, 0, 1)))):
            video = CODECS if purpose == "video" else None
            wish = Preference(isp=where["isp"], region=where.get("region"), video=video)
            task = f"{participant}-{purpose}"
            try:
                placed = await self._cluster.schedule(purpose, task, wish, reserve_ms=3_000, meta=meta)
            except Refusal as refusal:
                self.told[refusal.code.value] += 1
                continue
            if self._chance.random() < 0.05:
                continue  # nobody picks it up
            hand = self._hands[placed.worker]
            await self._take(hand, task, meta)
            found.append((hand, task))
        return found

    async def _take(self, hand: Hand, task: str, meta: RequestMeta) -> None:
        hand.tasks.add(task)
        await self._quietly(self._cluster.pick_up_tasks(hand.worker, (task,), meta))

    async def _stay(self, node: str, room: str, participant: str, portal: str) -> None:
        chance, controller = self._chance, self._controller
        await asyncio.sleep(chance.expovariate(1 / self._sizes.stay_s))
        for _ in range(chance.choice((0, 1, 2))):
            await self._quietly(controller.text(node, room, participant, to="all", message="hello"))
        if chance.random() < 0.1:
            lost = controller.lose_connection(node, room, participant, portal=portal, grace_ms=60_000)
            await self._quietly(lost)
            await self._quietly(controller.come_back(node, room, participant, portal=portal))
        if chance.random() < 0.05:
            silenced = PermissionWish(publish=MediaWish(audio=False))
            await self._quietly(controller.set_permission(node, room, participant, silenced))
        if chance.random() < 0.05:
            await self._quietly(controller.drop(node, room, participant, reason="be quiet"))
        else:
            await self._quietly(controller.leave(node, room, participant, reason="logout"))

    async def _node(self, room: str) -> str:
        """Return the node that decides for a room; those who ask at once are told at once."""
        finding = self._nodes.get(room)
        if finding is None:
            finding = self._nodes[room] = asyncio.create_task(self._found(room))
        try:
            return await asyncio.shield(finding)
        except Refusal:
            self._nodes.pop(room, None)
            raise

    async def _found(self, room: str) -> str:
        placed = await self._cluster.schedule("conference", room)
        return await self._conference.get_node(placed.worker, room)

    async def _quietly(self, call: Awaitable[object]) -> None:
        """Let a refusal be counted: a busy cluster is full of them."""
        try:
            await call
        except Refusal as refusal:
            self.told[refusal.code.value] += 1


def _delete(path: str) -> bytes:
    head = (f"DELETE {path} HTTP/1.1", "Host: 127.0.0.1", f"Authorization: Bearer {KEY}")
    return "\r\n".join(head).encode() + b"\r\n\r\n"


def settings() -> str:
    """Return how the purposes are to be decided for, as a process's environment has it."""
    default = {"reserve_ms": 3_000}
    return json.dumps({"default": default, **{name: {"strategy": each} for name, each in STRATEGIES.items()}})
