"""Following a room: everybody is told exactly what came after the own join, whoever else is there."""

from collections.abc import AsyncGenerator, AsyncIterator

import pytest

from roomledger.event_store.memory import MemoryStore
from roomledger.processes.portal import room_feed
from roomledger.processes.portal.notifications import News, Presence, RoomClosed, Said
from roomledger.processes.portal.room_feed import Listener, RoomFeeds
from roomledger_events.envelope import Address, Commit, Event, Payload
from roomledger_events.identifiers import new_id
from roomledger_events.rooms import (
    JoinRefused,
    ParticipantJoined,
    ParticipantLeft,
    Permission,
    RoomDeleted,
    TextSent,
)
from roomledger_events.subjects import Boundary, Kind
from tests.support.deciders import START
from tests.support.nats import until

ROOM = Boundary(Kind.ROOM, "r1")


class Followed:
    """A room in a log, and what its participants are told."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.failures: list[Exception] = []
        self.feeds = RoomFeeds(self.store, self.follow, self.failures.append)
        self.told: dict[str, list[str]] = {}
        self.listeners: dict[str, Listener] = {}
        self._last = 0

    def follow(self, room: str, start: int) -> AsyncGenerator[Commit]:
        return self.store.follow((Boundary(Kind.ROOM, room), Boundary(Kind.TEXT, room)), start=start)

    async def append(self, *facts: Payload) -> int:
        events = [
            Event.of(fact, about="r1", id=new_id(), source="t", time=START, correlation="c", actor="a")
            for fact in facts
        ]
        self._last = await self.store.append(ROOM, events, self._last)
        return self._last

    async def join(self, *participants: str) -> dict[str, Address]:
        """Let some in, in one commit, and return where their joins stand."""
        sequence = await self.append(*map(joined, participants))
        return {each: Address(sequence, place) for place, each in enumerate(participants)}

    async def leave(self, participant: str) -> None:
        await self.append(
            ParticipantLeft(participant=participant, reason="logout", user=f"user-{participant}")
        )

    async def say(self, message: str) -> None:
        said = TextSent(sender="a", to="all", message=message)
        event = Event.of(said, about="a", id=new_id(), source="t", time=START, correlation="c", actor="a")
        await self.store.append(Boundary(Kind.TEXT, "r1"), [event], None, guard=(ROOM, self._last))

    def listen(self, participant: str, joined: dict[str, Address]) -> None:
        """Have a participant told, from its join on."""
        told = self.told[participant] = []
        self.listeners[participant] = self.feeds.add(
            "r1", participant, joined[participant], lambda news: told.append(said(news))
        )

    def stop(self, participant: str) -> None:
        self.listeners[participant].stop()

    async def until_told(self, participant: str, *expected: str) -> None:
        await until(lambda: len(self.told[participant]) >= len(expected))
        assert self.told[participant] == list(expected)


def joined(id_: str) -> ParticipantJoined:
    return ParticipantJoined(
        participant=id_, user=f"user-{id_}", role="viewer", permission=Permission(), portal="w", token="t"
    )


def said(news: News) -> str:
    told = news.notification
    if isinstance(told, RoomClosed):
        return "closed"
    assert isinstance(told, Presence)
    return f"{'+' if told.action == 'join' else '-'}{told.participant.user.removeprefix('user-')}"


@pytest.fixture
async def room() -> AsyncIterator[Followed]:
    followed = Followed()
    yield followed
    await followed.feeds.close()


async def test_who_is_there_is_told_who_comes_and_goes(room: Followed) -> None:
    room.listen("a", await room.join("a"))
    await room.join("b")
    await room.leave("b")
    await room.until_told("a", "+b", "-b")


async def test_those_who_joined_in_one_commit_learn_of_who_came_after_them_in_it(room: Followed) -> None:
    answers = await room.join("a", "b", "c")
    for each in answers:
        room.listen(each, answers)
    await room.join("d")
    await room.until_told("a", "+b", "+c", "+d")
    await room.until_told("b", "+c", "+d")
    await room.until_told("c", "+d")


async def test_who_comes_after_the_follower_has_passed_its_join_misses_nothing(room: Followed) -> None:
    room.listen("a", await room.join("a"))
    late = await room.join("b")
    await room.join("c")
    await room.until_told("a", "+b", "+c")
    room.listen("b", late)
    await room.join("d")
    await room.until_told("b", "+c", "+d")


async def test_what_is_not_kept_any_more_is_read_from_the_log(
    room: Followed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room_feed, "KEPT", 2)
    room.listen("a", await room.join("a"))
    late = await room.join("b")
    for each in "cdef":
        await room.join(each)
    await room.leave("a")
    await room.until_told("a", "+b", "+c", "+d", "+e", "+f", "-a")
    room.listen("b", late)
    await room.join("g")
    await room.until_told("b", "+c", "+d", "+e", "+f", "-a", "+g")


async def test_who_joined_before_the_follower_began_is_told_from_the_log(room: Followed) -> None:
    early, first = await room.join("a"), await room.join("b")
    room.listen("b", first)
    room.listen("a", early)
    await room.join("c")
    await room.until_told("a", "+b", "+c")
    await room.until_told("b", "+c")


async def test_a_participant_catches_up_once_the_log_is_back(room: Followed) -> None:
    early, first = await room.join("a"), await room.join("b")
    room.listen("b", first)
    room.store.available = False
    room.listen("a", early)
    room.store.available = True
    await room.until_told("a", "+b")


async def test_who_is_told_no_more_hears_nothing_and_the_others_do(room: Followed) -> None:
    room.listen("a", await room.join("a"))
    room.listen("b", await room.join("b"))
    await room.until_told("a", "+b")
    room.stop("b")
    await room.join("c")
    await room.until_told("a", "+b", "+c")
    assert room.told["b"] == []


async def test_the_follower_ends_with_the_last_participant_and_begins_anew_with_the_next(
    room: Followed,
) -> None:
    room.listen("a", await room.join("a"))
    room.stop("a")
    assert len(room.feeds) == 0
    room.listen("b", await room.join("b"))
    await room.join("c")
    await room.until_told("b", "+c")
    assert room.told["a"] == []


async def test_stopping_twice_does_nothing_more(room: Followed) -> None:
    room.listen("a", await room.join("a"))
    room.listen("b", await room.join("b"))
    room.stop("b")
    room.stop("b")
    assert len(room.feeds) == 1


async def test_who_cannot_be_told_does_not_keep_the_others_from_it(room: Followed) -> None:
    def fail(_: News) -> None:
        raise ZeroDivisionError

    answers = await room.join("a", "b")
    room.feeds.add("r1", "a", answers["a"], fail)
    room.listen("b", answers)
    await room.join("c")
    await room.until_told("b", "+c")
    assert room.failures == []


async def test_the_end_of_a_room_and_refused_joins_are_followed_too(room: Followed) -> None:
    room.listen("a", await room.join("a"))
    await room.append(JoinRefused(participant="x", token="t", reason="room_full"))
    await room.append(RoomDeleted(room="r1"))
    await room.until_told("a", "closed")


async def test_texts_come_in_the_order_of_the_log_between_the_other_events(room: Followed) -> None:
    news: list[News] = []
    answers = await room.join("a")
    room.feeds.add("r1", "a", answers["a"], news.append)
    for number in range(3):
        await room.join(f"b{number}")
        await room.say(f"text {number}")
    await until(lambda: len(news) == 6)
    addresses = [each.notification.address for each in news]
    assert addresses == sorted(addresses)
    assert [type(each.notification) for each in news] == [Presence, Said] * 3


async def test_a_log_that_was_replaced_is_reported(room: Followed) -> None:
    room.listen("a", await room.join("a"))
    await room.join("b")
    await room.until_told("a", "+b")
    room.store.replace()
    await until(lambda: len(room.failures) == 1)


async def test_a_notification_is_written_once_for_all_who_are_told(room: Followed) -> None:
    news: list[News] = []
    answers = await room.join("a", "b")
    room.feeds.add("r1", "a", answers["a"], news.append)
    room.feeds.add("r1", "b", answers["b"], news.append)
    await room.leave("b")
    await until(lambda: len(news) == 3)
    leaves = [each for each in news if isinstance(each.notification, Presence) and each.notification.reason]
    assert leaves[0] is leaves[1]
