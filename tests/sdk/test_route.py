"""Which portal is tried next, and when."""

import pytest

from roomledger.sdk.route import LONGEST_PAUSE_S, NEXT_S, SOON_S, Route


def tried(route: Route, others: list[str], number: int) -> list[str]:
    """Return the portals that are tried one after another if nobody answers."""
    urls = []
    for _ in range(number):
        urls.append(route.url)
        if not route.asked:
            route.found(others)
        if route.is_over:
            route.again()
        else:
            route.turn()
    return urls


def test_a_round_begins_where_the_client_was_and_goes_through_the_others() -> None:
    assert tried(Route("a"), ["b", "c"], 7) == ["a", "b", "c", "a", "b", "c", "a"]


def test_a_portal_that_is_named_twice_is_tried_once_a_round() -> None:
    assert tried(Route("a"), ["b", "a", "b"], 5) == ["a", "b", "a", "b", "a"]


def test_after_an_arrival_rounds_begin_there() -> None:
    route = Route("a")
    route.found(["b"])
    route.turn()
    route.arrived()
    assert tried(route, ["a", "c"], 4) == ["b", "a", "c", "b"]


def test_a_client_that_knows_one_portal_tries_it_later_and_later_up_to_a_limit() -> None:
    route = Route("a")
    pauses = []
    for _ in range(30):
        pauses.append(route.pause(1.0))
        route.again()
    assert pauses == sorted(pauses)
    assert pauses[0] == SOON_S
    assert pauses[-1] == LONGEST_PAUSE_S


@pytest.mark.parametrize("chance", [0.0, 0.3, 1.0])
def test_chance_spreads_those_who_were_cut_off_together(chance: float) -> None:
    route = Route("a")
    assert route.pause(chance) == chance * SOON_S
    for _ in range(20):
        route.again()
    assert route.pause(chance) == LONGEST_PAUSE_S * (0.5 + chance / 2)


def test_within_a_round_the_next_portal_is_tried_soon() -> None:
    route = Route("a")
    for _ in range(20):
        route.again()
    route.found(["b"])
    route.turn()
    assert route.pause(1.0) == NEXT_S


def test_an_arrival_ends_the_waiting() -> None:
    route = Route("a")
    for _ in range(20):
        route.again()
    route.arrived()
    assert route.pause(1.0) == SOON_S
