"""Rooms: their settings, their roles, who runs them and who is in them."""

import json
import sqlite3
from collections.abc import Collection, Iterable
from typing import Final

from roomledger_events import rooms as events
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

_MEDIA: Final = {
    "publish_audio": bool,
    "publish_video": bool,
    "subscribe_audio": bool,
    "subscribe_video": bool,
}
_ROOM: Final = (("room",), "rooms", ("id",))
_ROLE: Final = (("room", "role"), "roles", ("room", "role"))
TABLES: Final = {
    "rooms": Table(
        {
            "id": str, "service": str, "name": str, "participant_limit": int, "views": str, "created_at": str,
            "created_sequence": int, "generation": int, "changed_at": str, "deleted_at": str,
            "controller_worker": str, "controller_node": str, "controller_epoch": int,
        },
        ("id",), indexes=(("service", "created_sequence"),),
    ),
    "roles": Table({"room": str, "role": str, "place": int, **_MEDIA}, ("room", "role"), (_ROOM,)),
    "participants": Table(
        {
            "room": str, "id": str, "user": str, "role": str, **_MEDIA, "portal": str, "token": str,
            "isp": str, "region": str, "joined_at": str, "joined_sequence": int, "away_since": str,
            "back_by": str,
        },
        ("room", "id"), (_ROOM, _ROLE), indexes=(("token",),),
    ),
}  # fmt: skip  # a table is read at a glance

# -- Fold

_CREATE: Final = put(
    "rooms",
    "id",
    "service name participant_limit views created_at created_sequence generation changed_at"
    " deleted_at controller_worker controller_node",
)
_CHANGE: Final = change("rooms", "id", "name participant_limit views changed_at")
_DELETE: Final = change("rooms", "id", "deleted_at controller_worker controller_node")
_CONTROL: Final = change("rooms", "id", "controller_worker controller_node controller_epoch")
_RELEASE: Final = sql_on(
    "rooms",
    """UPDATE rooms SET controller_worker = NULL, controller_node = NULL
    WHERE id = ? AND controller_epoch <= ?""",
)
_PUT_ROLE: Final = put("roles", "room role", f"place {' '.join(_MEDIA)}")
_CLEAR_ROLES: Final = sql_on("roles", "DELETE FROM roles WHERE room = ?")
_CLEAR_ROOM: Final = sql_on("participants", "DELETE FROM participants WHERE room = ?")
_JOIN: Final = put(
    "participants",
    "room id",
    f"user role {' '.join(_MEDIA)} portal token isp region joined_at joined_sequence away_since back_by",
)
_SEE: Final = change("participants", "room id", "portal away_since back_by")
_PERMIT: Final = change("participants", "room id", " ".join(_MEDIA))
_LEAVE: Final = remove("participants", "room id")


def _created(c: Commit, e: Event, d: events.RoomCreated) -> Values:
    kept = d.settings
    time = moment(e.time)
    told = (d.service, kept.name, kept.participant_limit, _labels(kept))
    return (c.boundary.name, *told, time, c.sequence, d.generation, time, None, None, None)


def _changed(c: Commit, e: Event, d: events.RoomChanged) -> Values:
    kept = d.settings
    return (c.boundary.name, kept.name, kept.participant_limit, _labels(kept), moment(e.time))


def _joined(c: Commit, e: Event, d: events.ParticipantJoined) -> Values:
    origin = d.origin
    seat = (d.portal, d.token, origin.isp, origin.region, moment(e.time), c.sequence, None, None)
    return (c.boundary.name, d.participant, d.user, d.role, *_media(d.permission), *seat)


def _media(of: events.Permission | events.Role) -> Values:
    give, take = of.publish, of.subscribe
    return (int(give.audio), int(give.video), int(take.audio), int(take.video))


def _labels(kept: events.RoomSettings) -> str:
    return to_json([view.label for view in kept.views])


def _roles(c: Commit, _e: Event, d: events.RoomCreated | events.RoomChanged, _place: int) -> Iterable[Values]:
    return ((c.boundary.name, r.role, place, *_media(r)) for place, r in enumerate(d.settings.roles))


