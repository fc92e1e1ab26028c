import asyncio

import pytest

from roomledger.domain.errors import Code, Refusal
from roomledger.domain.room import ROOM
from roomledger.domain.room_commands import CreateRoom, DeleteRoom
from roomledger.runtime.calls import RequestMeta
from roomledger.runtime.commands import Meta
from roomledger.runtime.deciding import decide_once
from roomledger.sdk.cluster import TaskView
from roomledger.sdk.rooms import Conference, Controller, MediaWish, PermissionWish
from roomledger_events.identifiers import new_id
from roomledger_events.rooms import Media, ParticipantLeft, Permission, RoomSettings
from roomledger_events.subjects import Boundary, Kind
from tests.support.cluster import PRESENTER, TestCluster
from tests.support.nats import until


async def controller(cluster: TestCluster, room: str) -> tuple[str, Controller]:
    """Return the node that runs a room, as a portal finds it."""
    worker = (await cluster.cluster().schedule("conference", room)).worker
    broker = cluster.access.broker
    return await Conference(broker, actor="test").get_node(worker, room), Controller(broker, actor="test")


async def join(cluster: TestCluster, room: str, token: str, participant: str) -> str:
    node, rooms = await controller(cluster, room)
    return (await rooms.join(node, room, token, participant=participant, portal="p1")).seq


async def test_a_participant_joins_with_a_token_and_leaves(cluster: TestCluster) -> None:
    await cluster.manager()
    await cluster.conference()
    await cluster.room("r1")
    node, rooms = await controller(cluster, "r1")
    joined = await rooms.join(node, "r1", await cluster.token("r1"), participant="u1", portal="p1")
    assert (joined.user, joined.role, joined.permission.publish.audio) == ("ada", "presenter", True)
    assert [each.id for each in joined.room.participants] == ["u1"]
    assert [each.id for each in await rooms.get_participants(node, "r1")] == ["u1"]
    await rooms.leave(node, "r1", "u1", reason="logout")
    assert await cluster.types(Kind.ROOM, "r1") == [
        "RoomCreated",
        "ControllerTakenOver",
        "ParticipantJoined",
        "ParticipantLeft",
    ]


async def test_a_room_that_does_not_exist_is_refused(cluster: TestCluster) -> None:
    await cluster.manager()
    await cluster.conference()
    with pytest.raises(Refusal) as refused:
        await controller(cluster, "nowhere")
    assert refused.value.code is Code.NO_SUCH_ROOM

    async def given_back() -> bool:
        return await task_of(cluster, "nowhere") is None

    await until(given_back)


async def test_a_room_that_is_not_run_here_is_refused(cluster: TestCluster) -> None:
    await cluster.manager()
    conference = await cluster.conference()
    rooms = Controller(cluster.access.broker, actor="test")
    with pytest.raises(Refusal) as refused:
        await rooms.join(conference.nodes[0].node, "r1", "t1", participant="u1", portal="p1")
    assert refused.value.code is Code.WRONG_CONTROLLER


async def test_of_many_joins_with_one_token_exactly_one_wins_each_time(cluster: TestCluster) -> None:
    await cluster.manager()
    await cluster.conference()
    await cluster.room("r1")
    for n in range(100):
        token = await cluster.token("r1")
        answers = await asyncio.gather(
            *(join(cluster, "r1", token, f"u{n}-{each}") for each in range(2)), return_exceptions=True
        )
        refused = [answer.code for answer in answers if isinstance(answer, Refusal)]
        assert refused == [Code.TOKEN_USED]


async def test_a_join_refused_by_a_full_room_leaves_its_token_usable(cluster: TestCluster) -> None:
    await cluster.manager()
    await cluster.conference()
    await cluster.room("r1", limit=1)
    await join(cluster, "r1", await cluster.token("r1"), "u1")
    token = await cluster.token("r1")
    with pytest.raises(Refusal) as refused:
        await join(cluster, "r1", token, "u2")
    assert refused.value.code is Code.ROOM_FULL
    node, rooms = await controller(cluster, "r1")
    await rooms.leave(node, "r1", "u1", reason="logout")
    await join(cluster, "r1", token, "u2")


async def test_a_token_that_was_issued_just_now_is_known(cluster: TestCluster) -> None:
    await cluster.manager()
    await cluster.conference()
    await cluster.room("r1")
    for n in range(50):
        await join(cluster, "r1", await cluster.token("r1"), f"u{n}")


async def test_who_is_in_stays_in_when_another_conference_worker_takes_over(cluster: TestCluster) -> None:
    await cluster.manager()
    first = await cluster.conference(worker_id="c1")
    await cluster.room("r1")
    await join(cluster, "r1", await cluster.token("r1"), "u1")
    await first.stop()
    await cluster.conference(worker_id="c2")
    node, rooms = await controller(cluster, "r1")
    assert [each.id for each in await rooms.get_participants(node, "r1")] == ["u1"]
    assert "ParticipantLeft" not in await cluster.types(Kind.ROOM, "r1")


