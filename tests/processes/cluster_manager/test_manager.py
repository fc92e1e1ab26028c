import asyncio
import json
from collections.abc import Awaitable

import pytest
from nats.aio.msg import Msg

from roomledger.domain.errors import Code, Refusal, UnknownStrategy
from roomledger.processes.cluster_manager.active import WAITING
from roomledger.processes.cluster_manager.manager import ClusterManager
from roomledger.runtime.calls import RequestMeta
from roomledger.sdk.worker import Joined, TaskReleased
from roomledger_events.identifiers import new_id
from roomledger_events.subjects import Boundary, Kind
from roomledger_events.tasks import Preference
from roomledger_events.workers import Capacity, LoadReported, WorkerInfo, WorkerJoined
from tests.support.cluster import TestCluster, event
from tests.support.nats import until

INFO = WorkerInfo(ip="127.0.0.1", max_load=0.9)


async def test_a_task_gets_a_worker_and_keeps_it(cluster: TestCluster) -> None:
    await cluster.manager()
    for name in ("w1", "w2"):
        await cluster.worker("portal", name)
    manager = cluster.cluster()
    first = await manager.schedule("portal", "t1", reserve_ms=5000)
    again = await manager.schedule("portal", "t1", reserve_ms=1000)
    assert first.worker == again.worker
    assert (await manager.get_scheduled("portal", "t1")).state == "reserved"


async def test_a_worker_without_a_load_report_is_not_available(cluster: TestCluster) -> None:
    await cluster.manager()
    manager = cluster.cluster()
    await manager.join("portal", "w1", INFO)
    with pytest.raises(Refusal) as refused:
        await manager.schedule("portal", "t1")
    assert refused.value.code is Code.ALL_IN_FULL_LOAD
    await manager.report_load("w1", 0.1)
    assert (await manager.schedule("portal", "t1")).worker == "w1"


async def test_an_isp_is_a_must_and_a_region_a_wish(cluster: TestCluster) -> None:
    await cluster.manager()
    await cluster.worker("portal", "w1", capacity=Capacity(isps=("a",), regions=("north",)))
    await cluster.worker("portal", "w2", capacity=Capacity(isps=("a",), regions=("south",)))
    manager = cluster.cluster()
    assert (await manager.schedule("portal", "t1", Preference(isp="a", region="south"))).worker == "w2"
    assert (await manager.schedule("portal", "t2", Preference(isp="a", region="west"))).worker == "w1"
    with pytest.raises(Refusal) as refused:
        await manager.schedule("portal", "t3", Preference(isp="b"))
    assert refused.value.code is Code.NO_MATCH


async def test_a_purpose_that_nobody_ever_joined_is_refused(cluster: TestCluster) -> None:
    await cluster.manager()
    with pytest.raises(Refusal) as refused:
        await cluster.cluster().schedule("sip", "t1")
    assert refused.value.code is Code.NO_SUCH_PURPOSE


async def test_an_id_that_another_purpose_has_is_refused(cluster: TestCluster) -> None:
    await cluster.manager()
    manager = cluster.cluster()
    await manager.join("portal", "w1", INFO)
    with pytest.raises(Refusal) as refused:
        await manager.join("sip", "w1", INFO)
    assert refused.value.code is Code.INVALID_ARGUMENT
    answers = await asyncio.gather(
        manager.join("audio", "w2", INFO), manager.join("video", "w2", INFO), return_exceptions=True
    )
    assert sum(isinstance(answer, Refusal) for answer in answers) == 1


async def test_a_silent_worker_is_lost_and_its_tasks_are_freed(cluster: TestCluster) -> None:
    await cluster.manager(scheduler={"portal": {"lease_ms": 500}})
    manager = cluster.cluster()
    await manager.join("portal", "w1", INFO)
    await manager.report_load("w1", 0.1)
    await manager.schedule("portal", "t1")

    async def lost() -> bool:
        return (await manager.keep_alive("w2")).status == "who_are_you" and (
            not await manager.get_workers("portal")
        )

    await until(lost)
    with pytest.raises(Refusal) as refused:
        await manager.get_scheduled("portal", "t1")
    assert refused.value.code is Code.NO_SUCH_TASK
    assert (await manager.keep_alive("w1")).status == "who_are_you"


