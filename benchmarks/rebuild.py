"""How fast everything is rebuilt from the log: each projection and the managers' state, and how that grows.

A log of sessions is made in steps, with one event a commit and with 32. At each step the managers' state and
the projections are rebuilt from it, and a manager is started from its snapshot. The same number of events is
folded by eventsourcing (https://github.com/pyeventsourcing/eventsourcing), kept in memory, which is the
counterpart of the managers' state, and in SQLite, which is that of the projections. In brackets is how long
SQLite takes for nothing but the rows that a projection has at the end.
"""

import argparse
import asyncio
import gc
import os
import shutil
import sqlite3
import tempfile
import time
from collections import deque
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

import uvloop
from eventsourcing.application import Application
from eventsourcing.domain import Aggregate, event

from benchmarks.figures import report, server
from benchmarks.sessions import WORKERS, Sessions
from roomledger.cli import log_lines
from roomledger.domain.scheduler import SCHEDULER
from roomledger.domain.scheduler_snapshot import freeze
from roomledger.event_store.connection import Connection, connect
from roomledger.event_store.jetstream import JetStreamStore
from roomledger.event_store.layout import Layout
from roomledger.processes.cluster_manager.following import Following
from roomledger.processes.cluster_manager.snapshots import Snapshots, Taken
from roomledger.runtime.garbage import collect_rarely
from roomledger.runtime.projection_rebuild import rebuild
from roomledger.runtime.projector import Projector
from roomledger.runtime.purposes import settings_of
from roomledger.settings import Settings
from roomledger_events.envelope import encode
from roomledger_events.subjects import Kind
from roomledger_projections import PROJECTIONS
from roomledger_projections.directory import live_path
from roomledger_projections.statements import NULL

TOGETHER = (1, 32)
IN_FLIGHT = 512
OF_AN_AGGREGATE = 1_000
"""So many events does each of the other library's aggregates have."""


class Watch:
    """Measures how long a block takes, in wall clock and in this process's processor time, in seconds."""

    def __enter__(self) -> Self:
        gc.collect()
        self._begun = time.perf_counter(), time.process_time()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds = time.perf_counter() - self._begun[0]
        self.processor = time.process_time() - self._begun[1]


def row(together: int | str, what: str, log: int, events: int, watch: Watch) -> dict[str, Any]:
    """Return a line of the report."""
    return {
        "events a commit": together,
        "what": what,
        "events in the log": log,
        "events taken in": events,
        "seconds": watch.seconds,
        "events/s": round(events / watch.seconds),
        "by processor time": round(events / watch.processor),
    }


class Log:
    """A log that grows."""

    def __init__(self, connection: Connection, store: JetStreamStore, together: int) -> None:
        self.events = 0
        self.of_schedulers = 0
        self._connection = connection
        self._store = store
        self._commits = Sessions(together).commits()

    async def grow(self, events: int) -> None:
        """Append until there are so many events, with many commits on their way at once."""
        under_way: deque[asyncio.Future[Any]] = deque()
        while self.events < events:
            boundary, told = next(self._commits)
            self.events += len(told)
            if boundary.kind in {Kind.SCHEDULER, Kind.LOAD}:
                self.of_schedulers += len(told)
            subject = self._store.layout.subjects.of(boundary)
            under_way.append(
                asyncio.ensure_future(self._connection.request(subject, encode(told), timeout=30))
            )
            if len(under_way) >= IN_FLIGHT:
                assert b"error" not in (await under_way.popleft()).data
        for answer in await asyncio.gather(*under_way):
            assert b"error" not in answer.data


async def measure(together: int, steps: list[int]) -> list[dict[str, Any]]:
    """Return the figures of a log with so many events a commit."""
    rows: list[dict[str, Any]] = []
    async with server() as (nats, path):
        connection = await connect(nats.url, "service", nats.credentials["service"])
        store = await JetStreamStore.open(connection, Layout())
        log = Log(connection, store, together)
        for step in steps:
            with Watch() as watch:
                before = log.events
                await log.grow(step)
            rows.append(row(together, "(appended)", log.events, log.events - before, watch))
            rows += await managers(together, log, connection, store)
            rows += await projections(together, log.events, store, path)
        await connection.close()
    return rows


async def managers(
    together: int, log: Log, connection: Connection, store: JetStreamStore
) -> list[dict[str, Any]]:
    """Return how fast the managers' state is there: from all of the log, and from a snapshot."""
    settings = Settings()
    deciders = {name: SCHEDULER(settings_of(settings, name)) for name in Sessions.PURPOSES}
    following = Following(store, deciders.__getitem__)
    with Watch() as watch:
        await following.catch_up()
    rows = [row(together, "managers' state", log.events, log.of_schedulers, watch)]
    assert all(len(each.state.workers) == WORKERS for each in following.purposes.values())
    snapshots = Snapshots(connection, store, bucket="ROOMLEDGER_SNAPSHOTS")
    kept = {
        name: Taken(freeze(each.state), each.sequence, following.sequence, {})
        for name, each in following.purposes.items()
    }
    assert await snapshots.save(await snapshots.bookmark(), kept)
    again = Following(store, deciders.__getitem__)
    with Watch() as watch:
        found = await snapshots.load()
        assert found is not None
        again.begin(*found)
        await again.catch_up()
    rows.append(row(together, "managers' state from a snapshot", log.events, log.of_schedulers, watch))
    for name, each in following.purposes.items():
        assert freeze(again.purposes[name].state) == freeze(each.state), "a snapshot led to another state"
    return rows