async def test_a_controller_that_only_thinks_it_owns_the_room_is_stopped_by_the_log(
    cluster: TestCluster,
) -> None:
    await cluster.manager()
    first = await cluster.conference(worker_id="c1")
    await cluster.room("r1")
    await join(cluster, "r1", await cluster.token("r1"), "u1")
    second = await cluster.conference(worker_id="c2")
    rooms = Controller(cluster.access.broker, actor="test")
    with pytest.raises(Refusal) as refused:
        await Conference(cluster.access.broker, actor="test").get_node(second.id, "r1")
    assert refused.value.code is Code.WRONG_CONTROLLER, "the reservation says who tries"
    await second._run("r1", Meta(actor="test"))
    with pytest.raises(Refusal):
        await rooms.join(first.nodes[0].node, "r1", await cluster.token("r1"), participant="u2", portal="p1")
    await rooms.join(second.nodes[0].node, "r1", await cluster.token("r1"), participant="u3", portal="p1")
    await until(lambda: first.rooms == 0)


async def test_the_nodes_of_a_worker_tell_what_they_do(cluster: TestCluster) -> None:
    await cluster.manager()
    conference = await cluster.conference(worker_id="c1")
    await cluster.room("r1")
    await controller(cluster, "r1")
    await conference.stop()
    assert await cluster.types(Kind.NODES, "c1") == [
        "NodeStarted",
        "NodeReady",
        "NodeAssigned",
        "NodeStopped",
    ]


async def test_a_room_with_a_limit_never_has_one_too_many(cluster: TestCluster) -> None:
    await cluster.manager()
    await cluster.conference()
    await cluster.room("r1", limit=10)
    tokens = [await cluster.token("r1") for _ in range(30)]
    answers = await asyncio.gather(
        *(join(cluster, "r1", token, f"u{n}") for n, token in enumerate(tokens)), return_exceptions=True
    )
    assert sum(isinstance(answer, str) for answer in answers) == 10
    refused = {answer.code for answer in answers if isinstance(answer, Refusal)}
    assert refused == {Code.ROOM_FULL}


async def test_somebody_is_thrown_out_with_a_reason(cluster: TestCluster) -> None:
    await cluster.manager()
    await cluster.conference()
    await cluster.room("r1")
    await join(cluster, "r1", await cluster.token("r1"), "u1")
    node, rooms = await controller(cluster, "r1")
    assert (await rooms.drop(node, "r1", "u1", reason="enough")).dropped
    left = (await cluster.commits())[-1].events[0].data
    assert left == ParticipantLeft(
        participant="u1", reason="dropped", message="enough", user="ada", role="presenter"
    )
    assert await rooms.get_participants(node, "r1") == ()


async def test_throwing_out_who_is_not_in_has_no_effect(cluster: TestCluster) -> None:
    await cluster.manager()
    await cluster.conference()
    await cluster.room("r1")
    node, rooms = await controller(cluster, "r1")
    assert not (await rooms.drop(node, "r1", "u1")).dropped
    assert await cluster.types(Kind.ROOM, "r1") == ["RoomCreated", "ControllerTakenOver"]


async def test_a_part_of_a_permission_is_set(cluster: TestCluster) -> None:
    await cluster.manager()
    await cluster.conference()
    await cluster.room("r1")
    await join(cluster, "r1", await cluster.token("r1"), "u1")
    node, rooms = await controller(cluster, "r1")
    wish = PermissionWish(publish=MediaWish(audio=False))
    permission = (await rooms.set_permission(node, "r1", "u1", wish)).permission
    assert permission == Permission(
        publish=Media(audio=False, video=True), subscribe=Media(audio=True, video=True)
    )


async def test_a_permission_of_nobody_cannot_be_set(cluster: TestCluster) -> None:
    await cluster.manager()
    await cluster.conference()
    await cluster.room("r1")
    node, rooms = await controller(cluster, "r1")
    with pytest.raises(Refusal) as refused:
        await rooms.set_permission(node, "r1", "u1", PermissionWish())
    assert refused.value.code is Code.NO_SUCH_PARTICIPANT


async def delete(cluster: TestCluster, room: str) -> None:
    boundary, meta = Boundary(Kind.ROOM, room), Meta("test")
    await decide_once(cluster.access.store, boundary, ROOM, DeleteRoom(), meta, source="test")


async def create_anew(cluster: TestCluster, room: str) -> None:
    settings = RoomSettings(name=room, roles=(PRESENTER,))
    command = CreateRoom(room=room, service="s1", settings=settings)
    boundary = Boundary(Kind.ROOM, room)
    await decide_once(cluster.access.store, boundary, ROOM, command, Meta("test"), source="test")


