"""Commits as a log would hold them, for tests of what is folded from it; and a log that tells a whole day."""

from datetime import UTC, datetime, timedelta
from typing import Final

from hypothesis import strategies as st

from roomledger_events.envelope import Commit, Event, Payload
from roomledger_events.nodes import NodeAssigned, NodeDied, NodeReady, NodeReleased, NodeStarted, NodeStopped
from roomledger_events.rooms import (
    ControllerReleased,
    ControllerTakenOver,
    JoinRefused,
    Media,
    ParticipantAway,
    ParticipantBack,
    ParticipantJoined,
    ParticipantLeft,
    Permission,
    PermissionChanged,
    Role,
    RoomChanged,
    RoomCreated,
    RoomDeleted,
    RoomSettings,
    TextSent,
    View,
)
from roomledger_events.subjects import Boundary, Kind
from roomledger_events.tasks import (
    Basis,
    Preference,
    ReservationCancelled,
    ReservationExpired,
    ReservationExtended,
    SchedulingRefused,
    TaskLaidDown,
    TaskPickedUp,
    TaskReleased,
    WorkerReserved,
)
from roomledger_events.tokens import TokenIssued, TokenRevoked
from roomledger_events.workers import (
    Capacity,
    LoadReported,
    SchedulerTakenOver,
    WorkerDrainDeadlineReached,
    WorkerDraining,
    WorkerInfo,
    WorkerJoined,
    WorkerLost,
    WorkerQuit,
    WorkerStateReported,
    WorkerUndrained,
)

START: Final = datetime(2026, 1, 1, tzinfo=UTC)
"""When the first commit of a log is stored; each further one a second later."""
CREATED: Final = "2026-01-01T00:00:00Z"
"""When the log of these commits was created."""
LATER: Final = START + timedelta(hours=1)
PORTAL: Final = Boundary(Kind.SCHEDULER, "portal")
PORTAL_LOAD: Final = Boundary(Kind.LOAD, "portal")
ROOM: Final = Boundary(Kind.ROOM, "r1")
TOKENS: Final = Boundary(Kind.TOKEN, "r1")
NODES: Final = Boundary(Kind.NODES, "c1")
BASIS: Final = Basis(sequence=1, strategy="last-used", workers=1, candidates=1)
BOTH: Final = Media(audio=True, video=True)
PRESENTER: Final = Permission(publish=BOTH, subscribe=BOTH)
SETTINGS: Final = RoomSettings(
    name="Room one",
    participant_limit=10,
    roles=(Role(role="presenter", publish=BOTH, subscribe=BOTH), Role(role="viewer", subscribe=BOTH)),
    views=(View(label="common"),),
)


def commit(sequence: int, boundary: Boundary, *data: Payload) -> Commit:
    """Return a commit, stored as many seconds after `START` as its sequence says."""
    time = START + timedelta(seconds=sequence)
    return Commit(
        sequence, boundary, time, tuple(_event(each, f"e{sequence}.{i}", time) for i, each in enumerate(data))
    )


def log_of(*told: tuple[Boundary, Payload] | tuple[Boundary, tuple[Payload, ...]]) -> list[Commit]:
    """Return the commits of a log, one for each boundary and what happened there."""
    return [
        commit(number, boundary, *(data if isinstance(data, tuple) else (data,)))
        for number, (boundary, data) in enumerate(told, 1)
    ]


def joined_worker(worker: str, **info: object) -> WorkerJoined:
    about = {"ip": "127.0.0.1", "port": 8080, "max_load": 0.9, "capacity": Capacity(isps=("isp1",))} | info
    return WorkerJoined(worker=worker, purpose="portal", info=WorkerInfo(**about))  # type: ignore[arg-type]  # by name


def reserved(task: str, worker: str = "w1", expires_at: datetime = LATER) -> WorkerReserved:
    wish = Preference(isp="isp1", region="r1")
    return WorkerReserved(
        task=task, worker=worker, expires_at=expires_at, reserve_ms=60_000, preference=wish, basis=BASIS
    )


def issued(token: str, expires_at: datetime = LATER) -> TokenIssued:
    return TokenIssued(
        token=token,
        code=f"code-{token}",
        room="r1",
        service="s1",
        user="Ada",
        role="presenter",
        portal="w1",
        expires_at=expires_at,
        origin=Preference(isp="isp1", region="r1"),
    )


def created() -> RoomCreated:
    return RoomCreated(room="r1", service="s1", settings=SETTINGS)


def joined(participant: str, token: str = "t1") -> ParticipantJoined:
    return ParticipantJoined(
        participant=participant, user="Ada", role="presenter", permission=PRESENTER, portal="w1", token=token
    )