async def projections(together: int, log: int, store: JetStreamStore, path: Path) -> list[dict[str, Any]]:
    """Return how fast each projection is rebuilt, and all of them by a projector that starts."""
    rows = []
    for projection in PROJECTIONS:
        with Watch() as watch:
            done = await rebuild(store, path / "projections", projection)
        rows.append(row(together, f"projection {projection.name}", log, done.events, watch))
        watch = bare(live_path(path / "projections", projection), path / "bare.sqlite")
        rows.append(row(together, f"(only rows of {projection.name})", log, done.events, watch))
    fresh = path / f"projections-{log}"
    projector = Projector(store, fresh)
    with Watch() as watch:
        await projector.start()
        await projector.caught_up(timeout_s=3600)
    await projector.stop()
    shutil.rmtree(fresh)
    rows.append(row(together, "all projections at once", log, log, watch))
    return rows


def bare(live: Path, path: Path) -> Watch:
    """Measure how long SQLite takes for the rows of a projection alone, as they are at the end of the log."""

    def rows_of(table: str) -> list[tuple[Any, ...]]:
        found = known.execute(f'SELECT * FROM "{table}"')  # noqa: S608  - our own names
        return [tuple(NULL if value is None else value for value in row) for row in found]

    with closing(sqlite3.connect(live)) as known:
        made = known.execute("SELECT type, name, sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall()
        found = {name: rows_of(name) for kind, name, _ in made if kind == "table"}
    with Watch() as watch, closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        for kind in ("table", "index"):
            for name, sql in [(name, sql) for each, name, sql in made if each == kind]:
                db.execute(sql)
                if kind == "table" and found[name]:
                    places = ", ".join("?" * len(found[name][0]))
                    db.execute("BEGIN")
                    db.executemany(f'INSERT INTO "{name}" VALUES ({places})', found[name])  # noqa: S608  - our own names
                    db.execute("COMMIT")
    path.unlink()
    return watch


class Counter(Aggregate):
    """What the other library folds: a task is reserved, the smallest of what a scheduler takes in."""

    @event("Begun")
    def __init__(self, name: str) -> None:
        self.name = name
        self.held: dict[str, str] = {}

    @event("Reserved")
    def reserve(self, task: str, worker: str, expires_at: str, reserve_ms: int) -> None:
        """Hold a task for a worker."""
        del expires_at, reserve_ms
        self.held[task] = worker


def others(events: int) -> Iterator[dict[str, Any]]:
    """Yield how fast eventsourcing folds as many events."""
    until = (datetime.now(UTC) + timedelta(minutes=3)).isoformat()
    with tempfile.TemporaryDirectory(prefix="roomledger-benchmark-") as path:
        for what, environment in (
            ("eventsourcing, in memory", {"PERSISTENCE_MODULE": "eventsourcing.popo"}),
            (
                "eventsourcing, SQLite",
                {"PERSISTENCE_MODULE": "eventsourcing.sqlite", "SQLITE_DBNAME": os.path.join(path, "db")},  # noqa: PTH118  - text is asked for
            ),
        ):
            application: Application[Any] = Application(env=environment)
            ids = []
            for number in range(max(1, events // OF_AN_AGGREGATE)):
                aggregate = Counter(name=f"a{number}")
                for place in range(OF_AN_AGGREGATE - 1):
                    aggregate.reserve(f"t{place}", f"w{place % WORKERS}", until, 180_000)
                application.save(aggregate)
                ids.append(aggregate.id)
            taken_in = len(ids) * OF_AN_AGGREGATE
            with Watch() as watch:
                for each in ids:
                    found: Any = application.repository.get(each)
                    assert len(found.held) == OF_AN_AGGREGATE - 1
            application.close()
            yield row("", what, taken_in, taken_in, watch)


def compared(rows: list[dict[str, Any]], baselines: list[dict[str, Any]]) -> None:
    """Add to each line how many times as fast it is as the other library."""
    for line in rows:
        for name, baseline in zip(("times in memory", "times SQLite"), baselines, strict=True):
            line[name] = round(line["events/s"] / baseline["events/s"], 1)


def growth(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return how much longer everything takes with the largest log than with the smallest one."""
    found = []
    names = dict.fromkeys((line["events a commit"], line["what"]) for line in rows)
    for together, what in names:
        lines = [line for line in rows if (line["events a commit"], line["what"]) == (together, what)]
        first, last = lines[0], lines[-1]
        more = last["events in the log"] / first["events in the log"]
        found.append({
            "events a commit": together,
            "what": what,
            "from": first["events in the log"],
            "to": last["events in the log"],
            "as many events": round(more, 1),
            "as much time": round(last["seconds"] / first["seconds"], 2),
            "events/s at the end to those at the beginning": round(last["events/s"] / first["events/s"], 2),
        })  # fmt: skip  # a line each
    return found


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--json", action="store_true", help="print lines of JSON")
    arguments = parser.parse_args()
    log_lines.set_up()
    collect_rarely()  # as the commands do that rebuild
    steps = sorted({max(arguments.events // part, 1_000) for part in (100, 10, 1)})
    rows: list[dict[str, Any]] = []
    for together in TOGETHER:
        rows += uvloop.run(measure(together, steps))
        gc.collect()
    baselines = list(others(arguments.events))
    rows += baselines
    compared(rows, baselines)
    report("rebuild", rows, as_json=arguments.json)
    report("rebuild: growth", growth(rows[: -len(baselines)]), as_json=arguments.json)


if __name__ == "__main__":
    main()
