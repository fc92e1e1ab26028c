import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path

from roomledger.event_store.errors import Conflict
from roomledger_events.envelope import Event, Payload
from roomledger_events.identifiers import check_id, new_id
from roomledger_events.rooms import ParticipantLeft, RoomCreated, RoomDeleted
from roomledger_events.subjects import Boundary, Kind
from tests.processes.management_api.running import Running, problem
from tests.support.nats import NatsServer

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


# -- With an id of one's own


async def test_a_room_may_be_given_its_id(running: Running) -> None:
    answer = await running.client.post("/v1/rooms", json={"name": "Lecture", "id": "lecture"})
    assert (answer.status_code, answer.json()["id"]) == (201, "lecture")
    assert answer.headers["Location"] == "/v1/rooms/lecture"


async def test_the_same_room_again_is_the_room_that_is_there(running: Running) -> None:
    body = {"name": "Lecture", "id": "lecture"}
    first, again = [await running.client.post("/v1/rooms", json=body) for _ in range(2)]
    assert (again.status_code, again.json()) == (201, first.json())
    assert await running.types() == ["RoomCreated"]


async def test_another_room_of_the_same_id_is_refused(running: Running) -> None:
    await running.client.post("/v1/rooms", json={"name": "Lecture", "id": "lecture"})
    other = await running.other_service()
    for caller, body in (
        (running.client, {"name": "Another", "id": "lecture"}),
        (other, {"name": "Lecture", "id": "lecture"}),
    ):
        problem(await caller.post("/v1/rooms", json=body), 409, "room_exists")
    assert await running.types() == ["RoomCreated"]


async def test_a_room_created_anew_is_of_the_next_generation(running: Running) -> None:
    for _ in range(2):
        await running.client.post("/v1/rooms", json={"name": "Lecture", "id": "lecture"})
        await running.client.delete("/v1/rooms/lecture")
    data = [event.data for commit in await running.commits() for event in commit.events]
    assert [each.generation for each in data if isinstance(each, RoomCreated)] == [1, 2]


async def test_an_id_that_is_none_is_refused(running: Running) -> None:
    for room in ("", "a.b", "x" * 65, "*", 1):
        answer = await running.client.post("/v1/rooms", json={"name": "x", "id": room})
        problem(answer, 400, "invalid_argument")


# -- Changed


async def test_patching_changes_what_is_named_and_leaves_the_rest(running: Running) -> None:
    room = await running.room(participantLimit=3, roles=[ROLE], views=[{"label": "common"}])
    answer = await running.client.patch(f"/v1/rooms/{room}", json={"participantLimit": 5})
    assert answer.status_code == 200, answer.text
    assert answer.json() == {
        "id": room,
        "name": "Room one",
        "participantLimit": 5,
        "roles": [ROLE],
        "views": [{"label": "common"}],
    }
    assert (await running.client.get(f"/v1/rooms/{room}")).json() == answer.json()


async def test_putting_replaces_everything_but_the_name(running: Running) -> None:
    room = await running.room(participantLimit=3, roles=[ROLE], views=[{"label": "common"}])
    answer = await running.client.put(f"/v1/rooms/{room}", json={"views": []})
    assert answer.status_code == 200, answer.text
    shown = answer.json()
    assert (shown["name"], shown["participantLimit"], shown["views"]) == ("Room one", -1, [])
    assert shown["roles"][0]["role"] == "presenter"


async def test_a_room_may_be_sent_as_it_is_created_or_shown(running: Running) -> None:
    room = await running.room()
    shown = (await running.client.get(f"/v1/rooms/{room}")).json() | {"participantLimit": 7}
    for body in (shown, {"name": "Room one", "options": {"participantLimit": 8}}):
        answer = await running.client.put(f"/v1/rooms/{room}", json=body)
        assert answer.status_code == 200, answer.text
    assert answer.json()["participantLimit"] == 8


async def test_a_change_into_what_is_there_is_not_in_the_log(running: Running) -> None:
    room = await running.room(participantLimit=3)
    await running.client.patch(f"/v1/rooms/{room}", json={"participantLimit": 3})
    await running.client.patch(f"/v1/rooms/{room}", json={})
    assert await running.types() == ["RoomCreated"]


async def test_changes_at_the_same_time_lose_none(running: Running) -> None:
    room = await running.room()
    await asyncio.gather(
        running.client.patch(f"/v1/rooms/{room}", json={"participantLimit": 9}),
        running.client.patch(f"/v1/rooms/{room}", json={"name": "Renamed"}),
        running.client.patch(f"/v1/rooms/{room}", json={"views": [{"label": "v"}]}),
        running.client.patch(f"/v1/rooms/{room}", json={"roles": [ROLE]}),
    )
    assert (await running.client.get(f"/v1/rooms/{room}")).json() == {
        "id": room,
        "name": "Renamed",
        "participantLimit": 9,
        "roles": [ROLE],
        "views": [{"label": "v"}],
    }


BAD_CHANGES: dict[str, object] = {
    "no object": [],
    "unknown field": {"limit": 3},
    "null": {"participantLimit": None},
    "another id": {"id": "another"},
    "said twice": {"participantLimit": 3, "options": {"participantLimit": 4}},
    "empty name": {"name": ""},
    "a role twice": {"roles": [{"role": "r"}, {"role": "r"}]},
    "limit beyond all bounds": {"options": {"participantLimit": -(2**31) - 1}},
}


