"""A log of sessions, as it would be written by several cluster managers, nodes and portals together.

A portal is reserved, a token issued, somebody joins, the task is picked up, a load is reported, somebody
leaves, the task is laid down, its reservation runs out.
"""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import ClassVar, NamedTuple

from roomledger.domain.room_settings import DEFAULT_ROLES
from roomledger_events.envelope import Event, Payload
from roomledger_events.identifiers import new_id, new_secret_id
from roomledger_events.rooms import (
    Media,
    ParticipantJoined,
    ParticipantLeft,
    Permission,
    RoomCreated,
    RoomSettings,
)
from roomledger_events.subjects import Boundary, Kind
from roomledger_events.tasks import (
    Basis,
    Preference,
    ReservationExpired,
    TaskLaidDown,
    TaskPickedUp,
    WorkerReserved,
)
from roomledger_events.tokens import TokenIssued
from roomledger_events.workers import LoadReported, WorkerInfo, WorkerJoined

WORKERS = 10
"""Of each purpose."""
BOTH = Media(audio=True, video=True)
PRESENTER = Permission(publish=BOTH, subscribe=BOTH)
ORIGIN = Preference(isp="isp1", region="eu")
LIFE = timedelta(minutes=3)


class Session(NamedTuple):
    """One session.

    Attributes:
        token: The token's id.
        code: The portal's task.
        participant: Who joins.
        worker: The portal.
        room: Where to.
        until: When the token runs out.
    """

    token: str
    code: str
    participant: str
    worker: str
    room: str
    until: datetime


Step = Callable[[Session], Payload]


class Sessions:
    """One session after another, in turns for each purpose.

    Args:
        together: So many sessions take place side by side: each of their steps is one commit.
    """

    PURPOSES: ClassVar = (
        "portal", "conference", "webrtc", "streaming", "recording", "sip", "audio", "video",
    )  # fmt: skip  # one line

    def __init__(self, together: int) -> None:
        self._together = together
        self._sessions = 0

    def commits(self) -> Iterator[tuple[Boundary, list[Event]]]:
        """Yield commits, for ever."""
        info = WorkerInfo(ip="127.0.0.1", port=8080, max_load=0.9)
        for purpose in self.PURPOSES:
            settings = RoomSettings(name=purpose, roles=DEFAULT_ROLES)
            room = RoomCreated(room=f"room-{purpose}", service="s1", settings=settings)
            yield _commit(Kind.ROOM, f"room-{purpose}", [room])
            for number in range(WORKERS):
                worker = WorkerJoined(worker=f"{purpose}-{number}", purpose=purpose, info=info)
                yield _commit(Kind.SCHEDULER, purpose, [worker])
        while True:
            yield from self._round()

    def _round(self) -> Iterator[tuple[Boundary, list[Event]]]:
        """Yield a commit of each purpose for each step, so that the boundaries alternate."""
        sessions = {purpose: self._begin(purpose) for purpose in self.PURPOSES}
        for kind, step in STEPS:
            for purpose, those in sessions.items():
                name = f"room-{purpose}" if kind in {Kind.ROOM, Kind.TOKEN} else purpose
                yield _commit(kind, name, [step(each) for each in those])

    def _begin(self, purpose: str) -> list[Session]:
        until = datetime.now(UTC) + LIFE
        self._sessions += self._together
        return [
            Session(
                new_id(),
                new_secret_id(),
                new_id(),
                f"{purpose}-{(self._sessions + number) % WORKERS}",
                f"room-{purpose}",
                until,
            )
            for number in range(self._together)
        ]


def _reserved(of: Session) -> Payload:
    basis = Basis(sequence=1, strategy="last-used", workers=WORKERS, candidates=7, load=0.2)
    return WorkerReserved(
        task=of.code,
        worker=of.worker,
        expires_at=of.until,
        reserve_ms=180_000,
        preference=ORIGIN,
        basis=basis,
    )


def _issued(of: Session) -> Payload:
    return TokenIssued(
        token=of.token,
        code=of.code,
        room=of.room,
        service="s1",
        user="Ada",
        role="presenter",
        portal=of.worker,
        expires_at=of.until,
        origin=ORIGIN,
    )


def _joined(of: Session) -> Payload:
    return ParticipantJoined(
        participant=of.participant,
        user="Ada",
        role="presenter",
        permission=PRESENTER,
        portal=of.worker,
        token=of.token,
        origin=ORIGIN,
    )


STEPS: tuple[tuple[Kind, Step], ...] = (
    (Kind.SCHEDULER, _reserved),
    (Kind.TOKEN, _issued),
    (Kind.ROOM, _joined),
    (Kind.SCHEDULER, lambda of: TaskPickedUp(task=of.code, worker=of.worker)),
    (Kind.LOAD, lambda of: LoadReported(worker=of.worker, load=0.25)),
    (Kind.ROOM, lambda of: ParticipantLeft(participant=of.participant, reason="logout")),
    (Kind.SCHEDULER, lambda of: TaskLaidDown(task=of.code, worker=of.worker, expires_at=of.until)),
    (Kind.SCHEDULER, lambda of: ReservationExpired(task=of.code, worker=of.worker)),
)


def _commit(kind: Kind, name: str, data: list[Payload]) -> tuple[Boundary, list[Event]]:
    now = datetime.now(UTC)
    return Boundary(kind, name), [
        Event.of(each, about=name, id=new_id(), source="benchmark", time=now, correlation=new_id(), actor="b")
        for each in data
    ]
