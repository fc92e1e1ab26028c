"""Tokens: issued, used, revoked, and by whom. That one has expired is for the asker's clock to say.

The deletion of a room revokes its tokens that were still good.
"""

import sqlite3
from collections.abc import Collection
from datetime import datetime
from typing import Final

from roomledger_events.envelope import Commit, Event
from roomledger_events.rooms import ParticipantJoined, RoomDeleted
from roomledger_events.tokens import TokenIssued, TokenRevoked
from roomledger_projections.projection import Projection, Row, Table, Values, moment, on, rows, where
from roomledger_projections.statements import change, put, sql_on

# -- Tables

TABLES: Final = {
    "tokens": Table(
        {
            "id": str, "room": str, "service": str, "user": str, "role": str, "state": str,
            "portal": str, "code": str, "isp": str, "region": str, "issued_at": str, "issued_sequence": int,
            "generation": int, "expires_at": str, "used_by": str, "used_at": str, "revoked_by": str,
            "revoked_at": str,
        },
        ("id",), needed=(("room", "state"),), indexes=(("code",),),
    ),
}  # fmt: skip  # a table is read at a glance

# -- Fold

_ISSUE: Final = put(
    "tokens",
    "id",
    "room service user role state portal code isp region issued_at issued_sequence generation expires_at",
)
_USE: Final = change("tokens", "id", "state used_by used_at")
_REVOKE: Final = sql_on(
    "tokens",
    """UPDATE tokens SET state = CASE state WHEN 'issued' THEN 'revoked' ELSE state END,
    revoked_by = ?, revoked_at = ? WHERE id = ? AND revoked_at IS NULL""",
)
_REVOKE_ALL: Final = sql_on(
    "tokens",
    """UPDATE tokens SET state = 'revoked', revoked_by = ?, revoked_at = ?
    WHERE room = ? AND state = 'issued' AND expires_at > ?""",
)


def _issued(c: Commit, e: Event, d: TokenIssued) -> Values:
    asked = (d.room, d.service, d.user, d.role, "issued", d.portal, d.code, d.origin.isp, d.origin.region)
    return (d.token, *asked, moment(e.time), c.sequence, d.generation, moment(d.expires_at))


def _voided(c: Commit, e: Event, _: RoomDeleted) -> Values:
    time = moment(e.time)
    return (e.actor, time, c.boundary.name, time)


# e: the event, d: its data
FOLD: Final = (
    on(TokenIssued, _ISSUE, _issued),
    on(ParticipantJoined, _USE, lambda _, e, d: (d.token, "used", d.participant, moment(e.time))),
    on(TokenRevoked, _REVOKE, lambda _, e, d: (e.actor, moment(e.time), d.token)),
    on(RoomDeleted, _REVOKE_ALL, _voided),
)

# -- Queries

_SHOWN: Final = """SELECT *, CASE WHEN state = 'issued' AND expires_at <= ? THEN 'expired' ELSE state END
    AS state FROM tokens"""


def token(db: sqlite3.Connection, token_id: str, now: datetime) -> Row | None:
    """Return a token, None if there is none; its state may be ``expired`` too."""
    return next(iter(rows(db, f"{_SHOWN} WHERE id = ?", moment(now), token_id)), None)


def token_of_code(db: sqlite3.Connection, code: str, now: datetime) -> Row | None:
    """Return the token that a portal's task belongs to, None if there is none."""
    return next(iter(rows(db, f"{_SHOWN} WHERE code = ?", moment(now), code)), None)


def tokens_of(
    db: sqlite3.Connection, now: datetime, room: str | None = None, *, limit: int = -1, offset: int = 0
) -> list[Row]:
    """Return the tokens of a room, or all, in the order in which they were issued.

    Args:
        db: The projection's file.
        now: When an unused token is expired is measured by it.
        room: Its id.
        limit: At most so many; -1 for all.
        offset: How many to leave out before.
    """
    such, values = where(room=room)
    asked = f"{_SHOWN} WHERE {such} ORDER BY issued_sequence, rowid LIMIT ? OFFSET ?"
    return rows(db, asked, moment(now), *values, limit, offset)


def newest_tokens(
    db: sqlite3.Connection, now: datetime, service: str | None = None, *, limit: int
) -> tuple[list[Row], int]:
    """Return the newest tokens of a service, or of all, oldest first, and how many there are.

    Args:
        db: The projection's file.
        now: When an unused token is expired is measured by it.
        service: Its id.
        limit: At most so many.
    """
    such, values = where(service=service)
    count = rows(db, f"SELECT count(*) AS found FROM tokens WHERE {such}", *values)[0]["found"]  # noqa: S608  - names from the code
    asked = f"{_SHOWN} WHERE {such} ORDER BY issued_sequence DESC, rowid DESC LIMIT ?"
    return rows(db, asked, moment(now), *values, limit)[::-1], int(count)


def tokens_owned(
    db: sqlite3.Connection, service: str, ids: Collection[str], codes: Collection[str]
) -> tuple[set[str], set[str]]:
    """Return which of these tokens, and of these portals' tasks, are a service's."""

    def owned(column: str, names: Collection[str]) -> set[str]:
        such = ", ".join("?" * len(names))
        asked = f"SELECT {column} AS name FROM tokens WHERE service = ? AND {column} IN ({such})"  # noqa: S608  - names from the code
        return {row["name"] for row in rows(db, asked, service, *names)}

    return owned("id", ids), owned("code", codes)


def voided_of(db: sqlite3.Connection, room: str, now: datetime) -> list[Row]:
    """Return the tokens of a room that were revoked, or void with it, and else would still be good."""
    asked = "SELECT * FROM tokens WHERE room = ? AND state = 'revoked' AND expires_at > ?"
    return rows(db, asked, room, moment(now))


TOKENS: Final = Projection(
    "tokens", 2, TABLES, FOLD, (token, token_of_code, tokens_of, newest_tokens, tokens_owned, voided_of)
)
