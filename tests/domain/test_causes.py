from hypothesis import given
from hypothesis import strategies as st

from roomledger.domain.causes import Chain, Command, Effect, cause_of, chains
from roomledger_events.envelope import Address, Event, Payload
from roomledger_events.rooms import ParticipantLeft
from tests.support.commits import START, issued, joined


def placed(
    sequence: int, correlation: str, causation: str | None, data: Payload | None = None
) -> tuple[Address, Event]:
    event = Event.of(
        data or ParticipantLeft(participant="p1", reason="logout"),
        about="p1",
        id=f"e{sequence}",
        source="s",
        time=START,
        correlation=correlation,
        causation=causation,
        actor="service:s1",
    )
    return Address(sequence), event


def shape(found: list[Chain]) -> object:
    def of(cause: Effect | Command) -> object:
        if isinstance(cause, Command):
            return {cause.id: [of(each) for each in cause.effects]}
        return [cause.address.sequence, *map(of, cause.effects)] if cause.effects else cause.address.sequence

    return {chain.correlation: [of(cause) for cause in chain.causes] for chain in found}


def test_what_has_a_correlation_in_common_is_one_chain() -> None:
    assert shape(chains([placed(1, "a", "c1"), placed(2, "b", "c2"), placed(3, "a", "c3")])) == {
        "a": [1, 3],
        "b": [2],
    }


def test_what_an_event_caused_stands_under_it() -> None:
    events = [placed(1, "a", None), placed(2, "a", "e1"), placed(3, "b", "e2"), placed(4, "a", "e1")]
    assert shape(chains(events)) == {"a": [[1, [2, 3], 4]]}


def test_what_one_command_led_to_stands_together() -> None:
    events = [placed(1, "a", "c1"), placed(2, "a", "c2"), placed(3, "a", "c1")]
    assert shape(chains(events)) == {"a": [{"c1": [1, 3]}, 2]}


def test_a_command_that_is_the_correlation_is_not_told_twice() -> None:
    assert shape(chains([placed(1, "c1", "c1"), placed(2, "c1", "c1")])) == {"c1": [1, 2]}


def test_a_chain_of_a_token_is_known_as_one() -> None:
    events = [
        placed(1, "t1", None, issued("t1")),
        placed(2, "t2", "c", joined("p1", "t2")),
        placed(3, "x", "c"),
    ]
    assert [chain.is_token for chain in chains(events)] == [True, True, False]


def test_of_each_event_that_another_caused_it_is_known_where_that_stands() -> None:
    events = [placed(1, "a", None), placed(2, "a", "e1"), placed(3, "a", "gone")]
    assert cause_of(events) == {Address(2): Address(1)}


@given(st.lists(st.tuples(st.sampled_from("ab"), st.none() | st.sampled_from(["e1", "e2", "e3", "e4", "c"]))))
def test_every_event_stands_in_the_tree_once_whatever_caused_it(told: list[tuple[str, str | None]]) -> None:
    events = [placed(sequence, *each) for sequence, each in enumerate(told, 1)]

    def addresses(cause: Effect | Command) -> list[int]:
        own = [] if isinstance(cause, Command) else [cause.address.sequence]
        return own + [address for each in cause.effects for address in addresses(each)]

    found = [address for chain in chains(events) for cause in chain.causes for address in addresses(cause)]
    assert sorted(found) == list(range(1, len(events) + 1))
