from roomledger_events.envelope import Payload
from roomledger_events.nodes import NodeAssigned, NodeDied, NodeReady, NodeReleased, NodeStarted, NodeStopped
from roomledger_events.subjects import Boundary
from roomledger_events.tasks import (
    ReservationCancelled,
    ReservationExpired,
    ReservationExtended,
    SchedulingRefused,
    TaskLaidDown,
    TaskPickedUp,
    TaskReleased,
)
from roomledger_events.workers import (
    Capacity,
    LoadReported,
    SchedulerTakenOver,
    VideoCapacity,
    WorkerDrainDeadlineReached,
    WorkerDraining,
    WorkerLost,
    WorkerQuit,
    WorkerStateReported,
    WorkerUndrained,
)
from roomledger_projections import cluster
from roomledger_projections.cluster import CLUSTER
from roomledger_projections.projection import Row
from roomledger_projections.projection_file import ProjectionFile
from tests.support.commits import (
    BASIS,
    CREATED,
    LATER,
    NODES,
    PORTAL,
    PORTAL_LOAD,
    START,
    joined_worker,
    log_of,
    reserved,
)


def known_after(*told: tuple[Boundary, Payload]) -> ProjectionFile:
    known = ProjectionFile(CLUSTER)
    known.take_in(log_of(*told), CREATED)
    return known


def worker_after(*data: Payload) -> Row | None:
    told = [(PORTAL_LOAD if isinstance(each, LoadReported) else PORTAL, each) for each in data]
    return known_after((PORTAL, joined_worker("w1")), *told).ask(cluster.worker, "w1")


def task_after(*data: Payload) -> Row | None:
    there = [(PORTAL, joined_worker("w1")), (PORTAL, joined_worker("w2"))]
    return known_after(*there, *((PORTAL, each) for each in data)).ask(cluster.task, "portal", "k1")


def nodes_after(*data: Payload) -> list[Row]:
    return known_after(*((NODES, each) for each in data)).ask(cluster.nodes_of, "c1")


def test_a_worker_that_joined_is_known_with_what_it_told() -> None:
    capacity = Capacity(regions=("eu",), video=VideoCapacity(encode=("vp8",)), algorithms=("faces",))
    known = known_after(
        (PORTAL, joined_worker("w1", hostname="h", secure=True, capacity=capacity, properties={"rtmp": 1935}))
    )
    assert known.ask(cluster.worker, "w1") == {
        "id": "w1",
        "purpose": "portal",
        "state": None,
        "load": None,
        "load_reported_at": None,
        "max_load": 0.9,
        "draining_since": None,
        "drain_deadline": None,
        "ip": "127.0.0.1",
        "hostname": "h",
        "port": 8080,
        "secure": True,
        "via_host": None,
        "isps": [],
        "regions": ["eu"],
        "video_encode": ["vp8"],
        "video_decode": [],
        "algorithms": ["faces"],
        "properties": {"rtmp": 1935},
        "joined_at": "2026-01-01T00:00:01.000000Z",
        "joined_sequence": 1,
    }


def test_a_worker_that_joins_again_keeps_its_place_its_load_and_its_tasks() -> None:
    known = known_after(
        (PORTAL, joined_worker("w1")),
        (PORTAL_LOAD, LoadReported(worker="w1", load=0.5)),
        (PORTAL, reserved("k1")),
        (PORTAL, joined_worker("w1", port=9999)),
    )
    row = known.ask(cluster.worker, "w1")
    assert row is not None
    assert (row["port"], row["joined_sequence"], row["load"]) == (9999, 1, 0.5)
    assert len(known.ask(cluster.tasks_of, worker="w1")) == 1


def test_a_worker_that_quit_is_gone_with_its_tasks() -> None:
    known = known_after(
        (PORTAL, joined_worker("w1")), (PORTAL, reserved("k1")), (PORTAL, WorkerQuit(worker="w1"))
    )
    assert known.ask(cluster.worker, "w1") is None
    assert known.ask(cluster.task, "portal", "k1") is None


