import pytest

from roomledger.domain.errors import Refusal
from roomledger.domain.purpose import PurposeSettings
from roomledger.runtime.explaining import explained
from roomledger_events.envelope import to_json
from tests.processes.management_api.running import problem
from tests.processes.management_api.whole import Whole
from tests.support.nats import until


async def test_workers_are_shown_as_the_manager_has_them(whole: Whole) -> None:
    room = await whole.room()
    await whole.join(room, "ada")
    shown = (await whole.client.get("/v1/cluster/workers/portal-1")).json()
    assert shown.pop("last_seen")
    reserved = shown.pop("reservations")
    assert len(reserved) == 1
    assert shown == {
        "worker": "portal-1",
        "purpose": "portal",
        "state": None,
        "load": 0.1,
        "effective_load": 0.105,
        "info": {"ip": "127.0.0.1", "port": 8080, "max_load": 0.9, "capacity": {}},
        "running": 0,
        "reserved": 1,
        "draining": False,
        "tasks": [],
    }


async def test_workers_are_listed_by_purpose_and_in_pages(whole: Whole) -> None:
    for number in range(2, 5):
        await whole.cluster.worker("portal", f"portal-{number}")
    listed = await whole.client.get("/v1/cluster/workers?purpose=portal")
    assert [each["worker"] for each in listed.json()] == [f"portal-{number}" for number in range(1, 5)]
    page = await whole.client.get("/v1/cluster/workers?purpose=portal&page=2&per_page=3")
    assert [each["worker"] for each in page.json()] == ["portal-4"]
    assert page.headers["Total-Count"] == "4"
    every = (await whole.client.get("/v1/cluster/workers")).json()
    assert {each["purpose"] for each in every} == {"portal", "conference"}


async def test_of_a_purpose_that_nobody_has_there_are_none(whole: Whole) -> None:
    answer = await whole.client.get("/v1/cluster/workers?purpose=sip")
    assert (answer.json(), answer.headers["Total-Count"]) == ([], "0")


async def test_a_worker_that_is_not_there_is_not_found(whole: Whole) -> None:
    path = "/v1/cluster/workers/nobody"
    for answer in (
        await whole.client.get(path),
        await whole.client.post(f"{path}/drain", json={}),
        await whole.client.delete(f"{path}/drain"),
    ):
        problem(answer, 404, "no_such_worker")


async def test_a_draining_worker_says_so_until_it_is_taken_back(whole: Whole) -> None:
    path = "/v1/cluster/workers/portal-1"
    assert (await whole.client.post(f"{path}/drain", json={"deadline_ms": 60_000})).json()["draining"]
    assert (await whole.client.get(path)).json()["draining"]
    assert not (await whole.client.delete(f"{path}/drain")).json()["draining"]
    assert (await whole.client.post(f"{path}/drain")).json()["draining"], "the body may be left out"


async def test_the_log_tells_which_service_drained_a_worker(whole: Whole) -> None:
    await whole.client.post("/v1/cluster/workers/portal-1/drain", json={})
    events = [event for commit in await whole.cluster.commits() for event in commit.events]
    (actor,) = (event.actor for event in events if event.type == "WorkerDraining")
    assert actor == f"service:{whole.api.first_service.id}"


async def test_a_deadline_that_is_none_is_refused(whole: Whole) -> None:
    for deadline in (-1, 86_400_001, "soon", 1.5):
        body = {"deadline_ms": deadline}
        answer = await whole.client.post("/v1/cluster/workers/portal-1/drain", json=body)
        problem(answer, 400, "invalid_argument")


async def test_a_task_is_shown_with_its_worker(whole: Whole) -> None:
    room = await whole.room()
    await whole.join(room, "ada")
    task = (await whole.client.get(f"/v1/cluster/tasks/conference/{room}")).json()
    assert (task["task"], task["state"], task["expires_at"]) == (room, "running", None)
    assert task["worker"].startswith("conference-")


async def test_a_task_that_is_not_there_is_not_found(whole: Whole) -> None:
    for path in ("conference/nowhere", "sip/r1"):
        problem(await whole.client.get(f"/v1/cluster/tasks/{path}"), 404, "no_such_task")
        problem(await whole.client.get(f"/v1/cluster/tasks/{path}/explain"), 404, "no_such_task")


async def test_a_placement_is_explained_as_on_the_command_line_and_over_nats(whole: Whole) -> None:
    await whole.cluster.worker("portal", "portal-2", load=0.5)
    room = await whole.room()
    await whole.token(room)
    (code,) = (await whole.client.get("/v1/cluster/workers/portal-1")).json()["reservations"]
    told = await whole.client.get(f"/v1/cluster/tasks/portal/{code}/explain")
    found = await explained(whole.cluster.access.store, PurposeSettings.default("portal"), code)
    assert told.text == to_json(found) == to_json(await whole.cluster.cluster().explain("portal", code))
    ranks = {each["worker"]: each["rank"] for each in told.json()["candidates"]}
    assert (told.json()["worker"], told.json()["agrees"], ranks) == (
        "portal-1",
        True,
        {"portal-1": 1, "portal-2": 2},
    )


async def test_a_refusal_is_explained_too(whole: Whole) -> None:
    manager = whole.cluster.cluster()
    await manager.drain("portal-1")
    with pytest.raises(Refusal):
        await manager.schedule("portal", "t1")
    told = (await whole.client.get("/v1/cluster/tasks/portal/t1/explain")).json()
    assert (told["worker"], told["reason"], told["agrees"]) == (None, "all_in_full_load", True)
    assert [each["refused_by"] for each in told["candidates"]] == ["draining"]


async def test_other_services_see_no_tasks_but_their_own(whole: Whole) -> None:
    other = await whole.other_service()
    room = await whole.room()
    await whole.join(room, "ada")
    (code,) = (await whole.client.get("/v1/cluster/workers/portal-1")).json()["reservations"]
    shown = (await other.get("/v1/cluster/workers/portal-1")).json()
    assert (shown["reserved"], shown["tasks"], shown["reservations"]) == (1, None, None)
    for path in (f"conference/{room}", f"portal/{code}", "sip/anything"):
        problem(await other.get(f"/v1/cluster/tasks/{path}"), 404, "no_such_task")
        problem(await other.get(f"/v1/cluster/tasks/{path}/explain"), 404, "no_such_task")
    await other.post("/v1/rooms", json={"name": "x", "id": "mine"})
    await other.post("/v1/rooms/mine/tokens", json={"user": "bob", "role": "viewer"})
    codes = (await whole.client.get("/v1/cluster/workers/portal-1")).json()["reservations"]
    (own,) = set(codes) - {code}

    async def is_shown() -> bool:
        return (await other.get(f"/v1/cluster/tasks/portal/{own}")).status_code == 200

    await until(is_shown)


async def test_other_services_drain_no_workers(whole: Whole) -> None:
    other = await whole.other_service()
    for method in ("POST", "DELETE"):
        answer = await other.request(method, "/v1/cluster/workers/portal-1/drain")
        problem(answer, 403, "forbidden")
    assert not (await other.get("/v1/cluster/workers/portal-1")).json()["draining"]


async def test_a_revoked_token_gives_its_portal_back(whole: Whole) -> None:
    room = await whole.room()
    token = await whole.token(room)
    assert (await whole.client.delete(f"/v1/tokens/{token}")).status_code == 204
    assert await whole.refusal_of(room, "ada", token) == "token_revoked"

    async def given_back() -> bool:
        shown = await whole.client.get("/v1/cluster/workers/portal-1")
        return bool(shown.json()["reserved"] == 0)

    await until(given_back)