async def test_a_worker_that_beats_is_not_lost_when_the_broker_was_away(cluster: TestCluster) -> None:
    await cluster.manager()
    await cluster.worker("portal", "w1")
    await cluster.server.stop()
    await asyncio.sleep(4)  # longer than a lease: nobody could be heard all that time
    await cluster.server.start()
    manager = cluster.cluster()

    async def placed() -> bool:
        try:
            return (await manager.schedule("portal", "t1")).worker == "w1"
        except Refusal:
            return False

    await until(placed, seconds=10)
    assert "WorkerLost" not in await cluster.types(Kind.SCHEDULER, "portal")


async def test_a_reservation_runs_out_at_its_time(cluster: TestCluster) -> None:
    await cluster.manager()
    await cluster.worker("portal", "w1")
    manager = cluster.cluster()
    await manager.schedule("portal", "t1", reserve_ms=200)

    async def expired() -> bool:
        return "ReservationExpired" in await cluster.types(Kind.SCHEDULER, "portal")

    await until(expired)


async def test_what_a_manager_knew_the_next_one_knows(cluster: TestCluster) -> None:
    first = await cluster.manager()
    await cluster.worker("portal", "w1")
    manager = cluster.cluster()
    await manager.schedule("portal", "t1", reserve_ms=60_000)
    before = await manager.get_scheduled("portal", "t1")
    await first.stop()
    await cluster.manager()
    assert await manager.get_scheduled("portal", "t1") == before
    assert (await cluster.types(Kind.SCHEDULER, "portal")).count("SchedulerTakenOver") == 2


async def test_a_second_manager_waits_until_the_first_one_stops(cluster: TestCluster) -> None:
    first = await cluster.manager(manager_id="m1")
    second: ClusterManager = await cluster.start(ClusterManager, manager_id="m2")
    await cluster.worker("portal", "w1")
    assert not second.active.is_set()
    await first.stop()
    async with asyncio.timeout(1):
        await second.active.wait()
    assert (await cluster.cluster().schedule("portal", "t1")).worker == "w1"


async def test_a_worker_that_is_there_is_told_what_others_have_picked_up(cluster: TestCluster) -> None:
    await cluster.manager()
    first, second = await cluster.worker("portal", "w1"), await cluster.worker("portal", "w2")
    manager = cluster.cluster()
    for task in ("t1", "t2"):
        await first.pick_up(task)
    assert (await manager.keep_alive("w1")).released == ()
    await second.pick_up("t1")
    assert (await manager.keep_alive("w1")).released == ("t1",)
    news = [await anext(first), await anext(first)]
    assert news == [Joined(), TaskReleased("t1")]
    assert first.tasks == ("t2",)
    await first.pick_up("t1")
    assert (await manager.keep_alive("w1")).released == ()
    assert (await manager.keep_alive("w2")).released == ("t1",)


async def test_more_tasks_than_a_commit_holds_are_picked_up_at_once(cluster: TestCluster) -> None:
    await cluster.manager()
    await cluster.worker("portal", "w1")
    await cluster.worker("portal", "w2")
    manager = cluster.cluster()
    tasks = tuple(f"t{number}" for number in range(6_000))
    assert await manager.pick_up_tasks("w1", tasks) == ()
    assert await manager.get_tasks("w1") == tasks
    assert await manager.pick_up_tasks("w1", tasks) == ()
    assert (await cluster.types(Kind.SCHEDULER, "portal")).count("TaskPickedUp") == 6_000


async def test_of_too_many_tasks_for_one_request_none_is_picked_up(cluster: TestCluster) -> None:
    await cluster.manager()
    await cluster.worker("portal", "w1")
    manager = cluster.cluster()
    with pytest.raises(Refusal) as refused:
        await manager.pick_up_tasks("w1", tuple(f"t{number}" for number in range(10_001)))
    assert refused.value.code is Code.INVALID_ARGUMENT
    assert await manager.get_tasks("w1") == ()


