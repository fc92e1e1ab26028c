from typing import Any

import httpx
import pytest

from roomledger.domain.trail import Trail
from roomledger.event_store.store import ReadableLog
from roomledger.runtime.moments import span
from roomledger.runtime.trails import followed, learn
from roomledger_events.mentions import Thing, mentions
from roomledger_events.subjects import Kind
from tests.processes.management_api.running import problem
from tests.processes.management_api.whole import Whole


async def page_of(client: httpx.AsyncClient, **query: object) -> dict[str, Any]:
    named = {name.rstrip("_"): value for name, value in query.items()}
    answer = await client.get("/v1/audit", params=named)  # type: ignore[arg-type]  # whatever httpx takes
    assert answer.status_code == 200, answer.text
    page: dict[str, Any] = answer.json()
    return page


async def addresses(client: httpx.AsyncClient, **query: object) -> list[str]:
    """Return where all events stand, page after page."""
    page = await page_of(client, **query)
    found = [event["address"] for event in page["events"]]
    while page["next"] is not None:
        page = await page_of(client, **query, after=page["next"])
        found += [event["address"] for event in page["events"]]
    return found


async def types(client: httpx.AsyncClient, **query: object) -> list[str]:
    return [event["type"] for event in (await page_of(client, **query))["events"]]


async def from_the_log(log: ReadableLog, thing: Thing, name: str) -> list[str]:
    trail = Trail(thing, name)
    await learn(log, [trail])
    return [
        str(told.address)
        async for batch in followed(log, [trail], await span(log, None, None))
        for told in batch
        if told.commit.boundary.kind is not Kind.LOAD
    ]


@pytest.fixture
async def busy(whole: Whole) -> Whole:
    """A cluster in which three joined two rooms; one of them was removed, and one token was revoked."""
    for room in ("r1", "r2"):
        await whole.room(room)
    await whole.join("r1", "ada")
    await whole.join("r1", "bob")
    await whole.join("r2", "eve")
    await whole.client.delete("/v1/rooms/r1/participants/bob", params={"reason": "noise"})
    revoked = await whole.token("r2", "mallory")
    await whole.client.delete(f"/v1/tokens/{revoked}")
    return whole


async def test_it_finds_what_reading_the_whole_log_finds(busy: Whole) -> None:
    log = busy.cluster.access.store
    wanted = {
        mention
        async for commit in log.read()
        for event in commit.events
        for mention in mentions(commit.boundary, event)
        if mention.thing not in {Thing.USER, Thing.CORRELATION}
    }
    assert {mention.thing for mention in wanted} == {
        *(Thing.TOKEN, Thing.PARTICIPANT, Thing.ROOM, Thing.WORKER, Thing.TASK),
    }
    for thing, name in wanted:
        query = {str(thing): name}
        assert await addresses(busy.client, **query) == await from_the_log(log, thing, name), query


async def test_an_event_is_shown_with_its_envelope_and_what_happened(busy: Whole) -> None:
    event = (await page_of(busy.client, participant="bob"))["events"][-1]
    assert event["type"] == "ParticipantLeft"
    assert event["what"] == "participant bob left room r1, was removed: 'noise'"
    assert event["actor"].startswith("service:")
    assert event["data"].items() >= {"participant": "bob", "reason": "dropped", "message": "noise"}.items()


async def test_pages_follow_each_other_without_gap_or_double(busy: Whole) -> None:
    whole = await addresses(busy.client, room="r1")
    assert len(whole) > 4
    assert await addresses(busy.client, room="r1", limit=1) == whole
    assert await addresses(busy.client, room="r1", limit=3) == whole


async def test_a_part_may_be_asked_for(busy: Whole) -> None:
    events = (await page_of(busy.client, room="r1"))["events"]
    first, last = events[2], events[-2]
    part = [event["address"] for event in events[2:-1]]
    assert await addresses(busy.client, room="r1", from_=first["stored"], until=last["stored"]) == part
    sequences = [each["address"].split(".")[0] for each in (first, last)]
    assert await addresses(busy.client, room="r1", from_=sequences[0], until=sequences[1]) == part


async def test_what_lies_beside_the_log_is_empty(busy: Whole) -> None:
    for moment in ("999999", "2999-01-01T00:00:00Z"):
        assert await page_of(busy.client, room="r1", from_=moment) == {"events": [], "next": None}
    assert await page_of(busy.client, token="unknown") == {"events": [], "next": None}


async def test_of_several_things_that_is_told_which_concerns_all(busy: Whole) -> None:
    both = await addresses(busy.client, room="r1", participant="ada")
    room, participant = (
        await addresses(busy.client, room="r1"),
        await addresses(busy.client, participant="ada"),
    )
    assert both == [each for each in room if each in participant]
    assert both


async def test_where_nothing_is_named_all_is_told(busy: Whole) -> None:
    log = busy.cluster.access.store
    every = [
        f"{commit.sequence}.{place}"
        async for commit in log.read()
        if commit.boundary.kind is not Kind.LOAD
        for place in range(len(commit.events))
    ]
    assert await addresses(busy.client, limit=7) == every


async def test_another_service_sees_its_own_rooms_and_what_its_tokens_led_to(busy: Whole) -> None:
    other = await busy.other_service()
    assert await addresses(other) == []
    await other.post("/v1/rooms", json={"name": "r3", "id": "r3"})
    await other.post("/v1/rooms/r3/tokens", json={"user": "zoe", "role": "viewer"})
    assert await types(other) == ["RoomCreated", "WorkerReserved", "TokenIssued"]
    assert await types(other, room="r1") == []
    assert await types(other, participant="ada") == []
    assert await types(other, worker="portal-1") == ["WorkerReserved", "TokenIssued"]
    assert await types(busy.client, room="r3") == ["RoomCreated", "TokenIssued"]


async def test_who_gets_the_id_of_a_deleted_room_does_not_get_its_past(busy: Whole) -> None:
    other = await busy.other_service()
    await busy.client.delete("/v1/rooms/r2")
    await other.post("/v1/rooms", json={"name": "mine", "id": "r2"})
    assert await types(other, room="r2") == ["RoomCreated"]


@pytest.mark.parametrize(
    "query",
    [
        {"room": "a b"},
        {"token": ""},
        {"from": "2026-01-31T12:00:00"},
        {"until": "noon"},
        {"after": "1.2.3"},
        {"after": "1.1000"},
        {"limit": "0"},
        {"limit": "1001"},
        {"user": "ada"},
    ],
)
async def test_what_cannot_be_meant_is_refused(whole: Whole, query: dict[str, str]) -> None:
    problem(await whole.client.get("/v1/audit", params=query), 400, "invalid_argument")
