"""How fast the log becomes knowledge again: read, decoded, folded into the projections, replayed whole.

A log of sessions is made first, through the store, one event a commit and 32 a commit: a portal is reserved,
a token issued, somebody joins, the task is picked up, a load is reported, somebody leaves, the task is laid
down and its reservation runs out.
"""

import argparse
import asyncio
import gc
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from benchmarks.figures import percentile, report, server
from benchmarks.sessions import LIFE, STEPS, WORKERS, Session, Sessions
from roomledger.domain.room_settings import DEFAULT_ROLES
from roomledger.event_store.connection import connect
from roomledger.event_store.jetstream import JetStreamStore
from roomledger.event_store.layout import Layout
from roomledger.event_store.store import EventStore
from roomledger.runtime.arrivals import BATCH_EVENTS
from roomledger.runtime.projector import Projector
from roomledger.runtime.rebuilding import rebuilt
from roomledger_events.catalogue import decode
from roomledger_events.envelope import Commit, Event, Payload, encode
from roomledger_events.identifiers import new_id, new_secret_id
from roomledger_events.rooms import (
    RoomCreated,
    RoomSettings,
)
from roomledger_events.subjects import GUARDED, Boundary, Kind
from roomledger_events.tasks import (
    WorkerReserved,
)
from roomledger_events.workers import WorkerInfo, WorkerJoined
from roomledger_projections import PROJECTIONS
from roomledger_projections.cluster import CLUSTER
from roomledger_projections.projection_file import ProjectionFile

TOGETHER = (1, 32)
CREATED = "2026-01-01T00:00:00Z"


class Lane:
    """One purpose and one room, in which one session after another takes place."""

    def __init__(self, store: EventStore, purpose: str, together: int) -> None:
        self._store = store
        self._together = together
        self._purpose = purpose
        self._room = f"room-{purpose}"
        self._last: dict[Boundary, int] = {}
        self._sessions = 0

    async def run(self, sessions: int) -> None:
        settings = RoomSettings(name=self._room, roles=DEFAULT_ROLES)
        await self._append(Kind.ROOM, [RoomCreated(room=self._room, service="s1", settings=settings)])
        info = WorkerInfo(ip="127.0.0.1", port=8080, max_load=0.9)
        for number in range(WORKERS):
            joined = WorkerJoined(worker=self._worker(number), purpose=self._purpose, info=info)
            await self._append(Kind.SCHEDULER, [joined])
        for _ in range(0, sessions, self._together):
            await self._hold(self._together)

    async def _hold(self, sessions: int) -> None:
        """Let sessions take place side by side: each of their steps is one commit."""
        until = datetime.now(UTC) + LIFE
        workers = [self._worker(self._sessions + number) for number in range(sessions)]
        those = [
            Session(new_id(), new_secret_id(), new_id(), worker, self._room, until) for worker in workers
        ]
        self._sessions += sessions
        for kind, step in STEPS:
            await self._append(kind, [step(each) for each in those])

    async def _append(self, kind: Kind, data: list[Payload]) -> None:
        name = self._room if kind in {Kind.ROOM, Kind.TOKEN} else self._purpose
        boundary = Boundary(kind, name)
        now = datetime.now(UTC)
        events = [
            Event.of(
                each, about=name, id=new_id(), source="benchmark", time=now, correlation=new_id(), actor="b"
            )
            for each in data
        ]
        expected = self._last.get(boundary, 0) if kind in GUARDED else None
        self._last[boundary] = await self._store.append(boundary, events, expected)

    def _worker(self, number: int) -> str:
        return f"{self._purpose}-{number % WORKERS}"


