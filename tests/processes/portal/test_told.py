"""What those in a real room are told of each other: texts, permissions, and what becomes of the room."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from roomledger.sdk.rooms import MediaWish, PermissionWish
from roomledger_events.rooms import RoomChanged, RoomSettings, View
from roomledger_events.subjects import Boundary, Kind
from tests.support.cluster import PRESENTER, TestCluster, event
from tests.support.conferences import Guests
from tests.support.portals import Portals


@pytest.fixture
async def portals(cluster: TestCluster, tmp_path: Path) -> AsyncIterator[Portals]:
    async with AsyncExitStack() as stack:
        started = Portals(cluster, tmp_path, stack)
        await started.start()
        yield started


async def test_a_text_to_all_goes_to_all_with_its_sender_at_whichever_portal_they_are(
    portals: Portals,
) -> None:
    first, second = await portals.portal("portal-1"), await portals.portal("portal-2")
    ada, bob = await portals.inside(first.url, "ada"), await portals.inside(second.url, "bob")
    seq = (await ada.ask("text", to="all", message="hello"))["seq"]
    expected = {"from": ada.id, "to": "all", "message": "hello", "seq": seq}
    assert await ada.until("text") == [expected]
    assert await bob.until("text") == [expected]


async def test_a_direct_text_goes_to_the_one_whom_it_is_for_and_to_nobody_else(portals: Portals) -> None:
    portal = await portals.portal("portal-1")
    ada, bob, eve = [await portals.inside(portal.url, user) for user in ("ada", "bob", "eve")]
    await ada.ask("text", to=bob.id, message="for bob")
    await ada.ask("text", to="all", message="for all")
    assert [(each["to"], each["message"]) for each in await bob.until("text", 2)] == [
        ("me", "for bob"),
        ("all", "for all"),
    ]
    for other in (ada, eve):
        assert [each["message"] for each in await other.until("text")] == ["for all"]


async def test_a_text_to_somebody_who_is_not_there_is_refused(portals: Portals) -> None:
    portal = await portals.portal("portal-1")
    ada = await portals.inside(portal.url)
    assert (await ada.ask("text", to="nobody", message="hello"))["code"] == "no_such_participant"


async def test_a_changed_permission_is_told_to_the_one_whose_it_is(portals: Portals) -> None:
    portal = await portals.portal("portal-1")
    ada, bob = await portals.inside(portal.url, "ada"), await portals.inside(portal.url, "bob")
    wish = PermissionWish(publish=MediaWish(audio=False))
    await Guests(portals.cluster.access.broker, "test").ask(
        "r1", lambda rooms, node: rooms.set_permission(node, "r1", ada.id, wish)
    )
    (told,) = await ada.until("permission")
    assert told["participant"] == ada.id
    assert told["permission"]["publish"] == {"audio": False, "video": True}
    await ada.ask("text", to="all", message="after")
    await bob.until("text")
    assert bob.of("permission") == []


async def test_a_changed_room_is_told_to_everybody(portals: Portals) -> None:
    portal = await portals.portal("portal-1")
    ada = await portals.inside(portal.url)
    settings = RoomSettings(name="Two", participant_limit=5, roles=(PRESENTER,), views=(View(label="wide"),))
    store = portals.cluster.access.store
    last = 0
    async for commit in store.read((Boundary(Kind.ROOM, "r1"),)):
        last = commit.sequence
    changed = event(RoomChanged(room="r1", settings=settings), "r1")
    sequence = await store.append(Boundary(Kind.ROOM, "r1"), [changed], last)
    assert await ada.until("room") == [
        {"change": {"name": "Two", "participant_limit": 5, "views": ["wide"]}, "seq": f"{sequence}.0"}
    ]
