import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest

from roomledger.domain.decider import Context, Decider, Decision, Fact
from roomledger.domain.errors import Code, Refusal
from roomledger.event_store.connection import connect
from roomledger.event_store.errors import Conflict
from roomledger.event_store.jetstream import JetStreamStore
from roomledger.runtime.commands import Meta
from roomledger.runtime.deciding import Folded, decide_once, fold
from roomledger_events.envelope import Event
from roomledger_events.rooms import RoomChanged, RoomCreated, RoomSettings
from roomledger_events.subjects import Boundary, Kind
from roomledger_events.tokens import TokenIssued
from tests.support.nats import NatsServer

ROOM = Boundary(Kind.ROOM, "r1")
META = Meta("service:s1", command="c1")


@dataclass
class Names:
    """The names that a room has had, and the tokens issued for it."""

    names: tuple[str, ...] = ()
    tokens: int = 0


def evolve(state: Names, event: Event) -> Names:
    match event.data:
        case RoomChanged(settings=settings):
            state.names += (settings.name,)
        case TokenIssued():
            state.tokens += 1
    return state


def decide(state: Names, command: str, _: Context) -> Decision:
    fact = Fact("r1", RoomChanged(room="r1", settings=RoomSettings(name=command)))
    match command:
        case "nothing":
            return Decision(answer=state)
        case "refused":
            raise Refusal(Code.INVALID_ARGUMENT, "no")
        case "refused and recorded":
            return Decision([fact], refusal=Refusal(Code.INVALID_ARGUMENT, "no"))
        case known if known in state.names:
            return Decision(answer=len(state.names))
        case _:
            return Decision([fact], len(state.names) + 1)


NAMES = Decider(initial=Names, evolve=evolve, decide=decide)


@pytest.fixture
async def store(nats_server: NatsServer) -> AsyncIterator[JetStreamStore]:
    connection = await connect(nats_server.url, "service", nats_server.credentials["service"])
    yield await JetStreamStore.open(connection)
    await connection.close()


async def once(store: JetStreamStore, command: str, **options: Any) -> tuple[Any, int]:  # noqa: ANN401  - decide_once's
    answer = await decide_once(store, ROOM, NAMES, command, META, source="test", **options)
    return answer.value, answer.sequence


async def names(store: JetStreamStore) -> tuple[str, ...]:
    return (await fold(store, ROOM, NAMES)).state.names


async def test_an_answer_comes_with_its_sequence_when_the_fact_is_in_the_log(store: JetStreamStore) -> None:
    assert await once(store, "a") == (1, 1)
    assert await names(store) == ("a",)


async def test_a_decision_sees_what_is_in_the_log(store: JetStreamStore) -> None:
    await once(store, "a")
    assert await once(store, "b") == (2, 2)


async def test_a_decision_without_facts_writes_nothing(store: JetStreamStore) -> None:
    await once(store, "a")
    assert await once(store, "nothing") == (Names(("a",)), 1)
    assert (await store.position()).sequence == 1


async def test_a_refusal_writes_nothing(store: JetStreamStore) -> None:
    with pytest.raises(Refusal, match="no"):
        await once(store, "refused")
    assert (await store.position()).sequence == 0


async def test_a_refusal_that_is_to_be_recorded_is_in_the_log(store: JetStreamStore) -> None:
    with pytest.raises(Refusal, match="no"):
        await once(store, "refused and recorded")
    assert await names(store) == ("refused and recorded",)


async def test_of_many_that_decide_at_once_none_is_lost(store: JetStreamStore) -> None:
    answers = await asyncio.gather(*(once(store, f"n{number}") for number in range(12)))
    assert sorted(value for value, _ in answers) == list(range(1, 13))
    assert set(await names(store)) == {f"n{number}" for number in range(12)}


