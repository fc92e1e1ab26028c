import asyncio
import json
from datetime import UTC, datetime

from roomledger_events.envelope import Event
from roomledger_events.identifiers import check_id, new_id
from roomledger_events.rooms import RoomCreated, RoomDeleted
from roomledger_events.subjects import Boundary, Kind
from tests.processes.management_api.running import Running, problem

ROLE = {
    "role": "speaker",
    "publish": {"audio": True, "video": False},
    "subscribe": {"audio": True, "video": True},
}

JSON = {"Content-Type": "application/json"}


async def test_a_created_room_is_shown_with_its_options(running: Running) -> None:
    body = {"name": "Ä", "options": {"participantLimit": 3, "roles": [ROLE], "views": [{"label": "common"}]}}
    answer = await running.client.post("/v1/rooms", json=body)
    assert answer.status_code == 201
    room = answer.json()
    check_id(room["id"])
    assert room == {
        "id": room["id"],
        "name": "Ä",
        "participantLimit": 3,
        "roles": [ROLE],
        "views": [{"label": "common"}],
    }
    assert answer.headers["Location"] == f"/v1/rooms/{room['id']}"


async def test_a_room_without_options_gets_the_default_roles(running: Running) -> None:
    room = (await running.client.post("/v1/rooms", json={"name": "x"})).json()
    assert [role["role"] for role in room["roles"]] == [
        "presenter",
        "viewer",
        "audio_only_presenter",
        "video_only_viewer",
        "sip",
    ]
    assert (room["participantLimit"], room["views"]) == (-1, [])


async def test_options_may_be_null_as_existing_clients_send_them(running: Running) -> None:
    assert (await running.client.post("/v1/rooms", json={"name": "x", "options": None})).status_code == 201


async def test_a_created_room_is_in_the_log_with_who_wanted_it(running: Running) -> None:
    room = await running.room()
    (commit,) = await running.commits()
    (event,) = commit.events
    assert commit.boundary == Boundary(Kind.ROOM, room)
    assert isinstance(event.data, RoomCreated)
    service = running.api.first_service.id
    assert (event.subject, event.actor, event.data.service) == (room, f"service:{service}", service)
    assert event.source.startswith("management-api/")


async def test_a_room_is_found_the_moment_it_was_created(running: Running) -> None:
    async def create_and_get(name: str) -> None:
        created = (await running.client.post("/v1/rooms", json={"name": name})).json()
        found = await running.client.get(f"/v1/rooms/{created['id']}")
        assert found.json() == created

    await asyncio.gather(*(create_and_get(f"room {number}") for number in range(20)))


async def test_a_room_is_shown_the_same_from_what_is_known(running: Running) -> None:
    created = await running.client.post(
        "/v1/rooms", json={"name": "x", "options": {"roles": [ROLE], "views": [{"label": "a"}]}}
    )
    sequence = created.headers["Ledger-Sequence"]
    found = await running.client.get(
        f"/v1/rooms/{created.json()['id']}", headers={"Ledger-Sequence": sequence}
    )
    assert found.json() == created.json()
    assert int(found.headers["Ledger-Sequence"]) >= int(sequence)


async def test_who_carries_the_sequence_back_sees_the_room_in_the_list(running: Running) -> None:
    for number in range(10):
        created = await running.client.post("/v1/rooms", json={"name": f"room {number}"})
        sequence = created.headers["Ledger-Sequence"]
        listed = await running.client.get("/v1/rooms", headers={"Ledger-Sequence": sequence})
        assert listed.json()[-1] == created.json()


async def test_a_list_has_pages(running: Running) -> None:
    rooms = [await running.room() for _ in range(5)]
    sequence = {"Ledger-Sequence": str((await running.store.position()).sequence)}
    pages = [
        await running.client.get(f"/v1/rooms?page={page}&per_page=2", headers=sequence)
        for page in (1, 2, 3, 4)
    ]
    assert [[room["id"] for room in page.json()] for page in pages] == [rooms[:2], rooms[2:4], rooms[4:], []]
    assert {page.headers["Total-Count"] for page in pages} == {"5"}


async def test_a_service_sees_its_own_rooms_only(running: Running) -> None:
    room = await running.room()
    other = await running.other_service()
    problem(await other.get(f"/v1/rooms/{room}"), 404, "no_such_room")
    assert (await other.get("/v1/rooms")).json() == []


async def test_a_room_that_is_not_there_is_not_found(running: Running) -> None:
    problem(await running.client.get("/v1/rooms/nowhere"), 404, "no_such_room")


async def test_a_room_that_was_deleted_is_not_found(running: Running) -> None:
    room = await running.room()
    deleted = Event.of(
        RoomDeleted(room=room),
        about=room,
        id=new_id(),
        source="test",
        time=datetime.now(UTC),
        correlation="c",
        actor="t",
    )
    sequence = await running.store.append(Boundary(Kind.ROOM, room), [deleted], 1)
    carried = {"Ledger-Sequence": str(sequence)}
    problem(await running.client.get(f"/v1/rooms/{room}", headers=carried), 404, "no_such_room")
    assert (await running.client.get("/v1/rooms", headers=carried)).json() == []


BAD_ROOMS: dict[str, object] = {
    "no object": [1],
    "no name": {},
    "empty name": {"name": ""},
    "name of another type": {"name": 1},
    "name too long": {"name": "x" * 257},
    "half a surrogate pair": {"name": "\ud800"},
    "unknown field": {"name": "x", "owner": "me"},
    "unknown option": {"name": "x", "options": {"limit": 3}},
    "the option's name as in Python": {"name": "x", "options": {"participant_limit": 3}},
    "limit of another type": {"name": "x", "options": {"participantLimit": "3"}},
    "limit with a fraction": {"name": "x", "options": {"participantLimit": 1.5}},
    "limit beyond all bounds": {"name": "x", "options": {"participantLimit": 2**31}},
    "too many roles": {"name": "x", "options": {"roles": [{"role": f"r{n}"} for n in range(101)]}},
    "a role twice": {"name": "x", "options": {"roles": [{"role": "r"}, {"role": "r"}]}},
    "a role without a name": {"name": "x", "options": {"roles": [{}]}},
    "a permission that is no yes or no": {
        "name": "x",
        "options": {"roles": [{"role": "r", "publish": {"audio": 1}}]},
    },
    "an unknown medium": {"name": "x", "options": {"roles": [{"role": "r", "publish": {"smell": True}}]}},
}


async def test_a_room_that_is_not_as_it_should_be_is_refused_and_not_in_the_log(running: Running) -> None:
    for case, body in BAD_ROOMS.items():
        answer = await running.client.post("/v1/rooms", content=json.dumps(body), headers=JSON)
        assert problem(answer, 400, "invalid_argument"), case
    assert await running.commits() == []


async def test_a_page_that_is_none_is_refused(running: Running) -> None:
    for query in ("page=0", "page=x", "per_page=0", "per_page=1001", "size=3", "page=1e3", "page=1&page=x"):
        problem(await running.client.get(f"/v1/rooms?{query}"), 400, "invalid_argument")


async def test_what_is_no_id_is_refused(running: Running) -> None:
    for room in ("a.b", "*", "a%20b", "x" * 65, "x" * 10_000, "%3E", "a%0A", "%00", "%F0%9F%98%80", "%FF"):
        assert "no id" in problem(await running.client.get(f"/v1/rooms/{room}"), 400, "invalid_argument")
