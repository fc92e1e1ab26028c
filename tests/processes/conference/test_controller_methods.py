import asyncio

import msgspec
import pytest

from roomledger.domain.errors import Code, Refusal
from roomledger.processes.conference.lists import PAGE, SHORT
from roomledger.runtime.calls import RequestMeta
from roomledger.sdk.rooms import Controller, JoinedRoom
from roomledger_events.rooms import ParticipantAway, ParticipantBack, TextSent
from roomledger_events.subjects import Boundary, Kind
from tests.support.cluster import TestCluster
from tests.support.conferences import Guests
from tests.support.nats import until


@pytest.fixture
async def guests(cluster: TestCluster) -> Guests:
    """Somebody who asks the rooms of a running cluster, in which there is the room r1."""
    await cluster.manager()
    await cluster.conference()
    await cluster.room("r1")
    return Guests(cluster.access.broker, "p1")


async def enter(cluster: TestCluster, guests: Guests, *participants: str) -> list[JoinedRoom]:
    tokens = await cluster.tokens("r1", len(participants))
    return await asyncio.gather(
        *(guests.join("r1", token, who) for token, who in zip(tokens, participants, strict=True))
    )


async def last(cluster: TestCluster, kind: Kind = Kind.ROOM) -> object:
    found = [commit async for commit in cluster.access.store.read((Boundary(kind, "r1"),))]
    return found[-1].events[-1].data


# -- Texts


async def test_a_text_to_all_is_in_the_log_where_its_answer_says(
    cluster: TestCluster, guests: Guests
) -> None:
    await enter(cluster, guests, "u1")
    seq = await guests.text("r1", "u1", "hello")
    (commit,) = [commit async for commit in cluster.access.store.read((Boundary(Kind.TEXT, "r1"),))]
    assert commit.events[0].data == TextSent(sender="u1", to="all", message="hello")
    assert seq == f"{commit.sequence}.0"


async def test_a_text_to_one_goes_to_one(cluster: TestCluster, guests: Guests) -> None:
    await enter(cluster, guests, "u1", "u2")
    await guests.ask("r1", lambda rooms, node: rooms.text(node, "r1", "u1", to="u2", message="psst"))
    assert await last(cluster, Kind.TEXT) == TextSent(sender="u1", to="u2", message="psst")


@pytest.mark.parametrize(("sender", "to"), [("nobody", "all"), ("u1", "nobody")])
async def test_a_text_of_or_to_nobody_is_refused(
    cluster: TestCluster, guests: Guests, sender: str, to: str
) -> None:
    await enter(cluster, guests, "u1")
    with pytest.raises(Refusal) as refused:
        await guests.ask("r1", lambda rooms, node: rooms.text(node, "r1", sender, to=to, message="?"))
    assert refused.value.code is Code.NO_SUCH_PARTICIPANT


async def test_a_text_that_is_asked_for_twice_is_sent_once(cluster: TestCluster, guests: Guests) -> None:
    await enter(cluster, guests, "u1")
    meta = RequestMeta(command="text-1")
    for _ in range(2):
        await guests.ask(
            "r1", lambda rooms, node: rooms.text(node, "r1", "u1", to="all", message="once", meta=meta)
        )
    assert await cluster.types(Kind.TEXT, "r1") == ["TextSent"]


# -- Connections


async def test_a_lost_connection_is_known_to_the_room_and_so_is_the_return(
    cluster: TestCluster, guests: Guests
) -> None:
    await enter(cluster, guests, "u1")
    await guests.ask(
        "r1", lambda rooms, node: rooms.lose_connection(node, "r1", "u1", portal="p1", grace_ms=60_000)
    )
    away = await last(cluster)
    assert isinstance(away, ParticipantAway)
    assert away.back_by is not None
    back = await guests.ask("r1", lambda rooms, node: rooms.come_back(node, "r1", "u1", portal="p2"))
    assert (back.user, back.role, back.permission.publish.audio) == ("ada", "presenter", True)
    assert await last(cluster) == ParticipantBack(participant="u1", portal="p2", epoch=2)
    assert back.epoch == 2