async def test_a_request_sent_again_gets_the_first_answer(cluster: TestCluster) -> None:
    await cluster.manager()
    await cluster.worker("portal", "w1")
    meta = RequestMeta(command=new_id())
    manager = cluster.cluster()
    answers = [await manager.schedule("portal", "t1", reserve_ms=ms, meta=meta) for ms in (5000, 9000)]
    assert answers[0] == answers[1]


@pytest.mark.parametrize("from_snapshot", [True, False])
async def test_a_request_sent_again_to_the_next_manager_gets_the_first_answer(
    cluster: TestCluster, *, from_snapshot: bool
) -> None:
    first = await cluster.manager()
    await cluster.worker("portal", "w1", capacity=Capacity(isps=("a",)))
    manager = cluster.cluster()
    wish, asked = Preference(isp="a"), [RequestMeta(command=new_id()) for _ in range(4)]
    reserved = await manager.schedule("portal", "t1", wish, reserve_ms=5_000, meta=asked[0])
    extended = await manager.schedule("portal", "t1", wish, reserve_ms=9_000, meta=asked[1])
    with pytest.raises(Refusal) as refused:
        await manager.schedule("portal", "t2", Preference(isp="b"), meta=asked[2])
    await manager.pick_up_tasks("w1", ("t1",))
    await manager.lay_down_task("w1", "t1", meta=asked[3])
    await manager.pick_up_tasks("w1", ("t1",))
    if from_snapshot:
        await first.stop()
    else:
        assert first._running is not None
        first._running.cancel()  # as a crash does, it keeps no snapshot
        await until(first._running.done)
    await cluster.manager()
    await cluster.worker("portal", "w2", capacity=Capacity(isps=("b",)))
    before = await cluster.types(Kind.SCHEDULER, "portal")
    assert await manager.schedule("portal", "t1", wish, reserve_ms=99_000, meta=asked[0]) == reserved
    assert await manager.schedule("portal", "t1", wish, reserve_ms=99_000, meta=asked[1]) == extended
    await manager.lay_down_task("w1", "t1", meta=asked[3])
    assert (await manager.get_scheduled("portal", "t1")).state == "running"
    assert await cluster.types(Kind.SCHEDULER, "portal") == before
    if not from_snapshot:  # what is kept of refusals is the log
        with pytest.raises(Refusal) as again:
            await manager.schedule("portal", "t2", Preference(isp="b"), meta=asked[2])
        assert again.value.code is refused.value.code is Code.NO_MATCH


@pytest.mark.parametrize(
    ("method", "body"),
    [
        ("schedule", b"not json"),
        ("schedule", b'{"purpose": "portal", "task": "t1", "colour": "red"}'),
        ("schedule", b'{"purpose": "a.b", "task": "t1"}'),
        ("schedule", b'{"purpose": "portal", "task": "*"}'),
        ("schedule", b'{"purpose": "portal", "task": "a b"}'),
        ("schedule", b'{"purpose": "portal", "task": "' + b"x" * 10_000 + b'"}'),
        ("schedule", b'{"purpose": "portal", "task": "t1", "reserve_ms": 0}'),
        ("schedule", b'{"purpose": "portal", "task": "t1", "reserve_ms": 86400001}'),
        ("schedule", b'{"purpose": "portal"}'),
        ("schedule", b"[]"),
        ("schedule", b"\xff\xfe"),
        ("report_load", b'{"worker": "w1", "load": NaN}'),
        ("report_load", b'{"worker": "w1", "load": -0.1}'),
        ("report_load", b'{"worker": "w1", "load": 1.1}'),
        ("report_state", b'{"worker": "w1", "state": 3}'),
        ("join", b'{"purpose": "portal", "worker": "w2", "info": {"ip": "x", "max_load": 0}}'),
        ("join", b'{"purpose": "portal", "worker": "w2", "info": {"ip": "x", "max_load": 2}}'),
        (
            "join",
            (
                b'{"purpose": "portal", "worker": "w2",'
                b' "info": {"ip": "x", "max_load": 1, "capacity": {"isps": 7}}}'
            ),
        ),
    ],
)
async def test_what_is_wrong_is_refused_and_never_reaches_the_log(
    cluster: TestCluster, method: str, body: bytes
) -> None:
    await cluster.manager()
    manager = cluster.cluster()
    await manager.join("portal", "w1", INFO)
    before = (await cluster.access.store.position()).sequence
    reply = await cluster.access.broker.request(f"rpc.cluster.{method}", body, timeout=2)
    assert (reply.headers or {})["Nats-Service-Error-Code"] == "invalid_argument"
    assert b'"code":"invalid_argument"' in reply.data
    assert (await cluster.access.store.position()).sequence == before