# c: the commit, e: the event, d: its data
FOLD: Final = (
    on(events.RoomCreated, _CREATE, _created),
    on(events.RoomCreated, _CLEAR_ROLES, lambda c, _e, _d: (c.boundary.name,)),
    each(events.RoomCreated, _PUT_ROLE, _roles),
    on(events.RoomChanged, _CHANGE, _changed),
    on(events.RoomChanged, _CLEAR_ROLES, lambda c, _e, _d: (c.boundary.name,)),
    each(events.RoomChanged, _PUT_ROLE, _roles),
    on(events.RoomDeleted, _DELETE, lambda c, e, _: (c.boundary.name, moment(e.time), None, None)),
    on(events.RoomDeleted, _CLEAR_ROOM, lambda c, _e, _d: (c.boundary.name,)),
    on(events.ControllerTakenOver, _CONTROL, lambda c, _, d: (c.boundary.name, d.worker, d.node, d.epoch)),
    on(events.ControllerReleased, _RELEASE, lambda c, _, d: (c.boundary.name, d.epoch)),
    on(events.ParticipantJoined, _JOIN, _joined),
    on(
        events.ParticipantAway,
        _SEE,
        lambda c, e, d: (c.boundary.name, d.participant, d.portal, moment(e.time), moment(d.back_by)),
    ),
    on(events.ParticipantBack, _SEE, lambda c, _, d: (c.boundary.name, d.participant, d.portal, None, None)),
    on(events.ParticipantLeft, _LEAVE, lambda c, _, d: (c.boundary.name, d.participant)),
    on(
        events.PermissionChanged,
        _PERMIT,
        lambda c, _, d: (c.boundary.name, d.participant, *_media(d.permission)),
    ),
)

# -- Queries


def room(db: sqlite3.Connection, room_id: str) -> Row | None:
    """Return a room with its roles, None if there never was one; a deleted one says so."""
    return next(iter(_rooms(db, rows(db, "SELECT * FROM rooms WHERE id = ?", room_id))), None)


def rooms_of(
    db: sqlite3.Connection, service: str | None = None, *, limit: int = -1, offset: int = 0
) -> list[Row]:
    """Return the rooms of a service, or all, that are not deleted, oldest first.

    Args:
        db: The projection's file.
        service: Its id.
        limit: At most so many; -1 for all.
        offset: How many to leave out before.
    """
    such, values = where(service=service)
    asked = f"SELECT * FROM rooms WHERE {such} AND deleted_at IS NULL ORDER BY created_sequence, id"  # noqa: S608  - names from the code
    return _rooms(db, rows(db, f"{asked} LIMIT ? OFFSET ?", *values, limit, offset))


def room_count(db: sqlite3.Connection, service: str) -> int:
    """Return how many rooms a service has that are not deleted."""
    asked = "SELECT count(*) AS found FROM rooms WHERE service = ? AND deleted_at IS NULL"
    return int(rows(db, asked, service)[0]["found"])


def participants_of(db: sqlite3.Connection, room_id: str, *, limit: int = -1, offset: int = 0) -> list[Row]:
    """Return who is in a room, in the order of joining.

    Args:
        db: The projection's file.
        room_id: The room's id.
        limit: At most so many; -1 for all.
        offset: How many to leave out before.
    """
    asked = "SELECT * FROM participants WHERE room = ? ORDER BY joined_sequence, rowid LIMIT ? OFFSET ?"
    return [_participant(row) for row in rows(db, asked, room_id, limit, offset)]


def participant_count(db: sqlite3.Connection, room_id: str) -> int:
    """Return how many are in a room."""
    return int(rows(db, "SELECT count(*) AS found FROM participants WHERE room = ?", room_id)[0]["found"])


def participant(db: sqlite3.Connection, room_id: str, participant_id: str) -> Row | None:
    """Return a participant, None if there is none such in the room."""
    asked = "SELECT * FROM participants WHERE room = ? AND id = ?"
    return next((_participant(row) for row in rows(db, asked, room_id, participant_id)), None)


def rooms_owned(db: sqlite3.Connection, service: str, ids: Collection[str]) -> dict[str, int]:
    """Return which of these rooms are a service's, also deleted ones, and since which sequence.

    An id may have been another service's room before that.
    """
    such = ", ".join("?" * len(ids))
    asked = f"SELECT id, created_sequence FROM rooms WHERE service = ? AND id IN ({such})"  # noqa: S608  - placeholders
    return {row["id"]: row["created_sequence"] for row in rows(db, asked, service, *ids)}


def _rooms(db: sqlite3.Connection, found: list[Row]) -> list[Row]:
    asked = "SELECT * FROM roles WHERE room = ? ORDER BY place"
    return [
        row
        | {"views": json.loads(row["views"]), "deleted": row["deleted_at"] is not None}
        | {"roles": [{"role": role["role"], **_permission(role)} for role in rows(db, asked, row["id"])]}
        for row in found
    ]


def _participant(row: Row) -> Row:
    others = {name: value for name, value in row.items() if name not in _MEDIA}
    return others | {"permission": _permission(row), "away": row["away_since"] is not None}


def _permission(row: Row) -> Row:
    return {
        way: {medium: bool(row[f"{way}_{medium}"]) for medium in ("audio", "video")}
        for way in ("publish", "subscribe")
    }


ROOMS: Final = Projection(
    "rooms",
    1,
    TABLES,
    FOLD,
    (room, rooms_of, room_count, participants_of, participant_count, participant, rooms_owned),
)
