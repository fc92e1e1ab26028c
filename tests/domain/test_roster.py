from itertools import pairwise

from roomledger.domain.roster import Participant, Roster
from roomledger_events.rooms import Permission


def person(number: int) -> Participant:
    return Participant(
        id=f"p{number}", user="u", role="viewer", permission=Permission(), portal="portal-1", token="t"
    )


def ids(listing_of: Roster) -> list[str]:
    return [participant.id for participant in listing_of.listing().participants()]


def test_a_roster_lists_who_is_in_in_the_order_of_joining():
    roster = Roster([person(1), person(2)])
    roster.join(person(3))
    roster.leave("p2")
    roster.join(person(2))
    assert ids(roster) == ["p1", "p3", "p2"]


def test_a_listing_is_not_touched_by_what_comes_later():
    roster = Roster([person(1)])
    listing = roster.listing(person(2))
    roster.join(person(2))
    roster.join(person(3))
    roster.leave("p1")
    assert [participant.id for participant in listing.participants()] == ["p1", "p2"]


def test_a_listing_outlives_the_lists_that_are_begun_anew():
    roster = Roster([person(1)])
    listing = roster.listing()
    for _ in range(1000):
        roster.join(person(2))
        roster.leave("p2")
    assert [participant.id for participant in listing.participants()] == ["p1"]
    assert ids(roster) == ["p1"]


def test_a_roster_does_not_grow_with_those_who_have_gone():
    roster = Roster([person(number) for number in range(10)])
    for number in range(10, 10_000):
        roster.join(person(number))
        roster.leave(f"p{number - 10}")
    assert roster.listing().length <= 2 * 10 + 64 + 2
    assert ids(roster) == [f"p{number}" for number in range(9_990, 10_000)]


def test_a_listing_knows_how_many_are_in_it():
    roster = Roster([person(1), person(2)])
    roster.leave("p1")
    assert roster.listing().present == 1
    assert roster.listing(person(3)).present == 2


def test_listings_of_one_number_are_beginnings_of_one_list():
    roster = Roster()
    listings = []
    for number in range(1000):
        roster.join(person(number))
        roster.leave(f"p{number}")
        listings.append(roster.listing())
    assert len({listing.number for listing in listings}) > 5
    for earlier, later in pairwise(listings):
        if earlier.number == later.number:
            assert later.changes[: earlier.length] == earlier.changes[: earlier.length]