class Watch:
    """Measures a stretch of work, in wall clock time and in this process's processor time."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.processor = 0.0
        self.laps: list[float] = []

    def __enter__(self) -> Self:
        self._begin = time.perf_counter(), time.process_time()
        return self

    def __exit__(self, *_: object) -> None:
        self.laps.append(time.perf_counter() - self._begin[0])
        self.seconds += self.laps[-1]
        self.processor += time.process_time() - self._begin[1]


async def measure(together: int, events: int) -> list[dict[str, Any]]:
    """Return the figures of a log with so many events a commit."""
    async with server() as (nats, path):
        connection = await connect(nats.url, "service", nats.credentials["service"])
        store = await JetStreamStore.open(connection, Layout(load_ttl_s=24 * 3600))
        sessions = events // len(STEPS) // len(Sessions.PURPOSES)
        with Watch() as appending:
            await asyncio.gather(
                *(Lane(store, purpose, together).run(sessions) for purpose in Sessions.PURPOSES)
            )
        with Watch() as reading:
            commits = [commit async for commit in store.read()]
        count = sum(len(commit.events) for commit in commits)
        rows = [
            row(together, "appended to 8 boundaries", count, appending),
            row(together, "read and decoded", count, reading),
            decoded(together, commits, count),
            *folded(together, commits, count),
        ]
        del commits
        with Watch() as replaying:
            (await rebuilt(store)).close()
        rows.append(row(together, "replayed in memory", count, replaying))
        projector = Projector(store, path / "projections")
        with Watch() as projecting:
            await projector.start()
            await projector.caught_up(timeout_s=600)
        rows.append(row(together, "projected into files", count, projecting))
        await projector.stop()
        await connection.close()
        return rows


def decoded(together: int, commits: list[Commit], events: int) -> dict[str, Any]:
    """Return how fast bodies become commits."""
    bodies = [(commit.sequence, commit.boundary, commit.time, encode(commit.events)) for commit in commits]
    with Watch() as watch:
        for body in bodies:
            decode(*body)
    return row(together, "decoded alone", events, watch)


def folded(together: int, commits: list[Commit], events: int) -> list[dict[str, Any]]:
    """Return how fast commits become rows: by each projection, by all, and of upserts alone."""
    found = []
    every = Watch()
    with tempfile.TemporaryDirectory(prefix="roomledger-benchmark-") as path:
        for projection in PROJECTIONS:
            watch = fold(commits, ProjectionFile(projection, Path(path) / projection.name), together)
            concerned = [commit for commit in commits if commit.boundary.kind in projection.kinds]
            found.append(row(together, f"folded: {projection.name}", _events(concerned), watch, batches=True))
            every.seconds += watch.seconds
            every.processor += watch.processor
        found.append(row(together, "folded: all", events, every))
        reservations = [commit for commit in commits if isinstance(commit.events[0].data, WorkerReserved)]
        watch = fold(reservations, ProjectionFile(CLUSTER, Path(path) / "upserts"), together)
        found.append(row(together, "folded: reservations", _events(reservations), watch, batches=True))
    return found


def fold(commits: list[Commit], file: ProjectionFile, together: int) -> Watch:
    """Fold commits in, in transactions as large as the projector's may become."""
    watch = Watch()
    size = max(1, BATCH_EVENTS // together)
    for start in range(0, len(commits), size):
        with watch:
            file.take_in(commits[start : start + size], CREATED)
    file.close()
    return watch


def row(together: int, what: str, events: int, watch: Watch, *, batches: bool = False) -> dict[str, Any]:
    """Return a line of the report; the processor's figure is what an idle machine would allow."""
    return {
        "events a commit": together,
        "what": what,
        "events": events,
        "events/s": round(events / watch.seconds),
        "by processor time": round(events / watch.processor),
        "batch p50 ms": percentile(watch.laps, 0.5) * 1000 if batches else "",
        "batch p99 ms": percentile(watch.laps, 0.99) * 1000 if batches else "",
    }


def _events(commits: list[Commit]) -> int:
    return sum(len(commit.events) for commit in commits)


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--json", action="store_true", help="print a line of JSON")
    arguments = parser.parse_args()
    rows = []
    for together in TOGETHER:
        rows += asyncio.run(measure(together, arguments.events))
        gc.collect()
    report("replay", rows, as_json=arguments.json)


if __name__ == "__main__":
    main()