UNKNOWN: dict[str, tuple[str, dict[str, object], Code]] = {
    "a load of nobody": ("report_load", {"worker": "nobody", "load": 0.5}, Code.NO_SUCH_WORKER),
    "a state of nobody": ("report_state", {"worker": "nobody", "state": 2}, Code.NO_SUCH_WORKER),
    "a task picked up by nobody": (
        *("pick_up_tasks", {"worker": "nobody", "tasks": ["t1"]}, Code.NO_SUCH_WORKER),
    ),
    "many tasks picked up by nobody": (
        "pick_up_tasks",
        {"worker": "nobody", "tasks": [f"t{number}" for number in range(1_000)]},
        Code.NO_SUCH_WORKER,
    ),
    "a drain of nobody": ("drain", {"worker": "nobody"}, Code.NO_SUCH_WORKER),
    "a drain of nobody taken back": ("undrain", {"worker": "nobody"}, Code.NO_SUCH_WORKER),
    "who is nobody": ("get_worker", {"worker": "nobody"}, Code.NO_SUCH_WORKER),
    "what nobody runs": ("get_tasks", {"worker": "nobody"}, Code.NO_SUCH_WORKER),
    "a purpose nobody has": ("schedule", {"purpose": "sip", "task": "t1"}, Code.NO_SUCH_PURPOSE),
    "who has that purpose": ("get_workers", {"purpose": "sip"}, Code.NO_SUCH_PURPOSE),
    "a task of that purpose": ("get_scheduled", {"purpose": "sip", "task": "t1"}, Code.NO_SUCH_PURPOSE),
    "why, of that purpose": ("explain", {"purpose": "sip", "task": "t1"}, Code.NO_SUCH_PURPOSE),
    "more time, of that purpose": (
        *("extend", {"purpose": "sip", "task": "t1", "reserve_ms": 5}, Code.NO_SUCH_PURPOSE),
    ),
    "a task that is not there": ("get_scheduled", {"purpose": "portal", "task": "t9"}, Code.NO_SUCH_TASK),
    "why it went nowhere": ("explain", {"purpose": "portal", "task": "t9"}, Code.NO_SUCH_TASK),
    "more time for it": (
        *("extend", {"purpose": "portal", "task": "t9", "reserve_ms": 5}, Code.NO_SUCH_TASK),
    ),
    "a task of a million characters": (
        *("schedule", {"purpose": "portal", "task": "t" * 1_000_000}, Code.INVALID_ARGUMENT),
    ),
    "a method that is not there": ("take_over", {"worker": "w1"}, Code.INVALID_ARGUMENT),
    "an id that another purpose has": (
        "join",
        {"purpose": "sip", "worker": "w1", "info": {"ip": "x", "max_load": 0.9}},
        Code.INVALID_ARGUMENT,
    ),
    "a capacity that is a text": (
        "join",
        {"purpose": "portal", "worker": "w2", "info": {"ip": "x", "max_load": 1, "capacity": "all"}},
        Code.INVALID_ARGUMENT,
    ),
    "codecs that are a number": (
        "join",
        {
            "purpose": "video",
            "worker": "w2",
            "info": {"ip": "x", "max_load": 1, "capacity": {"video": {"encode": [1]}}},
        },
        Code.INVALID_ARGUMENT,
    ),
}