async def task_of(cluster: TestCluster, room: str) -> TaskView | None:
    try:
        return await cluster.cluster().get_scheduled("conference", room)
    except Refusal as refusal:
        if refusal.code is not Code.NO_SUCH_TASK:
            raise
        return None


async def test_a_deleted_room_ends_its_controller_and_its_task(cluster: TestCluster) -> None:
    await cluster.manager()
    conference = await cluster.conference()
    await cluster.room("r1")
    await join(cluster, "r1", await cluster.token("r1"), "u1")
    await delete(cluster, "r1")
    await until(lambda: conference.rooms == 0)

    async def ended() -> bool:
        return await task_of(cluster, "r1") is None

    await until(ended)


async def test_a_room_created_anew_at_once_keeps_its_task_and_lets_no_old_token_in(
    cluster: TestCluster,
) -> None:
    await cluster.manager()
    await cluster.conference()
    await cluster.room("r1")
    for generation in range(2, 12):
        old = await cluster.token("r1", generation=generation - 1)
        node, rooms = await controller(cluster, "r1")
        await delete(cluster, "r1")
        await create_anew(cluster, "r1")
        token = await cluster.token("r1", generation=generation)

        async def joins(token: str = token, who: str = f"u{generation}") -> bool:
            try:
                await join(cluster, "r1", token, who)
            except Refusal as refusal:
                if refusal.code not in {Code.NOT_READY, Code.WRONG_CONTROLLER}:
                    raise
                return False
            return True

        await until(joins)
        with pytest.raises(Refusal) as refused:
            await join(cluster, "r1", old, "late")
        assert refused.value.code is Code.INVALID_TOKEN
        node, rooms = await controller(cluster, "r1")
        assert [each.id for each in await rooms.get_participants(node, "r1")] == [f"u{generation}"]
        task = await task_of(cluster, "r1")
        assert task is not None
        assert task.state == "running"


# -- Nodes


async def test_the_node_of_a_room_can_be_asked_for(cluster: TestCluster) -> None:
    await cluster.manager()
    await cluster.conference(worker_id="c1")
    await cluster.room("r1")
    node, _ = await controller(cluster, "r1")
    conference = Conference(cluster.access.broker, actor="test")
    by_room = await conference.query_node("c1", room="r1")
    assert (by_room.node, by_room.state, by_room.rooms) == (node, "assigned", ("r1",))
    assert await conference.query_node("c1", node=node) == by_room
    assert await conference.get_nodes("c1") == (by_room,)


async def test_a_node_that_is_not_there_is_refused(cluster: TestCluster) -> None:
    await cluster.manager()
    await cluster.conference(worker_id="c1")
    conference = Conference(cluster.access.broker, actor="test")
    for asked in ({"node": "nobody"}, {"room": "nowhere"}):
        with pytest.raises(Refusal) as refused:
            await conference.query_node("c1", **asked)
        assert refused.value.code is Code.NO_SUCH_NODE
    with pytest.raises(Refusal) as refused:
        await conference.query_node("c1")
    assert refused.value.code is Code.INVALID_ARGUMENT


async def test_a_worker_that_is_not_there_has_no_node(cluster: TestCluster) -> None:
    with pytest.raises(Refusal) as refused:
        await Conference(cluster.access.broker, actor="test").get_node("nobody", "r1")
    assert refused.value.code is Code.NO_NODE


async def test_the_task_of_a_room_is_the_rooms_id(cluster: TestCluster) -> None:
    await cluster.manager()
    await cluster.conference(worker_id="c1")
    reply = await cluster.access.broker.request(
        "rpc.conference.c1.get_node", b'{"room": "r1", "task": "another"}', timeout=2
    )
    assert (reply.headers or {})["Nats-Service-Error-Code"] == "invalid_argument"


async def test_the_rooms_of_a_node_that_is_recycled_are_given_to_another(cluster: TestCluster) -> None:
    await cluster.manager()
    await cluster.conference(worker_id="c1")
    await cluster.room("r1")
    await join(cluster, "r1", await cluster.token("r1"), "u1")
    conference = Conference(cluster.access.broker, actor="test", time_limit=10)
    (before,) = await conference.get_nodes("c1")
    assert await conference.recycle_node("c1", before.node) == 1
    assert await conference.recycle_node("c1", before.node) == 0, "it is gone already"
    node, rooms = await controller(cluster, "r1")
    assert node != before.node
    assert [each.id for each in await rooms.get_participants(node, "r1")] == ["u1"]
    assert "ParticipantLeft" not in await cluster.types(Kind.ROOM, "r1")


# -- Rooms that end, and rooms that move


