"""Portals in processes of their own, a crowd of clients that talk, and what the log says they are to hear."""

import asyncio
import contextlib
import random
import signal
import socket
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

from roomledger.domain.signed_token import Claims, sign
from roomledger.runtime.token_keys import TokenKeys
from roomledger.sdk.client import Client, ConnectionBack, ConnectionLost, LoggedIn, Notification
from roomledger.sdk.errors import PortalFailure
from roomledger_events.envelope import Address, Payload
from roomledger_events.rooms import ParticipantJoined, ParticipantLeft, TextSent
from roomledger_events.subjects import Boundary, Kind
from tests.support.cluster import TestCluster
from tests.support.nats import until
from tests.support.serving import Serving, start

# -- Processes


class PortalProcess:
    """`roomledger portal` as a child, always on the same port, as a portal that is restarted is."""

    def __init__(self, cluster: TestCluster, path: Path, name: str, **settings: object) -> None:
        self.name = name
        self.url = f"ws://127.0.0.1:{(port := _free_port())}/"
        self._path = path / name
        self._variables = _variables(cluster, worker_id=name, portal_port=port, **settings)
        self._serving: Serving | None = None

    async def start(self) -> None:
        self._serving = await start(self._path, "portal", **self._variables)
        assert self._serving.ready["portal"] == self.url

    async def kill(self) -> None:
        await self.stop(signal.SIGKILL)

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        if self._serving is not None:
            await self._serving.stop(number)
            self._serving = None

    @property
    def is_running(self) -> bool:
        return self._serving is not None and self._serving.is_running

    @property
    def said(self) -> str:
        """What it has logged."""
        return "" if self._serving is None else self._serving.errors


class Stage:
    """A cluster manager, a conference worker with a node, and portals: all of them processes of their own.

    Attributes:
        cluster: The log that they are on.
        portals: The portals.
    """

    def __init__(self, cluster: TestCluster, portals: Sequence[PortalProcess], key: bytes) -> None:
        self.cluster = cluster
        self.portals = portals
        self._key = key

    async def tokens(self, room: str, number: int, portal: PortalProcess) -> list[str]:
        """Return tokens that name a portal, as the management API hands them out."""
        ids = await self.cluster.tokens(room, number)
        host = portal.url.removeprefix("ws://").removesuffix("/")
        return [
            sign(
                self._key,
                Claims(token=each, host=host, secure=False, room=room, code=each, url=portal.url),
            )
            for each in ids
        ]

    async def events(self, room: str) -> list[tuple[Address, Payload]]:
        """Return what the log has of a room, its texts included."""
        read = self.cluster.access.store.read((Boundary(Kind.ROOM, room), Boundary(Kind.TEXT, room)))
        return [
            (Address(commit.sequence, place), event.data)
            async for commit in read
            for place, event in enumerate(commit.events)
        ]

    async def used(self, room: str) -> set[str]:
        """Return the ids of the tokens that participants joined a room with."""
        return {data.token for _, data in await self.events(room) if isinstance(data, ParticipantJoined)}

    async def present(self, room: str) -> set[str]:
        """Return who is in a room, as the log says."""
        there: set[str] = set()
        for _, data in await self.events(room):
            if isinstance(data, ParticipantJoined):
                there.add(data.participant)
            elif isinstance(data, ParticipantLeft):
                there.discard(data.participant)
        return there


@asynccontextmanager
async def staged(cluster: TestCluster, path: Path, portals: int, **settings: object) -> AsyncIterator[Stage]:
    """Start everything, and stop it at the end."""
    async with AsyncExitStack() as stack:
        for name, more in (("cluster-manager", {}), ("conference", {"max_nodes": 1})):
            variables = _variables(cluster, worker_id=name, **more)
            serving = await start(path / name, name, **variables)
            stack.push_async_callback(serving.stop)
        there = [PortalProcess(cluster, path, f"portal-{n}", **settings) for n in range(1, portals + 1)]
        for portal in there:
            stack.push_async_callback(portal.stop)
            await portal.start()
        keys = TokenKeys(cluster.access.broker, cluster.settings())
        await keys.load()
        yield Stage(cluster, there, keys.signing)


def _variables(cluster: TestCluster, **settings: object) -> dict[str, str]:
    values = {
        "nats_url": cluster.server.url,
        "nats_password": cluster.server.credentials["service"],
        **settings,
    }
    return {f"ROOMLEDGER_{name.upper()}": str(value) for name, value in values.items()}


def _free_port() -> int:
    """Return a free port that no outgoing connection is given while nobody listens there."""
    while True:
        port = random.randrange(16_384, 32_768)  # noqa: S311  - no secret
        with socket.socket() as listener:
            try:
                listener.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


# -- Clients


class Heard(NamedTuple):
    """A notification, as it is compared with the log."""

    seq: str
    what: str
    about: str

    @classmethod
    def of(cls, notification: Notification) -> "Heard":
        params: dict[str, Any] = notification.params
        if notification.method == "text":
            return cls(params["seq"], f"text from {params['from']} to {params['to']}", params["message"])
        return cls(params["seq"], f"{notification.method} {params['action']}", params["participant"]["id"])


