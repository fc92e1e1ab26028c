import asyncio

import httpx

from roomledger.sdk.rooms import Conference, Controller
from roomledger_events.rooms import Media, ParticipantLeft, Permission, PermissionChanged
from roomledger_events.subjects import Kind
from tests.processes.management_api.running import problem
from tests.processes.management_api.whole import Whole
from tests.support.cluster import TestCluster
from tests.support.nats import until

MUTE = [{"op": "replace", "path": "/permission/publish/audio", "value": False}]
MUTED = {"publish": {"audio": False, "video": True}, "subscribe": {"audio": True, "video": True}}


async def patched(whole: Whole, participant: str, patch: object, room: str = "r1") -> httpx.Response:
    return await whole.client.patch(f"/v1/rooms/{room}/participants/{participant}", json=patch)


async def present(whole: Whole, room: str = "r1") -> list[str]:
    """Return who is in a room, as it is known when everything is."""
    carried = {"Ledger-Sequence": str((await whole.cluster.access.store.position()).sequence)}
    answer = await whole.client.get(f"/v1/rooms/{room}/participants", headers=carried)
    return [each["id"] for each in answer.json()]


async def test_who_joined_is_shown_at_once_with_what_it_may_do(whole: Whole) -> None:
    room = await whole.room()
    await whole.join(room, "ada")
    answer = await whole.client.get(f"/v1/rooms/{room}/participants/ada")
    assert answer.status_code == 200, answer.text
    shown = answer.json()
    assert shown.pop("joinedAt").endswith("Z")
    both = {"audio": True, "video": True}
    assert shown == {
        "id": "ada",
        "user": "ada",
        "role": "presenter",
        "permission": {"publish": both, "subscribe": both},
        "away": False,
    }


async def test_participants_are_listed_in_pages_in_the_order_of_joining(whole: Whole) -> None:
    room = await whole.room()
    for number in range(5):
        await whole.join(room, f"p{number}")
    assert await present(whole) == [f"p{number}" for number in range(5)]
    page = await whole.client.get(f"/v1/rooms/{room}/participants?page=2&per_page=2")
    assert [each["id"] for each in page.json()] == ["p2", "p3"]
    assert page.headers["Total-Count"] == "5"
    assert page.links["next"]["url"] == f"/v1/rooms/{room}/participants?page=3&per_page=2"


async def test_a_patched_permission_is_in_the_log_and_in_the_answer(whole: Whole) -> None:
    room = await whole.room()
    await whole.join(room, "ada")
    answer = await patched(whole, "ada", MUTE)
    assert answer.status_code == 200, answer.text
    assert answer.json()["permission"] == MUTED
    last = (await whole.cluster.commits())[-1]
    publish = Media(audio=False, video=True)
    permission = Permission(publish=publish, subscribe=Media(audio=True, video=True))
    assert last.events[0].data == PermissionChanged(participant="ada", permission=permission)
    assert last.events[0].actor == f"service:{whole.api.first_service.id}"
    assert answer.headers["Ledger-Sequence"] == str(last.sequence)
    again = await whole.client.get(f"/v1/rooms/{room}/participants/ada")
    assert again.json()["permission"] == MUTED


async def test_a_patched_permission_is_what_the_room_answers_from_then_on_also_after_it_has_moved(
    cluster: TestCluster,
) -> None:
    async with Whole.of(cluster) as whole:
        room = await whole.room()
        token = await whole.token(room)
        await whole.join(room, "ada", token)
        assert (await patched(whole, "ada", MUTE)).status_code == 200
        muted = Permission(publish=Media(audio=False, video=True), subscribe=Media(audio=True, video=True))
        first = (await cluster.cluster().get_scheduled("conference", room)).worker
        for moved in (False, True):
            if moved:
                await cluster.conference(worker_id="second")
                await cluster.cluster().quit(first)
            worker = (await cluster.cluster().schedule("conference", room)).worker
            node = await Conference(cluster.access.broker, actor="test").get_node(worker, room)
            rooms = Controller(cluster.access.broker, actor="test")
            again = await rooms.join(node, room, token, participant="ada", portal="portal-1")
            back = await rooms.come_back(node, room, "ada", portal="portal-2" if moved else "portal-1")
            assert again.permission == back.permission == muted
        assert worker == "second"


async def test_patches_at_the_same_time_lose_nothing(whole: Whole) -> None:
    room = await whole.room()
    await whole.join(room, "ada")
    paths = ["publish/audio", "publish/video", "subscribe/audio", "subscribe/video"]
    patches = [[{"op": "replace", "path": f"/permission/{path}", "value": False}] for path in paths]
    answers = await asyncio.gather(*(patched(whole, "ada", patch) for patch in patches))
    assert {answer.status_code for answer in answers} == {200}
    none = {"audio": False, "video": False}
    shown = await whole.client.get(f"/v1/rooms/{room}/participants/ada")
    assert shown.json()["permission"] == {"publish": none, "subscribe": none}


async def test_a_whole_direction_may_be_replaced(whole: Whole) -> None:
    room = await whole.room()
    await whole.join(room, "ada")
    patch = [{"op": "replace", "path": "/permission/publish", "value": {"video": True}}]
    assert (await patched(whole, "ada", patch)).json()["permission"] == MUTED
    assert room == "r1"


