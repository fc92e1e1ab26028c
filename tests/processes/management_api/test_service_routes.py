from pathlib import Path

from tests.processes.management_api.running import Running, problem
from tests.support.nats import NatsServer, until


async def test_the_first_service_creates_others(running: Running) -> None:
    answer = await running.client.post("/services", json={"name": "School"})
    assert answer.status_code == 201, answer.text
    created = answer.json()
    assert set(created) == {"id", "name", "created", "key"}
    assert answer.headers["Cache-Control"] == "no-store"
    school = running.caller(created["key"])
    assert (await school.post("/v1/rooms", json={"name": "x"})).status_code == 201


async def test_a_service_may_be_given_its_id_and_its_key(running: Running) -> None:
    body = {"id": "school", "key": "a-key-of-16-signs-or-more"}
    assert (await running.client.post("/services", json=body)).json()["id"] == "school"
    assert (await running.caller("a-key-of-16-signs-or-more").get("/v1/rooms")).json() == []
    for again in (body, body | {"id": "another"}, {"id": "school"}):
        problem(await running.client.post("/services", json=again), 409, "service_exists")


async def test_services_are_listed_without_their_keys(running: Running) -> None:
    for service in ("b", "a"):
        await running.client.post("/services", json={"id": service})
    answer = await running.client.get("/services")
    first = running.api.first_service.id
    assert [(each["id"], each["super"]) for each in answer.json()] == [
        (first, True),
        ("b", False),
        ("a", False),
    ]
    assert "key" not in answer.text
    page = await running.client.get("/services?page=2&per_page=2")
    assert ([each["id"] for each in page.json()], page.headers["Total-Count"]) == (["a"], "3")


async def test_a_deleted_service_is_let_in_no_more_and_its_rooms_stay(running: Running) -> None:
    key = (await running.client.post("/services", json={"id": "school"})).json()["key"]
    school = running.caller(key)
    await school.post("/v1/rooms", json={"name": "x", "id": "r1"})
    assert (await running.client.delete("/services/school")).status_code == 204

    async def shut_out() -> bool:
        return (await school.get("/v1/rooms")).status_code == 401

    await until(shut_out)
    problem(await running.client.delete("/services/school"), 404, "no_such_service")
    assert "RoomDeleted" not in await running.types()
    problem(await running.client.post("/v1/rooms", json={"name": "x", "id": "r1"}), 409, "room_exists")


async def test_the_super_service_cannot_be_deleted(running: Running) -> None:
    problem(await running.client.delete(f"/services/{running.api.first_service.id}"), 409, "super_service")
    assert (await running.client.get("/services")).status_code == 200


async def test_nobody_else_manages_services(running: Running) -> None:
    other = await running.other_service()
    for answer in (
        await other.get("/services"),
        await other.post("/services", json={}),
        await other.delete("/services/other"),
    ):
        problem(answer, 403, "forbidden")


async def test_another_service_may_be_the_super_service(nats_server: NatsServer, tmp_path: Path) -> None:
    async with Running.on(nats_server, tmp_path / "api", super_service="other") as running:
        other = await running.other_service()
        assert (await other.get("/services")).status_code == 200
        problem(await running.client.get("/services"), 403, "forbidden")


BAD_SERVICES: dict[str, object] = {
    "no object": [],
    "unknown field": {"owner": "me"},
    "an id that is none": {"id": "a.b"},
    "a name that is empty": {"name": ""},
    "a key that is short": {"key": "short"},
    "a key with a blank": {"key": "a key of 16 signs or more"},
    "a key that is long": {"key": "x" * 257},
}


async def test_a_service_that_is_not_as_it_should_be_is_refused(running: Running) -> None:
    for case, body in BAD_SERVICES.items():
        assert problem(await running.client.post("/services", json=body), 400, "invalid_argument"), case
    assert len((await running.client.get("/services")).json()) == 1
