"""The cluster: purposes, workers, their tasks and the nodes of conference workers."""

import json
import sqlite3
from collections.abc import Iterable
from typing import Final

from roomledger_events import nodes, tasks, workers
from roomledger_events.envelope import Commit, Event, to_json
from roomledger_projections.projection import (
    Projection,
    Row,
    Table,
    Values,
    each,
    moment,
    on,
    rows,
    where,
)
from roomledger_projections.statements import change, put, remove, sql_on

# -- Tables

_WORKER: Final = (("worker",), "workers", ("id",))
_PURPOSE: Final = (("purpose",), "purposes", ("id",))
TABLES: Final = {
    "purposes": Table({"id": str, "manager": str, "epoch": int, "taken_over_at": str}, ("id",)),
    "workers": Table(
        {
            "id": str, "purpose": str, "state": int, "load": float, "load_reported_at": str,
            "max_load": float, "draining_since": str, "drain_deadline": str, "ip": str, "hostname": str,
            "port": int, "secure": bool, "via_host": str, "isps": str, "regions": str, "video_encode": str,
            "video_decode": str, "algorithms": str, "properties": str, "joined_at": str,
            "joined_sequence": int,
        },
        ("id",), (_PURPOSE,), indexes=(("purpose", "joined_sequence"),),
    ),
    "tasks": Table(
        {
            "purpose": str, "id": str, "worker": str, "state": str, "since": str, "expires_at": str,
            "reserve_ms": int, "isp": str, "region": str, "decided_sequence": int,
        },
        ("purpose", "id"), (_WORKER, _PURPOSE), needed=(("worker",),),
    ),
    "nodes": Table({"worker": str, "id": str, "state": str, "since": str}, ("worker", "id"), (_WORKER,)),
    "node_rooms": Table(
        {"worker": str, "node": str, "room": str, "assigned_at": str},
        ("worker", "node", "room"), ((("worker", "node"), "nodes", ("worker", "id")),), indexes=(("room",),),
    ),
}  # fmt: skip  # a table is read at a glance

# -- Fold

_PUT_WORKER: Final = put(
    "workers",
    "id",
    "purpose max_load ip hostname port secure via_host isps regions video_encode video_decode algorithms"
    " properties",
    once="joined_at joined_sequence",
)
_FORGET_WORKER: Final = remove("workers", "id", where="purpose")
_SET_STATE: Final = change("workers", "id", "state")
_SET_LOAD: Final = change("workers", "id", "load load_reported_at")
_DRAIN: Final = change("workers", "id", "draining_since drain_deadline")


def _of_worker(info: workers.WorkerInfo) -> Values:
    capacity = info.capacity
    video = capacity.video or workers.VideoCapacity()
    lists = (
        capacity.isps,
        capacity.regions,
        video.encode,
        video.decode,
        capacity.algorithms,
        info.properties,
    )
    own = (info.max_load, info.ip, info.hostname, info.port, int(info.secure), info.via_host)
    return (*own, *map(to_json, lists))


_RESERVE: Final = put(
    "tasks", "purpose id", "worker state since expires_at reserve_ms isp region decided_sequence"
)
_HOLD: Final = put("tasks", "purpose id", "worker state since expires_at")
_EXTEND: Final = change("tasks", "purpose id", "reserve_ms")
_EXTEND_RESERVED: Final = change("tasks", "purpose id", "expires_at", where="state")
_FREE_TASK: Final = remove("tasks", "purpose id", where="worker")
_FREE_TASKS: Final = sql_on("tasks", "DELETE FROM tasks WHERE worker = ? AND purpose = ?")


def _reserved(c: Commit, e: Event, d: tasks.WorkerReserved) -> Values:
    wish = d.preference
    held = (d.worker, "reserved", moment(e.time), moment(d.expires_at), d.reserve_ms)
    return (c.boundary.name, d.task, *held, wish.isp, wish.region, c.sequence)


def _extended(c: Commit, _e: Event, d: tasks.ReservationExtended, _place: int) -> Iterable[Values]:
    return () if d.expires_at is None else ((c.boundary.name, d.task, moment(d.expires_at), "reserved"),)


def _laid_down(c: Commit, e: Event, d: tasks.TaskLaidDown) -> Values:
    return (c.boundary.name, d.task, d.worker, "reserved", moment(e.time), moment(d.expires_at))


def _picked_up(c: Commit, e: Event, d: tasks.TaskPickedUp) -> Values:
    return (c.boundary.name, d.task, d.worker, "running", moment(e.time), None)


_PUT_NODE: Final = put("nodes", "worker id", "state since")
_FORGET_NODE: Final = remove("nodes", "worker id")
_PUT_ROOM: Final = put("node_rooms", "worker node room", "assigned_at")
_FREE_ROOM: Final = remove("node_rooms", "worker node room")
_FREE_ROOMS: Final = sql_on("node_rooms", "DELETE FROM node_rooms WHERE worker = ? AND node = ?")