def test_a_worker_that_was_lost_is_gone_with_its_tasks_running_or_reserved() -> None:
    known = known_after(
        (PORTAL, joined_worker("w1")),
        (PORTAL, reserved("k1")),
        (PORTAL, TaskPickedUp(task="k1", worker="w1")),
        (PORTAL, reserved("k2")),
        (PORTAL, WorkerLost(worker="w1", silent_ms=3000)),
    )
    assert known.ask(cluster.workers_of) == []
    assert known.ask(cluster.tasks_of) == []


def test_a_worker_has_the_state_that_it_reported_last() -> None:
    row = worker_after(WorkerStateReported(worker="w1", state=1), WorkerStateReported(worker="w1", state=2))
    assert row is not None
    assert row["state"] == 2


def test_a_worker_has_the_load_that_it_reported_last() -> None:
    row = worker_after(LoadReported(worker="w1", load=0.1), LoadReported(worker="w1", load=0.4))
    assert row is not None
    assert (row["load"], row["load_reported_at"]) == (0.4, "2026-01-01T00:00:03.000000Z")


def test_a_draining_worker_says_since_when_and_until_when() -> None:
    row = worker_after(WorkerDraining(worker="w1", deadline=LATER))
    assert row is not None
    assert (row["draining_since"], row["drain_deadline"]) == (
        "2026-01-01T00:00:02.000000Z",
        "2026-01-01T01:00:00.000000Z",
    )


def test_a_worker_still_drains_when_the_deadline_was_reached() -> None:
    row = worker_after(WorkerDraining(worker="w1"), WorkerDrainDeadlineReached(worker="w1", tasks_left=1))
    assert row is not None
    assert row["draining_since"] is not None


def test_a_worker_that_was_undrained_does_not_drain() -> None:
    row = worker_after(WorkerDraining(worker="w1", deadline=LATER), WorkerUndrained(worker="w1"))
    assert row is not None
    assert (row["draining_since"], row["drain_deadline"]) == (None, None)


def test_the_workers_of_a_purpose_come_in_joining_order() -> None:
    known = known_after((PORTAL, joined_worker("z")), (PORTAL, joined_worker("a")))
    assert [row["id"] for row in known.ask(cluster.workers_of, "portal")] == ["z", "a"]
    assert known.ask(cluster.workers_of, "audio") == []


def test_a_purpose_names_the_manager_that_decides() -> None:
    known = known_after((PORTAL, SchedulerTakenOver(manager="m1", epoch=3)), (PORTAL, joined_worker("w1")))
    assert known.ask(cluster.purposes) == [
        {"id": "portal", "manager": "m1", "epoch": 3, "taken_over_at": "2026-01-01T00:00:01.000000Z"}
    ]


def test_a_reserved_task_is_held_for_its_worker_for_its_time() -> None:
    assert task_after(reserved("k1")) == {
        "purpose": "portal",
        "id": "k1",
        "worker": "w1",
        "state": "reserved",
        "since": "2026-01-01T00:00:03.000000Z",
        "expires_at": "2026-01-01T01:00:00.000000Z",
        "reserve_ms": 60_000,
        "isp": "isp1",
        "region": "r1",
        "decided_sequence": 3,
    }


def test_an_extended_reservation_lasts_longer() -> None:
    longer = ReservationExtended(task="k1", worker="w1", reserve_ms=7, expires_at=LATER)
    task = task_after(reserved("k1", expires_at=START), longer)
    assert task is not None
    assert (task["reserve_ms"], task["expires_at"]) == (7, "2026-01-01T01:00:00.000000Z")


