from collections.abc import Sequence
from datetime import timedelta

import msgspec
import pytest

from roomledger.domain.errors import Code, Refusal
from roomledger.domain.purpose import PurposeSettings
from roomledger.event_store.memory import MemoryStore
from roomledger.runtime.token_explaining import TokenExplanation, token_explained
from roomledger_events.envelope import Commit, Event, encode
from roomledger_events.rooms import (
    ControllerTakenOver,
    JoinRefused,
    ParticipantLeft,
    RoomChanged,
    RoomCreated,
    RoomSettings,
)
from roomledger_events.subjects import Boundary, Kind
from roomledger_events.tokens import TokenRevoked
from tests.support.commits import ROOM, START, TOKENS, created, issued, joined, log_of

OTHER = Boundary(Kind.ROOM, "r2")
NODE = ControllerTakenOver(room="r1", worker="c1", node="n1", epoch=1)
BEGIN = ((ROOM, created()), (ROOM, NODE), (TOKENS, issued("t1")), (TOKENS, issued("t2")))


def by_the_node(commit: Commit) -> Commit:
    """Return a commit as the room's node would have written it."""

    def signed(event: Event) -> Event:
        return msgspec.structs.replace(event, source="conference/n1")

    return msgspec.structs.replace(commit, events=tuple(map(signed, commit.events)))


async def explained(commits: Sequence[Commit], token: str = "t1") -> TokenExplanation:
    store = MemoryStore()
    for each in map(by_the_node, commits):
        store.put(each.boundary, encode(each.events))
    settings = PurposeSettings.default("portal"), PurposeSettings.default("conference")
    return await token_explained(store, *settings, token)


async def test_what_became_of_a_token_is_told_in_order() -> None:
    refused = JoinRefused(participant="p0", token="t1", reason="room_full")
    told = await explained(
        log_of(*BEGIN, (ROOM, refused), (ROOM, joined("p1")), (ROOM, TokenRevoked(token="t1")))
    )
    assert (told.issued.user, told.sequence, told.portal, told.conference) == ("Ada", 3, (), None)
    assert [(each.what, each.participant, each.reason, each.node) for each in told.outcomes] == [
        ("refused", "p0", "room_full", "n1"),
        ("joined", "p1", None, "n1"),
        ("revoked", None, None, None),
    ]
    assert told.findings == told.wrong == ()


async def test_that_who_joined_was_one_too_many_is_said() -> None:
    one = RoomChanged(room="r1", settings=RoomSettings(name="one", participant_limit=1))
    told = await explained(log_of(*BEGIN, (ROOM, one), (ROOM, joined("p2", "t2")), (ROOM, joined("p1"))))
    (finding,) = told.wrong
    assert (finding.about, finding.sequence) == ("p1", 7)
    assert finding.message == "is number 2 in the room r1, whose limit is 1"
    commits = log_of(*BEGIN, (ROOM, one), (ROOM, joined("p2", "t2")), (ROOM, joined("p1")))
    assert (await explained(commits, "t2")).wrong == ()


async def test_that_a_token_was_used_twice_is_said() -> None:
    gone = ParticipantLeft(participant="p1", reason="logout")
    told = await explained(log_of(*BEGIN, (ROOM, joined("p1")), (ROOM, gone), (ROOM, joined("p2"))))
    (finding,) = told.wrong
    assert (finding.about, finding.message) == ("t1", "p2 joined with the token that p1 had used up")
    assert [each.participant for each in told.outcomes] == ["p1", "p2"]


async def test_that_it_was_used_in_another_room_is_said() -> None:
    elsewhere = RoomCreated(room="r2", service="s1", settings=RoomSettings(name="other"))
    taken = ControllerTakenOver(room="r2", worker="c1", node="n1", epoch=1)
    told = await explained(log_of(*BEGIN, (OTHER, elsewhere), (OTHER, taken), (OTHER, joined("p1"))))
    assert [each.message for each in told.wrong] == [
        "it was issued for another room than r2, which p1 joined"
    ]


async def test_that_it_was_used_too_late_or_when_it_was_revoked_is_said() -> None:
    soon = issued("t1", START + timedelta(seconds=4))
    commits = log_of(*BEGIN[:2], (TOKENS, soon), (ROOM, TokenRevoked(token="t1")), (ROOM, joined("p1")))
    assert [each.message for each in (await explained(commits)).wrong] == [
        "p1 joined with it after it was revoked",
        "p1 joined with it after it had expired",
    ]


async def test_a_token_that_the_log_does_not_know_is_refused() -> None:
    with pytest.raises(Refusal) as refused:
        await explained(log_of(*BEGIN), "nothing")
    assert refused.value.code is Code.INVALID_TOKEN