# c: the commit, e: the event, d: its data
FOLD: Final = (
    on(
        workers.SchedulerTakenOver,
        put("purposes", "id", "manager epoch taken_over_at"),
        lambda c, e, d: (c.boundary.name, d.manager, d.epoch, moment(e.time)),
    ),
    on(workers.WorkerJoined, put("purposes", "id"), lambda c, _e, _d: (c.boundary.name,)),
    on(
        workers.WorkerJoined,
        _PUT_WORKER,
        lambda c, e, d: (d.worker, c.boundary.name, *_of_worker(d.info), moment(e.time), c.sequence),
    ),
    on(workers.WorkerQuit, _FREE_TASKS, lambda c, _, d: (d.worker, c.boundary.name)),
    on(workers.WorkerQuit, _FORGET_WORKER, lambda c, _, d: (d.worker, c.boundary.name)),
    on(workers.WorkerLost, _FREE_TASKS, lambda c, _, d: (d.worker, c.boundary.name)),
    on(workers.WorkerLost, _FORGET_WORKER, lambda c, _, d: (d.worker, c.boundary.name)),
    on(workers.WorkerStateReported, _SET_STATE, lambda _c, _e, d: (d.worker, d.state)),
    on(workers.WorkerDraining, _DRAIN, lambda _, e, d: (d.worker, moment(e.time), moment(d.deadline))),
    on(workers.WorkerUndrained, _DRAIN, lambda _c, _e, d: (d.worker, None, None)),
    on(workers.LoadReported, _SET_LOAD, lambda _, e, d: (d.worker, d.load, moment(e.time))),
    on(tasks.WorkerReserved, _RESERVE, _reserved),
    on(tasks.ReservationExtended, _EXTEND, lambda c, _, d: (c.boundary.name, d.task, d.reserve_ms)),
    each(tasks.ReservationExtended, _EXTEND_RESERVED, _extended),
    on(tasks.ReservationCancelled, _FREE_TASK, lambda c, _, d: (c.boundary.name, d.task, d.worker)),
    on(tasks.ReservationExpired, _FREE_TASK, lambda c, _, d: (c.boundary.name, d.task, d.worker)),
    on(tasks.TaskPickedUp, _HOLD, _picked_up),
    on(tasks.TaskLaidDown, _HOLD, _laid_down),
    on(tasks.TaskReleased, _FREE_TASK, lambda c, _, d: (c.boundary.name, d.task, d.worker)),
    on(nodes.NodeStarted, _PUT_NODE, lambda c, e, d: (c.boundary.name, d.node, "started", moment(e.time))),
    on(nodes.NodeReady, _PUT_NODE, lambda c, e, d: (c.boundary.name, d.node, "ready", moment(e.time))),
    on(nodes.NodeAssigned, _PUT_ROOM, lambda c, e, d: (c.boundary.name, d.node, d.room, moment(e.time))),
    on(nodes.NodeReleased, _FREE_ROOM, lambda c, _, d: (c.boundary.name, d.node, d.room)),
    on(nodes.NodeStopped, _FREE_ROOMS, lambda c, _, d: (c.boundary.name, d.node)),
    on(nodes.NodeStopped, _FORGET_NODE, lambda c, _, d: (c.boundary.name, d.node)),
    on(nodes.NodeDied, _FREE_ROOMS, lambda c, _, d: (c.boundary.name, d.node)),
    on(nodes.NodeDied, _FORGET_NODE, lambda c, _, d: (c.boundary.name, d.node)),
)

# -- Queries

_JSON: Final = ("isps", "regions", "video_encode", "video_decode", "algorithms", "properties")


def _shown(row: Row) -> Row:
    return row | {name: json.loads(row[name]) for name in _JSON} | {"secure": bool(row["secure"])}


def workers_of(db: sqlite3.Connection, purpose: str | None = None) -> list[Row]:
    """Return the workers of a purpose, or all, in joining order."""
    such, values = where(purpose=purpose)
    asked = f"SELECT * FROM workers WHERE {such} ORDER BY joined_sequence, rowid"  # noqa: S608  - names from the code
    return [_shown(row) for row in rows(db, asked, *values)]


def worker(db: sqlite3.Connection, worker_id: str) -> Row | None:
    """Return a worker, None if the cluster does not know it."""
    return next((_shown(row) for row in rows(db, "SELECT * FROM workers WHERE id = ?", worker_id)), None)


def purposes(db: sqlite3.Connection) -> list[Row]:
    """Return the purposes with the managers that decide for them."""
    return rows(db, "SELECT * FROM purposes ORDER BY id")


def task(db: sqlite3.Connection, purpose: str, task_id: str) -> Row | None:
    """Return a task, None if no worker has it."""
    return next(iter(rows(db, "SELECT * FROM tasks WHERE purpose = ? AND id = ?", purpose, task_id)), None)


def tasks_of(
    db: sqlite3.Connection, *, purpose: str | None = None, worker: str | None = None, state: str | None = None
) -> list[Row]:
    """Return the tasks of a purpose, of a worker, in a state (``reserved``, ``running``), or all."""
    such, values = where(purpose=purpose, worker=worker, state=state)
    asked = f"SELECT * FROM tasks WHERE {such} ORDER BY purpose, id"  # noqa: S608  - names from the code
    return rows(db, asked, *values)


def nodes_of(db: sqlite3.Connection, worker_id: str) -> list[Row]:
    """Return the nodes of a conference worker, each with the ids of the rooms that it runs."""
    found = rows(db, "SELECT * FROM nodes WHERE worker = ? ORDER BY id", worker_id)
    runs = "SELECT room FROM node_rooms WHERE worker = ? AND node = ? ORDER BY room"
    return [
        node | {"rooms": [row["room"] for row in rows(db, runs, worker_id, node["id"])]} for node in found
    ]


CLUSTER: Final = Projection(
    "cluster", 1, TABLES, FOLD, (workers_of, worker, purposes, task, tasks_of, nodes_of)
)