@pytest.mark.parametrize("case", UNKNOWN)
async def test_what_is_unknown_or_wrong_has_its_code_and_disturbs_nobody(
    cluster: TestCluster, case: str
) -> None:
    await cluster.manager()
    manager = cluster.cluster()
    await manager.join("portal", "w1", INFO)
    await manager.report_load("w1", 0.1)
    before = (await cluster.access.store.position()).sequence
    method, arguments, code = UNKNOWN[case]
    body = json.dumps(arguments).encode()
    asking = [cluster.access.broker.request(f"rpc.cluster.{method}", body, timeout=5) for _ in range(3)]
    reserving = [manager.schedule("portal", f"good-{number}") for number in range(3)]
    replies, reserved = await asyncio.gather(asyncio.gather(*asking), asyncio.gather(*reserving))
    assert {(reply.headers or {})["Nats-Service-Error-Code"] for reply in replies} == {code}
    assert {found.worker for found in reserved} == {"w1"}
    commits = cluster.access.store.read(start=before + 1)
    assert {event.subject async for commit in commits for event in commit.events} == {
        *(f"good-{number}" for number in range(3))
    }


@pytest.mark.parametrize("method", ["lay_down_task", "unschedule", "quit", "keep_alive"])
async def test_what_needs_no_worker_is_harmless_without_one(cluster: TestCluster, method: str) -> None:
    await cluster.manager()
    await cluster.cluster().join("portal", "w1", INFO)
    before = (await cluster.access.store.position()).sequence
    arguments = {"worker": "nobody"} | ({"task": "t1"} if method in {"lay_down_task", "unschedule"} else {})
    reply = await cluster.access.broker.request(
        f"rpc.cluster.{method}", json.dumps(arguments).encode(), timeout=5
    )
    assert "Nats-Service-Error-Code" not in (reply.headers or {})
    assert (await cluster.access.store.position()).sequence == before


async def test_a_strategy_that_does_not_exist_ends_the_start(cluster: TestCluster) -> None:
    with pytest.raises(UnknownStrategy, match="there is no strategy 'best'"):
        await cluster.start(ClusterManager, scheduler={"portal": {"strategy": "best"}})


async def test_the_service_shows_itself_to_the_nats_tool(cluster: TestCluster) -> None:
    await cluster.manager()
    reply = await cluster.access.broker.request("$SRV.INFO.cluster-manager", b"", timeout=2)
    assert b"rpc.cluster.schedule" in reply.data


async def long_log(cluster: TestCluster) -> None:
    """Write a log of which an explanation takes a while."""
    boundary = Boundary(Kind.LOAD, "portal")
    scheduler = Boundary(Kind.SCHEDULER, "portal")
    told = WorkerJoined(worker="w0", purpose="portal", info=INFO)
    expected = await cluster.access.store.append(scheduler, [event(told, "w0")], 0)
    for _ in range(300):
        reports = [event(LoadReported(worker="w0", load=each % 9 / 10), "w0") for each in range(128)]
        await cluster.access.store.append(boundary, reports, None, guard=(scheduler, expected))


async def test_tasks_are_placed_while_another_one_is_explained(cluster: TestCluster) -> None:
    await long_log(cluster)
    await cluster.manager()
    await cluster.worker("portal", "w1")
    manager = cluster.cluster()
    await manager.schedule("portal", "t1")
    explaining = asyncio.create_task(cluster.cluster().explain("portal", "t1"))
    placed = 0
    while not explaining.done():
        await manager.schedule("portal", f"other-{placed}")
        placed += 1
    assert (await explaining).agrees
    assert placed >= 10


async def test_who_asks_again_why_gets_the_same_answer_and_too_many_are_refused(cluster: TestCluster) -> None:
    await long_log(cluster)
    await cluster.manager()
    await cluster.worker("portal", "w1")
    placed = await cluster.cluster().schedule("portal", "t1")
    subject = "rpc.cluster.explain"

    def asked(command: str) -> Awaitable[Msg]:
        body = {"purpose": "portal", "task": "t1", "meta": {"command": command}}
        return cluster.access.broker.request(subject, json.dumps(body).encode(), timeout=30)

    same = await asyncio.gather(*[asked("why") for _ in range(20)])
    assert {json.loads(answer.data)["worker"] for answer in same} == {placed.worker}
    others = await asyncio.gather(*[asked(f"why-{number}") for number in range(20)])
    codes = [json.loads(answer.data).get("code") for answer in others]
    assert codes.count(None) == WAITING + 1
    assert codes.count("busy") == 20 - WAITING - 1