def _event(data: Payload, event_id: str, time: datetime) -> Event:
    return Event.of(
        data, about="x", id=event_id, source="tests/1", time=time, correlation="c", actor="service:s1"
    )


def _any_told() -> st.SearchStrategy[tuple[Boundary, Payload]]:
    """Any event whatever about a few workers, tasks, rooms and tokens, in any order, possible or not."""
    few = st.sampled_from
    workers, tasks, tokens, people = (
        few(["w1", "w2"]),
        few(["k1", "k2"]),
        few(["t1", "t2"]),
        few(["p1", "p2"]),
    )
    nodes, rooms, purposes = few(["n1", "n2"]), few(["r1", "r2"]), few(["portal", "audio"])
    times = few([START, START + timedelta(seconds=3, microseconds=7), LATER])
    builds, just = st.builds, st.just
    settings = few([SETTINGS, RoomSettings(name="Other")])
    permissions = few([PRESENTER, Permission()])
    infos = few([WorkerInfo(ip="10.0.0.1", max_load=0.5), WorkerInfo(ip="10.0.0.2", max_load=1.0)])
    scheduler: list[st.SearchStrategy[Payload]] = [
        builds(SchedulerTakenOver, manager=workers, epoch=st.integers(1, 9)),
        builds(WorkerJoined, worker=workers, purpose=purposes, info=infos),
        builds(WorkerQuit, worker=workers),
        builds(WorkerLost, worker=workers, silent_ms=just(3000)),
        builds(WorkerStateReported, worker=workers, state=st.integers(0, 2)),
        builds(WorkerDraining, worker=workers, deadline=st.none() | times),
        builds(WorkerDrainDeadlineReached, worker=workers, tasks_left=just(1)),
        builds(WorkerUndrained, worker=workers),
        builds(reserved, tasks, workers, times),
        builds(
            ReservationExtended, task=tasks, worker=workers, reserve_ms=just(9), expires_at=st.none() | times
        ),
        builds(ReservationCancelled, task=tasks, worker=workers),
        builds(ReservationExpired, task=tasks, worker=workers),
        builds(TaskPickedUp, task=tasks, worker=workers),
        builds(TaskLaidDown, task=tasks, worker=workers, expires_at=times),
        builds(TaskReleased, task=tasks, worker=workers, reason=just("drained")),
        builds(SchedulingRefused, task=tasks, reason=just("no_match"), basis=just(BASIS)),
    ]
    room: list[st.SearchStrategy[Payload]] = [
        builds(RoomCreated, room=rooms, service=just("s1"), settings=settings),
        builds(RoomChanged, room=rooms, settings=settings),
        builds(RoomDeleted, room=rooms),
        builds(ControllerTakenOver, room=rooms, worker=workers, node=nodes, epoch=st.integers(1, 9)),
        builds(ControllerReleased, room=rooms, node=nodes, epoch=st.integers(1, 9)),
        builds(joined, people, tokens),
        builds(JoinRefused, participant=people, token=tokens, reason=just("room_full")),
        builds(ParticipantAway, participant=people, portal=workers, back_by=st.none() | times),
        builds(ParticipantBack, participant=people, portal=workers),
        builds(ParticipantLeft, participant=people, reason=just("logout")),
        builds(PermissionChanged, participant=people, permission=permissions),
        builds(TokenRevoked, token=tokens),
    ]
    node: list[st.SearchStrategy[Payload]] = [
        builds(NodeStarted, node=nodes),
        builds(NodeReady, node=nodes),
        builds(NodeAssigned, node=nodes, room=rooms),
        builds(NodeReleased, node=nodes, room=rooms),
        builds(NodeStopped, node=nodes, reason=just("quit")),
        builds(NodeDied, node=nodes, reason=just("hung")),
    ]
    text = builds(TextSent, sender=people, to=just("all"), message=just("hi"))
    load = builds(LoadReported, worker=workers, load=st.sampled_from([0.0, 0.25, 1.0]))

    def of(kind: Kind, names: st.SearchStrategy[str], data: st.SearchStrategy[Payload]) -> _Told:
        return st.tuples(st.builds(Boundary, st.just(kind), names), data)

    return st.one_of(
        of(Kind.SCHEDULER, purposes, st.one_of(scheduler)),
        of(Kind.ROOM, rooms, st.one_of(room)),
        of(Kind.NODES, workers, st.one_of(node)),
        of(Kind.TOKEN, rooms, builds(issued, tokens, times)),
        of(Kind.LOAD, purposes, load),
        of(Kind.TEXT, rooms, text),
    )


_Told = st.SearchStrategy[tuple[Boundary, Payload]]
logs: Final[st.SearchStrategy[list[Commit]]] = st.lists(_any_told(), max_size=60).map(
    lambda told: log_of(*told)
)
"""Any log whatever."""
