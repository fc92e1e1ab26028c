"""A room as most tests about rooms want it: r1, with a node and tokens that are out."""

from datetime import datetime, timedelta

from roomledger.domain.decider import Fact
from roomledger.domain.room import ROOM
from roomledger.domain.room_commands import Join, RoomCommand
from roomledger.domain.room_settings import DEFAULT_ROLES
from roomledger.domain.room_state import RoomState
from roomledger_events.rooms import (
    ControllerTakenOver,
    Media,
    ParticipantJoined,
    Permission,
    RoomCreated,
    RoomSettings,
)
from roomledger_events.tokens import TokenIssued
from tests.support.deciders import START, Scenario, scenario

LIFETIME = timedelta(seconds=180)
SETTINGS = RoomSettings(name="Room one", roles=DEFAULT_ROLES)
BOTH = Media(audio=True, video=True)
PRESENTER = Permission(publish=BOTH, subscribe=BOTH)
VIEWER = Permission(publish=Media(), subscribe=BOTH)


def created(*, limit: int = -1, generation: int = 1) -> Fact:
    settings = RoomSettings(name="Room one", participant_limit=limit, roles=DEFAULT_ROLES)
    return Fact("r1", RoomCreated(room="r1", service="s1", settings=settings, generation=generation))


def taken_over(node: str = "n1", epoch: int = 1) -> Fact:
    return Fact("r1", ControllerTakenOver(room="r1", worker="w1", node=node, epoch=epoch))


def issued(
    token: str,
    *,
    role: str = "presenter",
    generation: int = 1,
    expires_at: datetime = START + LIFETIME,
) -> Fact:
    data = TokenIssued(
        token=token,
        code=f"code-{token}",
        room="r1",
        service="s1",
        user=f"user-{token}",
        role=role,
        portal="portal-1",
        expires_at=expires_at,
        generation=generation,
    )
    return Fact(token, data, token)


def joined(number: int) -> Fact:
    """Participant p1 joined with token t1 as user-t1, and so on."""
    data = ParticipantJoined(
        participant=f"p{number}",
        user=f"user-t{number}",
        role="presenter",
        permission=PRESENTER,
        portal="portal-1",
        token=f"t{number}",
    )
    return Fact(f"p{number}", data, f"t{number}")


def join(number: int, token: int | None = None) -> Join:
    return Join(participant=f"p{number}", portal="portal-1", token=f"t{token or number}")


def room(*, limit: int = -1, tokens: int = 3) -> Scenario[RoomState, RoomCommand]:
    """A room that a node runs, with the tokens t1, t2, ... of presenters."""
    there = scenario(ROOM).given(created(limit=limit), taken_over())
    return there.given(*(issued(f"t{number}") for number in range(1, tokens + 1)))


def room_with(*participants: int, limit: int = -1, tokens: int = 3) -> Scenario[RoomState, RoomCommand]:
    """The same with p1, p2, ... in it."""
    return room(limit=limit, tokens=tokens).given(*map(joined, participants))
