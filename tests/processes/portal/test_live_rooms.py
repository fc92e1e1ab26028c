"""Following rooms by what a real nats-server republishes: nothing is missed, and nothing comes twice."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
from nats.aio.msg import Msg

from roomledger.event_store.connection import Connection
from roomledger.event_store.errors import LogUnavailable
from roomledger.processes.portal import live_rooms
from roomledger.processes.portal.live_rooms import LiveRooms
from roomledger_events.envelope import Payload
from roomledger_events.rooms import ParticipantLeft, TextSent
from roomledger_events.subjects import Boundary, Kind, Subjects
from tests.support.cluster import TestCluster, event
from tests.support.nats import until


class Followed:
    """A room that is followed on a connection of its own."""

    def __init__(self, cluster: TestCluster) -> None:
        self.cluster = cluster
        self.told: list[str] = []
        self.sequences: list[int] = []
        self.error: Exception | None = None
        self.broker: Connection
        self._last = 0
        self._following: asyncio.Task[None] | None = None

    async def begin(self, start: int = 1) -> None:
        access = await self.cluster.connect()
        self.broker = access.broker
        live = LiveRooms(access.broker, access.store, Subjects())

        async def follow() -> None:
            try:
                async with contextlib.aclosing(live.follow("r1", start)) as commits:
                    async for commit in commits:
                        self.sequences.append(commit.sequence)
                        self.told += [said(each.data) for each in commit.events]
            except Exception as error:  # noqa: BLE001  - looked at by the test
                self.error = error

        self._following = asyncio.create_task(follow())

    async def end(self) -> None:
        if self._following is not None:
            self._following.cancel()
            await asyncio.gather(self._following, return_exceptions=True)

    async def leave(self, name: str) -> int:
        left = event(ParticipantLeft(participant=name, reason="logout"), name)
        store = self.cluster.access.store
        self._last = await store.append(Boundary(Kind.ROOM, "r1"), [left], self._last)
        return self._last

    async def say(self, message: str) -> None:
        text = event(TextSent(sender="x", to="all", message=message), "x")
        guard = (Boundary(Kind.ROOM, "r1"), self._last)
        await self.cluster.access.store.append(Boundary(Kind.TEXT, "r1"), [text], None, guard=guard)

    async def until_told(self, *expected: str) -> None:
        await until(lambda: len(self.told) >= len(expected), 10)
        assert self.told == list(expected)
        assert self.sequences == sorted(set(self.sequences))


def said(data: Payload) -> str:
    return getattr(data, "message", None) or getattr(data, "participant", "?")


@pytest.fixture
async def room(cluster: TestCluster) -> AsyncIterator[Followed]:
    followed = Followed(cluster)
    yield followed
    await followed.end()


async def test_what_was_there_and_what_comes_is_told_in_the_order_of_the_log(room: Followed) -> None:
    await room.leave("a")
    await room.say("b")
    await room.begin()
    await room.until_told("a", "b")
    await room.leave("c")
    await room.say("d")
    await room.leave("e")
    await room.until_told("a", "b", "c", "d", "e")


async def test_what_came_before_the_start_is_not_told(room: Followed) -> None:
    await room.leave("a")
    second = await room.leave("b")
    await room.begin(second)
    await room.leave("c")
    await room.until_told("b", "c")


async def test_nothing_is_missed_and_nothing_comes_twice_while_much_comes_at_the_start(
    room: Followed,
) -> None:
    names = [f"p{number}" for number in range(200)]

    async def append() -> None:
        for name in names:
            await room.leave(name)

    appending = asyncio.create_task(append())
    await until(lambda: room._last > 20)
    await room.begin()
    await appending
    await room.until_told(*names)


async def test_what_is_told_of_other_rooms_and_tokens_is_passed_over(room: Followed) -> None:
    await room.begin()
    await room.cluster.token("r1")
    await room.cluster.room("r2")
    await room.leave("a")
    await room.until_told("a")


async def test_a_message_that_was_not_heard_is_read_from_the_log(
    room: Followed, monkeypatch: pytest.MonkeyPatch
) -> None:
    hear = live_rooms._Heard.hear
    deaf = {"b", "c"}

    async def hear_some(heard: live_rooms._Heard, message: Msg) -> None:
        if not any(f'"{name}"'.encode() in message.data for name in deaf):
            await hear(heard, message)

    monkeypatch.setattr(live_rooms._Heard, "hear", hear_some)
    await room.begin()
    await room.leave("a")
    await room.until_told("a")
    await room.leave("b")
    await room.say("c")
    await room.leave("d")
    await room.until_told("a", "b", "c", "d")


async def test_what_came_while_the_connection_was_lost_is_read_from_the_log(room: Followed) -> None:
    await room.leave("a")
    await room.begin()
    await room.until_told("a")
    await room.cluster.server.restart()
    await until(lambda: room.cluster.access.broker.is_connected, 10)
    await room.leave("b")
    await room.say("c")
    await room.until_told("a", "b", "c")


async def test_a_connection_that_is_closed_for_good_is_reported(room: Followed) -> None:
    await room.leave("a")
    await room.begin()
    await room.until_told("a")
    await room.broker.close()
    await until(lambda: isinstance(room.error, LogUnavailable))