async def test_an_answer_names_the_last_of_its_events(store: JetStreamStore) -> None:
    await once(store, "a")
    both = [Fact("r1", RoomChanged(room="r1", settings=RoomSettings(name=name))) for name in "bc"]
    decider = Decider(initial=Names, evolve=evolve, decide=lambda *_: Decision(both))
    answer = await decide_once(store, ROOM, decider, "x", META, source="test")
    assert str(answer.address) == "2.1"


async def test_the_same_wish_by_many_at_once_has_one_effect(store: JetStreamStore) -> None:
    await asyncio.gather(*(once(store, "same") for _ in range(12)))
    assert await names(store) == ("same",)


async def test_a_wish_may_depend_on_what_is_there_at_each_try(store: JetStreamStore) -> None:
    def one_more(state: Names) -> str:
        return f"n{len(state.names)}"

    command: Any = one_more
    await asyncio.gather(*(once(store, command) for _ in range(8)))
    assert await names(store) == tuple(f"n{number}" for number in range(8))


async def test_what_is_known_is_not_read(store: JetStreamStore) -> None:
    await once(store, "a")
    assert await once(store, "b", known=Folded(Names(("x", "y")), expected=1)) == (3, 2)


async def test_what_was_wrongly_known_is_read_after_the_conflict(store: JetStreamStore) -> None:
    await once(store, "a")
    assert await once(store, "b", known=Folded(Names())) == (2, 2)


async def test_who_loses_each_race_is_told_so(store: JetStreamStore) -> None:
    await once(store, "a")
    with pytest.raises(Conflict):
        await once(store, "b", known=Folded(Names()), within_s=0)


async def test_where_somebody_writes_without_a_pause_others_get_their_turn(store: JetStreamStore) -> None:
    await once(store, "a")
    busy = True

    async def write() -> None:
        number = 0
        while busy:
            try:
                await once(store, f"busy {number}", known=folded, within_s=0)
            except Conflict:
                folded.state = Names()
                folded.expected = [each.sequence async for each in store.read((ROOM,))][-1]
            else:
                folded.expected = (await store.position()).sequence
            number += 1

    folded = Folded(Names(), expected=1)
    writing = asyncio.create_task(write())
    for number in range(5):
        await once(store, f"n{number}")
    busy = False
    await writing
    assert {f"n{number}" for number in range(5)} <= set(await names(store))


async def test_other_boundaries_are_taken_in_where_they_matter(store: JetStreamStore) -> None:
    await once(store, "a")
    now = (await anext(store.read())).time
    issued = TokenIssued(
        token="t1", code="c", room="r1", service="s1", user="u", role="x", portal="p", expires_at=now
    )
    event = Event.of(issued, about="t1", id="e1", source="test", time=now, correlation="t1", actor="s")
    await store.append(Boundary(Kind.TOKEN, "r1"), [event], None)
    value, sequence = await once(store, "nothing", also=[Boundary(Kind.TOKEN, "r1")])
    assert (value.tokens, sequence) == (1, 2)


async def test_an_event_says_who_wanted_it_and_by_which_command(store: JetStreamStore) -> None:
    meta = Meta("service:s1", command="c1", correlation="t1", traceparent="00-trace")
    await decide_once(store, ROOM, NAMES, "a", meta, source="api/1")
    (event,) = (await anext(store.read())).events
    assert (event.actor, event.causationid, event.correlationid) == ("service:s1", "c1", "t1")
    assert (event.source, event.traceparent, event.subject) == ("api/1", "00-trace", "r1")


async def test_another_room_is_not_looked_at(store: JetStreamStore) -> None:
    created = RoomCreated(room="r2", service="s", settings=RoomSettings(name="x"))
    await decide_once(
        store,
        Boundary(Kind.ROOM, "r2"),
        Decider(initial=Names, evolve=evolve, decide=lambda *_: Decision([Fact("r2", created)])),
        "x",
        META,
        source="test",
    )
    assert await once(store, "a") == (1, 2)