async def test_an_empty_room_is_released_and_its_task_laid_down(cluster: TestCluster) -> None:
    await cluster.manager()
    conference = await cluster.conference(worker_id="c1", room_release_ms=200)
    await cluster.room("r1")
    await join(cluster, "r1", await cluster.token("r1"), "u1")
    node, rooms = await controller(cluster, "r1")
    await rooms.leave(node, "r1", "u1", reason="logout")
    await until(lambda: conference.rooms == 0)

    async def laid_down() -> bool:
        task = await task_of(cluster, "r1")
        return task is not None and (task.worker, task.state) == ("c1", "reserved")

    await until(laid_down)
    assert (await cluster.types(Kind.ROOM, "r1"))[-1] == "ControllerReleased"
    await join(cluster, "r1", await cluster.token("r1"), "u2")
    assert await task_of(cluster, "r1") == TaskView(worker="c1", state="running")


async def test_a_room_is_not_released_while_somebody_is_in_it(cluster: TestCluster) -> None:
    await cluster.manager()
    conference = await cluster.conference(room_release_ms=50)
    await cluster.room("r1")
    await join(cluster, "r1", await cluster.token("r1"), "u1")
    await cluster.room("r2")
    await controller(cluster, "r2")
    await until(lambda: conference.rooms == 1)
    types = await cluster.types(Kind.ROOM, "r1")
    assert "ControllerReleased" not in types[types.index("ParticipantJoined") :]


async def test_a_worker_that_drains_moves_its_rooms_at_the_deadline(cluster: TestCluster) -> None:
    await cluster.manager()
    first = await cluster.conference(worker_id="c1")
    await cluster.room("r1")
    await join(cluster, "r1", await cluster.token("r1"), "u1")
    second = await cluster.conference(worker_id="c2")
    await cluster.cluster().drain("c1", 100)
    await until(lambda: second.rooms == 1)
    await until(lambda: first.rooms == 0)
    assert await task_of(cluster, "r1") == TaskView(worker="c2", state="running")
    node, rooms = await controller(cluster, "r1")
    assert [each.id for each in await rooms.get_participants(node, "r1")] == ["u1"]


async def test_a_worker_that_drains_keeps_its_rooms_where_there_is_no_other(cluster: TestCluster) -> None:
    await cluster.manager()
    await cluster.conference(worker_id="c1")
    await cluster.room("r1")
    await join(cluster, "r1", await cluster.token("r1"), "u1")
    await cluster.cluster().drain("c1", 50)

    async def tried() -> bool:
        return "TaskLaidDown" in await cluster.types(Kind.SCHEDULER, "conference")

    await until(tried)

    async def kept() -> bool:
        return await task_of(cluster, "r1") == TaskView(worker="c1", state="running")

    await until(kept)


async def test_a_room_that_is_another_workers_now_is_let_go_of(cluster: TestCluster) -> None:
    await cluster.manager()
    conference = await cluster.conference()
    await cluster.room("r1")
    await cluster.room("r2")
    for room in ("r1", "r2"):
        await join(cluster, room, await cluster.token(room), f"in-{room}")
    node, rooms = await controller(cluster, "r1")
    other = await cluster.worker("conference", "another")
    await other.pick_up("r1")
    await until(lambda: conference.nodes[0].rooms == ("r2",))
    with pytest.raises(Refusal) as refused:
        await rooms.get_participants(node, "r1")
    assert refused.value.code is Code.WRONG_CONTROLLER
    assert "NodeReleased" in await cluster.types(Kind.NODES, conference.id)
    assert await cluster.cluster().get_scheduled("conference", "r1") == TaskView(
        worker="another", state="running"
    )
    assert [each.id for each in await rooms.get_participants(node, "r2")] == ["in-r2"]


async def test_a_request_sent_again_to_the_next_controller_gets_the_first_answer(
    cluster: TestCluster,
) -> None:
    await cluster.manager()
    first = await cluster.conference()
    await cluster.room("r1", limit=2)
    for user in ("ada", "bob"):
        await join(cluster, "r1", await cluster.token("r1"), user)
    token = await cluster.token("r1")
    node, rooms = await controller(cluster, "r1")
    joining, dropping = RequestMeta(command=new_id()), RequestMeta(command=new_id())
    with pytest.raises(Refusal, match="seats"):
        await rooms.join(node, "r1", token, participant="carl", portal="p1", meta=joining)
    dropped = await rooms.drop(node, "r1", "ada", reason="enough", meta=dropping)
    await first.stop()
    await cluster.conference()
    node, rooms = await controller(cluster, "r1")
    assert await rooms.drop(node, "r1", "ada", reason="enough", meta=dropping) == dropped
    with pytest.raises(Refusal) as refused:
        await rooms.join(node, "r1", token, participant="carl", portal="p1", meta=joining)
    assert refused.value.code is Code.ROOM_FULL
    await rooms.join(node, "r1", token, participant="carl", portal="p1")