async def test_a_change_that_is_not_as_it_should_be_is_refused_and_not_in_the_log(running: Running) -> None:
    room = await running.room()
    for case, body in BAD_CHANGES.items():
        for method in ("PUT", "PATCH"):
            answer = await running.client.request(method, f"/v1/rooms/{room}", json=body)
            assert problem(answer, 400, "invalid_argument"), case
    assert await running.types() == ["RoomCreated"]


async def test_ten_thousand_roles_and_a_role_of_a_megabyte_are_too_much(running: Running) -> None:
    room = await running.room()
    for roles in ([{"role": f"r{number}"} for number in range(10_000)], [{"role": "r" * 1_000_000}]):
        problem(await running.client.put(f"/v1/rooms/{room}", json={"roles": roles}), 413, "too_large")
        body = {"name": "x", "options": {"roles": roles}}
        problem(await running.client.post("/v1/rooms", json=body), 413, "too_large")
    assert await running.types() == ["RoomCreated"]


# -- Deleted


async def test_a_deleted_room_is_gone_at_once(running: Running) -> None:
    room = await running.room()
    answer = await running.client.delete(f"/v1/rooms/{room}")
    assert (answer.status_code, answer.content) == (204, b"")
    problem(await running.client.get(f"/v1/rooms/{room}"), 404, "no_such_room")
    assert (await running.client.get("/v1/rooms")).json() == []
    asked = await running.client.post(f"/v1/rooms/{room}/tokens", json={"user": "ada", "role": "viewer"})
    problem(asked, 404, "no_such_room")
    assert await running.types() == ["RoomCreated", "RoomDeleted"]


async def test_a_room_is_deleted_once(running: Running) -> None:
    room = await running.room()
    answers = await asyncio.gather(*(running.client.delete(f"/v1/rooms/{room}") for _ in range(5)))
    assert sorted({answer.status_code for answer in answers}) in ([204], [204, 404])
    problem(await running.client.delete(f"/v1/rooms/{room}"), 404, "no_such_room")
    assert (await running.types()).count("RoomDeleted") == 1


async def test_a_service_changes_and_deletes_its_own_rooms_only(running: Running) -> None:
    room = await running.room()
    other = await running.other_service()
    for method in ("PUT", "PATCH", "DELETE"):
        answer = await other.request(method, f"/v1/rooms/{room}", json={"name": "mine"})
        problem(answer, 404, "no_such_room")
    assert await running.types() == ["RoomCreated"]


async def test_a_room_that_is_written_to_all_the_time_is_changed_all_the_same(running: Running) -> None:
    room = await running.room()
    busy = True

    async def write() -> int:
        sequence, written = 1, 0
        while busy:
            left = _event(ParticipantLeft(participant="nobody", reason="logout"), room)
            try:
                sequence = await running.store.append(Boundary(Kind.ROOM, room), [left], sequence)
            except Conflict:
                sequence = await _last(running, room)
            written += 1
            # Again before anybody could read it, but not so fast that the projections fall behind for good.
            await asyncio.sleep(0.001)
        return written

    writing = asyncio.create_task(write())
    for limit in range(1, 6):
        answer = await running.client.patch(f"/v1/rooms/{room}", json={"participantLimit": limit})
        assert answer.status_code == 200, answer.text
    busy = False
    assert await writing > 5


# -- What a process knows of rooms without looking


async def test_what_another_process_changes_is_known_here_too(
    nats_server: NatsServer, tmp_path: Path
) -> None:
    async with (
        Running.on(nats_server, tmp_path / "one") as one,
        Running.on(nats_server, tmp_path / "two") as two,
    ):
        room = await one.room(roles=[ROLE])
        assert (await two.client.get(f"/v1/rooms/{room}")).status_code == 200
        changed = await one.client.patch(f"/v1/rooms/{room}", json={"name": "Renamed"})
        carried = {"Ledger-Sequence": changed.headers["Ledger-Sequence"]}
        shown = await two.client.get(f"/v1/rooms/{room}", headers=carried)
        assert shown.json()["name"] == "Renamed"
        deleted = await one.client.delete(f"/v1/rooms/{room}")
        carried = {"Ledger-Sequence": deleted.headers["Ledger-Sequence"]}
        problem(await two.client.get(f"/v1/rooms/{room}", headers=carried), 404, "no_such_room")
        anew = await one.client.post("/v1/rooms", json={"name": "Anew", "id": room})
        assert (await two.client.get(f"/v1/rooms/{room}")).json() == anew.json()


async def test_who_changes_something_sees_it_without_carrying_anything(running: Running) -> None:
    for number in range(5):
        created = (await running.client.post("/v1/rooms", json={"name": f"room {number}"})).json()
        assert (await running.client.get("/v1/rooms")).json()[-1] == created


async def test_pages_are_linked(running: Running) -> None:
    for _ in range(5):
        await running.room()
    page = await running.client.get("/v1/rooms?page=2&per_page=2")
    links = {name: link["url"] for name, link in page.links.items()}
    assert links == {
        "first": "/v1/rooms?page=1&per_page=2",
        "prev": "/v1/rooms?page=1&per_page=2",
        "next": "/v1/rooms?page=3&per_page=2",
        "last": "/v1/rooms?page=3&per_page=2",
    }
    assert "next" not in (await running.client.get(links["last"])).links


def _event(data: Payload, room: str) -> Event:
    now = datetime.now(UTC)
    return Event.of(data, about=room, id=new_id(), source="test", time=now, correlation="c", actor="t")


async def _last(running: Running, room: str) -> int:
    return [commit.sequence async for commit in running.store.read((Boundary(Kind.ROOM, room),))][-1]