def test_a_running_task_has_no_end_also_when_it_is_extended() -> None:
    task = task_after(
        reserved("k1"),
        TaskPickedUp(task="k1", worker="w1"),
        ReservationExtended(task="k1", worker="w1", reserve_ms=7),
    )
    assert task is not None
    assert (task["state"], task["expires_at"], task["reserve_ms"]) == ("running", None, 7)


def test_a_task_runs_on_the_worker_that_picked_it_up() -> None:
    task = task_after(reserved("k1"), TaskPickedUp(task="k1", worker="w2", reserved_for="w1"))
    assert task is not None
    assert (task["worker"], task["state"], task["decided_sequence"]) == ("w2", "running", 3)


def test_a_task_that_was_laid_down_is_reserved_again() -> None:
    task = task_after(
        reserved("k1"),
        TaskPickedUp(task="k1", worker="w1"),
        TaskLaidDown(task="k1", worker="w1", expires_at=LATER),
    )
    assert task is not None
    assert (task["state"], task["expires_at"]) == ("reserved", "2026-01-01T01:00:00.000000Z")


def test_a_cancelled_reservation_is_gone() -> None:
    assert task_after(reserved("k1"), ReservationCancelled(task="k1", worker="w1")) is None


def test_an_expired_reservation_is_gone() -> None:
    assert task_after(reserved("k1"), ReservationExpired(task="k1", worker="w1")) is None


def test_a_released_task_is_gone() -> None:
    taken = TaskPickedUp(task="k1", worker="w1")
    assert task_after(taken, TaskReleased(task="k1", worker="w1", reason="drained")) is None


def test_a_task_that_another_worker_took_over_is_not_released_by_its_former_one() -> None:
    task = task_after(
        TaskPickedUp(task="k1", worker="w2"), TaskReleased(task="k1", worker="w1", reason="taken")
    )
    assert task is not None
    assert task["worker"] == "w2"


def test_a_refused_task_is_not_known() -> None:
    assert task_after(SchedulingRefused(task="k1", reason="no_match", basis=BASIS)) is None


def test_tasks_are_found_by_purpose_worker_and_state() -> None:
    known = known_after(
        (PORTAL, joined_worker("w1")),
        (PORTAL, reserved("k1")),
        (PORTAL, reserved("k2")),
        (PORTAL, TaskPickedUp(task="k2", worker="w1")),
    )
    assert [row["id"] for row in known.ask(cluster.tasks_of)] == ["k1", "k2"]
    assert [row["id"] for row in known.ask(cluster.tasks_of, worker="w1", state="running")] == ["k2"]
    assert known.ask(cluster.tasks_of, purpose="audio") == []


def test_a_started_node_is_not_ready_yet() -> None:
    assert [(row["id"], row["state"]) for row in nodes_after(NodeStarted(node="n1"))] == [("n1", "started")]


def test_a_ready_node_runs_the_rooms_that_it_was_given() -> None:
    rows = nodes_after(NodeStarted(node="n1"), NodeReady(node="n1"), NodeAssigned(node="n1", room="r1"))
    assert rows == [
        {
            "worker": "c1",
            "id": "n1",
            "state": "ready",
            "since": "2026-01-01T00:00:02.000000Z",
            "rooms": ["r1"],
        }
    ]


def test_a_node_does_not_run_a_room_that_it_was_released_of() -> None:
    rows = nodes_after(
        NodeReady(node="n1"), NodeAssigned(node="n1", room="r1"), NodeReleased(node="n1", room="r1")
    )
    assert rows[0]["rooms"] == []


def test_a_stopped_node_is_gone() -> None:
    assert nodes_after(NodeReady(node="n1"), NodeStopped(node="n1", reason="recycled")) == []


def test_a_node_that_died_is_gone_with_its_rooms() -> None:
    told = (NodeReady(node="n1"), NodeAssigned(node="n1", room="r1"), NodeDied(node="n1", reason="hung"))
    assert nodes_after(*told, NodeStarted(node="n1"))[0]["rooms"] == []