BAD_PATCHES: dict[str, object] = {
    "no list": MUTE[0],
    "nothing": [],
    "another operation": [MUTE[0] | {"op": "remove"}],
    "no operation": [{"path": "/permission/publish/audio", "value": False}],
    "a path that does not exist": [MUTE[0] | {"path": "/permission/publish/smell"}],
    "a path outside of the permission": [MUTE[0] | {"path": "/role"}],
    "the path of all": [MUTE[0] | {"path": ""}],
    "no value": [{"op": "replace", "path": "/permission/publish/audio"}],
    "a number": [MUTE[0] | {"value": 0}],
    "an object for a medium": [MUTE[0] | {"value": {"audio": True}}],
    "a truth value for a direction": [MUTE[0] | {"path": "/permission/publish"}],
    "an unknown medium": [{"op": "replace", "path": "/permission/publish", "value": {"smell": True}}],
    "one right and one wrong": [*MUTE, MUTE[0] | {"path": "/nothing"}],
    "too many": MUTE * 101,
}


async def test_a_patch_that_is_not_as_it_should_be_changes_nothing(whole: Whole) -> None:
    room = await whole.room()
    await whole.join(room, "ada")
    for case, patch in BAD_PATCHES.items():
        assert problem(await patched(whole, "ada", patch), 400, "invalid_argument"), case
    assert "PermissionChanged" not in await whole.cluster.types(Kind.ROOM, room)


async def test_a_removed_participant_is_out_and_the_log_says_why(whole: Whole) -> None:
    room = await whole.room()
    await whole.join(room, "ada")
    await whole.join(room, "bob")
    answer = await whole.client.delete(f"/v1/rooms/{room}/participants/ada", params={"reason": "enough"})
    assert (answer.status_code, answer.content) == (204, b"")
    last = (await whole.cluster.commits())[-1]
    left = last.events[0].data
    assert isinstance(left, ParticipantLeft)
    assert (left.participant, left.reason, left.message) == ("ada", "dropped", "enough")
    assert answer.headers["Ledger-Sequence"] == str(last.sequence)
    assert await present(whole) == ["bob"]


async def test_nobody_is_removed_twice(whole: Whole) -> None:
    room = await whole.room()
    await whole.join(room, "ada")
    path = f"/v1/rooms/{room}/participants/ada"
    answers = await asyncio.gather(*(whole.client.delete(path) for _ in range(4)))
    assert sorted(answer.status_code for answer in answers) == [204, 404, 404, 404]
    problem(await whole.client.delete(path), 404, "no_such_participant")
    assert (await whole.cluster.types(Kind.ROOM, room)).count("ParticipantLeft") == 1


async def test_a_reason_that_is_none_is_refused(whole: Whole) -> None:
    room = await whole.room()
    await whole.join(room, "ada")
    for reason in ("", "x" * 1025):
        answer = await whole.client.delete(f"/v1/rooms/{room}/participants/ada", params={"reason": reason})
        problem(answer, 400, "invalid_argument")
    assert await present(whole) == ["ada"]


async def test_who_is_not_in_is_not_found(whole: Whole) -> None:
    room = await whole.room()
    path = f"/v1/rooms/{room}/participants/nobody"
    for answer in (
        await whole.client.get(path),
        await whole.client.patch(path, json=MUTE),
        await whole.client.delete(path),
    ):
        problem(answer, 404, "no_such_participant")


async def test_a_service_sees_and_changes_participants_of_its_own_rooms_only(whole: Whole) -> None:
    room = await whole.room()
    await whole.join(room, "ada")
    other = await whole.other_service()
    path = f"/v1/rooms/{room}/participants"
    for answer in (
        await other.get(path),
        await other.get(f"{path}/ada"),
        await other.patch(f"{path}/ada", json=MUTE),
        await other.delete(f"{path}/ada"),
    ):
        problem(answer, 404, "no_such_room")
    assert await present(whole) == ["ada"]


async def test_a_participant_is_removed_after_the_room_moved_to_another_worker(cluster: TestCluster) -> None:
    async with Whole.of(cluster) as whole:
        room = await whole.room()
        await whole.join(room, "ada")
        second = await cluster.conference(worker_id="second")
        await whole.conference.stop()
        answer = await whole.client.delete(f"/v1/rooms/{room}/participants/ada")
        assert answer.status_code == 204, answer.text
        moved = await cluster.cluster().get_scheduled("conference", room)
        assert moved.worker == second.id


async def test_in_a_deleted_room_nobody_is_left(whole: Whole) -> None:
    room = await whole.room()
    await whole.join(room, "ada")
    late = await whole.token(room)
    await whole.client.delete(f"/v1/rooms/{room}")
    problem(await whole.client.get(f"/v1/rooms/{room}/participants"), 404, "no_such_room")
    await until(lambda: _ended(whole, room))
    await whole.room(room)
    assert await present(whole) == []
    assert await whole.refusal_of(room, "bob", late) == "invalid_token"
    await whole.join(room, "bob")
    assert await present(whole) == ["bob"]


async def _ended(whole: Whole, room: str) -> bool:
    answer = await whole.client.get(f"/v1/cluster/tasks/conference/{room}")
    return answer.status_code == 404