class Member:
    """One of the crowd: takes note of all that it is told.

    Attributes:
        login: The answer to its login.
        heard: What it was told, in order.
        lost: When it lost its connection, by the loop's clock.
        back: When it was back.
        failure: What ended it, if anything did.
    """

    def __init__(self, client: Client, login: LoggedIn, *, knows_others: bool) -> None:
        self.client = client
        self.knows_others = knows_others
        self.login = login
        self.heard: list[Heard] = []
        self.lost: list[float] = []
        self.back: list[float] = []
        self.failure: Exception | None = None
        self.listening = asyncio.create_task(self._listen())

    async def _listen(self) -> None:
        now = asyncio.get_running_loop().time
        try:
            async for told in self.client:
                match told:
                    case Notification():
                        self.heard.append(Heard.of(told))
                    case ConnectionLost():
                        self.lost.append(now())
                    case ConnectionBack():
                        self.back.append(now())
        except PortalFailure as failure:
            self.failure = failure

    def expected(self, events: Iterable[tuple[Address, Payload]]) -> list[Heard]:
        """Return what the log says that it was to be told."""
        me, since = self.login.id, Address.parse(self.login.seq)
        found = []
        for address, data in events:
            if address <= since:
                continue
            match data:
                case ParticipantJoined(participant=who) if who != me:
                    found.append(Heard(str(address), "participant join", who))
                case ParticipantLeft(participant=who) if who != me:
                    found.append(Heard(str(address), "participant leave", who))
                case TextSent(sender=sender, to=to, message=message) if to in {"all", me}:
                    to = "me" if to == me else to
                    found.append(Heard(str(address), f"text from {sender} to {to}", message))
                case _:
                    pass
        return found


class Crowd:
    """Clients in rooms.

    Attributes:
        rooms: Who is in which room.
        sent: How many texts were taken.
        unsent: Why texts were not taken, how often.
    """

    def __init__(self, stage: Stage) -> None:
        self.rooms: dict[str, list[Member]] = {}
        self.sent = 0
        self.unsent: dict[str, int] = {}
        self._stage = stage
        self._talking: list[asyncio.Task[None]] = []
        self._hushed = asyncio.Event()

    @property
    def members(self) -> list[Member]:
        return [member for room in self.rooms.values() for member in room]

    async def join(self, rooms: int, each: int) -> None:
        """Fill rooms from all portals; every second client knows its own portal only."""
        portals = self._stage.portals
        for number in range(rooms):
            room = f"room-{number}"
            await self._stage.cluster.room(room)
            self.rooms[room] = []
            for turn, portal in enumerate(portals):
                tokens = await self._stage.tokens(room, len(range(turn, each, len(portals))), portal)
                others = [other.url for other in portals[turn + 1 :] + portals[:turn]]  # type: ignore[operator]
                joined = [
                    self._join(token, others if (number + at) % 2 else []) for at, token in enumerate(tokens)
                ]
                self.rooms[room] += await asyncio.gather(*joined)

    async def _join(self, token: str, others: list[str]) -> Member:
        client = Client(token, urls=others)
        await client.connect()
        return Member(client, await client.login(), knows_others=bool(others))

    def talk(self, pause_s: float) -> None:
        """Let somebody say something in each room, again and again."""
        self._hushed.clear()
        self._talking = [asyncio.create_task(self._talk(members, pause_s)) for members in self.rooms.values()]

    async def _talk(self, members: Sequence[Member], pause_s: float) -> None:
        number = 0
        while not self._hushed.is_set():
            number += 1
            sender, other = random.sample(members, 2)
            to = other.login.id if number % 5 == 0 else "all"
            try:
                await sender.client.text(to, f"text {number}")
                self.sent += 1
            except PortalFailure as failure:
                why = getattr(failure, "code", type(failure).__name__)
                self.unsent[str(why)] = self.unsent.get(str(why), 0) + 1
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._hushed.wait()

    async def hush(self) -> None:
        """Let everybody finish what is being said, so that it is in the log, and nobody say more."""
        self._hushed.set()
        talking, self._talking = self._talking, []
        await asyncio.gather(*talking)

    async def alone(self, room: str) -> None:
        """Return when nobody else is in a room any more."""
        own = {member.login.id for member in self.rooms[room]}

        async def is_alone() -> bool:
            return await self._stage.present(room) == own

        await until(is_alone, 20)

    async def check(self, visitors: int = 0) -> int:
        """Hold what each was told against the log, and return how many notifications that were.

        Args:
            visitors: How many have come and gone; of the members nobody has.

        Raises:
            AssertionError: Somebody was told something else, or not all, or in another order.
        """
        total = 0
        for room, members in self.rooms.items():
            events = await self._stage.events(room)
            own = {member.login.id for member in members}
            left = [data for _, data in events if isinstance(data, ParticipantLeft)]
            assert not [each for each in left if each.participant in own], room
            visitors -= len(left)
            for member in members:
                expected = member.expected(events)
                await until(lambda: len(member.heard) >= len(expected), 10)  # noqa: B023  - awaited here
                assert member.failure is None
                assert member.heard == expected, f"{member.login.id} in {room}"
                total += len(expected)
        assert visitors == 0
        return total

    async def close(self) -> None:
        await self.hush()
        await asyncio.gather(*(member.client.close() for member in self.members))
        await asyncio.gather(*(member.listening for member in self.members))