async def test_who_is_not_back_in_time_leaves(cluster: TestCluster, guests: Guests) -> None:
    await enter(cluster, guests, "u1", "u2")
    await guests.ask(
        "r1", lambda rooms, node: rooms.lose_connection(node, "r1", "u1", portal="p1", grace_ms=50)
    )

    async def gone() -> bool:
        return await guests.present("r1") == {"u2"}

    await until(gone)
    with pytest.raises(Refusal) as refused:
        await guests.ask("r1", lambda rooms, node: rooms.come_back(node, "r1", "u1", portal="p1"))
    assert refused.value.code is Code.NO_SUCH_PARTICIPANT


async def test_a_portal_that_a_session_has_left_cannot_make_it_leave(
    cluster: TestCluster, guests: Guests
) -> None:
    await enter(cluster, guests, "u1")
    await guests.ask("r1", lambda rooms, node: rooms.come_back(node, "r1", "u1", portal="p2"))
    await guests.ask(
        "r1", lambda rooms, node: rooms.leave(node, "r1", "u1", reason="disconnected", portal="p1")
    )
    assert await guests.present("r1") == {"u1"}


# -- Rooms, and long lists


async def test_a_room_is_shown_with_who_is_in_it(cluster: TestCluster, guests: Guests) -> None:
    await enter(cluster, guests, "u1")
    shown = await guests.ask("r1", lambda rooms, node: rooms.get_room(node, "r1"))
    assert (shown.room.id, shown.room.name, shown.participant_limit, shown.present) == ("r1", "r1", -1, 1)
    assert [each.id for each in shown.room.participants] == ["u1"]


async def test_everybody_in_a_large_room_is_told_to_who_joins(cluster: TestCluster, guests: Guests) -> None:
    number = SHORT + 20
    joined = await enter(cluster, guests, *(f"u{each}" for each in range(number)))
    for answer in joined:
        present = [each.id for each in answer.room.participants]
        assert answer.id in present
        assert len(present) == len(set(present))
    assert max(len(answer.room.participants) for answer in joined) == number
    assert await guests.present("r1") == {f"u{each}" for each in range(number)}
    shown = await guests.ask("r1", lambda rooms, node: rooms.get_room(node, "r1"))
    assert shown.present == len(shown.room.participants) == number


async def test_each_who_joins_a_large_room_is_told_who_was_in_at_that_very_moment(
    cluster: TestCluster, guests: Guests
) -> None:
    joined = await enter(cluster, guests, *(f"u{each}" for each in range(SHORT + 40)))
    order = [
        event.data.participant
        async for commit in cluster.access.store.read((Boundary(Kind.ROOM, "r1"),))
        for event in commit.events
        if event.type == "ParticipantJoined"
    ]
    for answer in joined:
        assert [each.id for each in answer.room.participants] == order[: order.index(answer.id) + 1]


async def test_a_reply_about_a_large_room_is_short(cluster: TestCluster, guests: Guests) -> None:
    await enter(cluster, guests, *(f"u{each}" for each in range(SHORT + 1)))
    node = await guests.ask("r1", _node)
    broker = cluster.access.broker
    reply = await broker.request(f"rpc.controller.{node}.get_participants", b'{"room": "r1"}', timeout=2)
    told = msgspec.json.decode(reply.data)
    assert told["participants"] == []
    assert told["listing"]["length"] == SHORT + 1
    body = {"room": "r1", "list": told["listing"]["list"], "start": 0}
    page = await broker.request(f"rpc.controller.{node}.get_changes", msgspec.json.encode(body), timeout=2)
    assert len(msgspec.json.decode(page.data)["changes"]) == min(PAGE, SHORT + 1)


async def test_a_list_that_nobody_was_told_of_is_refused(cluster: TestCluster, guests: Guests) -> None:
    node = await guests.ask("r1", _node)
    reply = await cluster.access.broker.request(
        f"rpc.controller.{node}.get_changes", b'{"room": "r1", "list": "9.9", "start": 0}', timeout=2
    )
    assert msgspec.json.decode(reply.data)["code"] == Code.WRONG_CONTROLLER


async def _node(_: Controller, node: str) -> str:
    return node
