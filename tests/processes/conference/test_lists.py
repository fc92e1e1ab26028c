import msgspec
import pytest

from roomledger.domain.errors import Code, Refusal
from roomledger.domain.roster import Participant, Roster
from roomledger.processes.conference.lists import KEPT, PAGE, SHORT, Lists
from roomledger.sdk.listings import ListingView
from roomledger_events.rooms import Permission


def person(number: int) -> Participant:
    return Participant(
        id=f"p{number}", user=f"u{number}", role="viewer", permission=Permission(), portal="p", token="t"
    )


def people(number: int) -> Roster:
    return Roster(map(person, range(number)))


def changes(lists: Lists, listing: ListingView) -> list[object]:
    """Fetch all pages, as a client does."""
    found: list[object] = []
    while len(found) < listing.length:
        found += msgspec.json.decode(lists.page(listing.list, len(found)))
    return found


def large(lists: Lists, roster: Roster, epoch: int = 1, joining: Participant | None = None) -> ListingView:
    shown = lists.show(roster.listing(joining), epoch)
    assert shown.listing is not None
    return shown.listing


def test_a_short_list_stands_in_the_reply():
    shown = Lists().show(people(SHORT - 1).listing(person(99)), 1)
    assert shown.listing is None
    assert [each.id for each in shown.participants] == [*(f"p{number}" for number in range(SHORT - 1)), "p99"]


def test_a_long_list_is_told_by_name_and_length():
    assert large(Lists(), people(100), epoch=7) == ListingView(list="7.0", length=100)


def test_a_long_list_is_fetched_page_by_page():
    lists, number = Lists(), 2 * PAGE + 10
    found = changes(lists, large(lists, people(number)))
    assert found == [{"id": f"p{each}", "user": f"u{each}", "role": "viewer"} for each in range(number)]


def test_who_joins_is_the_last_of_the_list():
    lists, roster = Lists(), people(100)
    listing = large(lists, roster, joining=person(100))
    roster.join(person(100))
    roster.join(person(101))
    assert listing.length == 101
    found = changes(lists, listing)
    assert found[-1] == {"id": "p100", "user": "u100", "role": "viewer"}


def test_who_left_is_in_the_list_as_an_id():
    lists, roster = Lists(), people(100)
    roster.leave("p7")
    assert changes(lists, large(lists, roster))[-1] == "p7"


def test_what_was_not_told_yet_is_not_to_be_had():
    lists, roster = Lists(), people(100)
    listing = large(lists, roster)
    roster.join(person(100))
    with pytest.raises(Refusal) as refused:
        lists.page(listing.list, 100)
    assert refused.value.code is Code.INVALID_ARGUMENT
    assert len(changes(lists, listing)) == 100


def test_a_full_page_is_written_once():
    lists, roster = Lists(), people(PAGE)
    listing = large(lists, roster)
    assert lists.page(listing.list, 0) is lists.page(listing.list, 0)


def test_a_page_that_was_not_full_grows():
    lists, roster = Lists(), people(PAGE - 1)
    changes(lists, large(lists, roster))
    roster.join(person(PAGE))
    roster.join(person(PAGE + 1))
    assert len(changes(lists, large(lists, roster))) == PAGE + 1


def test_lists_of_another_controller_are_not_kept_here():
    lists = Lists()
    large(lists, people(100), epoch=2)
    with pytest.raises(Refusal) as refused:
        lists.page("1.0", 0)
    assert refused.value.code is Code.WRONG_CONTROLLER


def test_the_last_lists_are_kept():
    lists, roster = Lists(), people(100)
    handed = [large(lists, roster)]
    while len(handed) <= KEPT:
        roster.leave(roster.listing().participants()[0].id)
        roster.join(person(1000 + roster.listing().length + 1000 * roster.listing().number))
        listing = large(lists, roster)
        if listing.list != handed[-1].list:
            handed.append(listing)
    with pytest.raises(Refusal):
        lists.page(handed[0].list, 0)
    for listing in handed[1:]:
        changes(lists, listing)


def test_a_list_that_was_read_from_the_log_anew_goes_on_where_it_was():
    lists = Lists()
    before = large(lists, people(100))
    again = people(100)
    again.join(person(100))
    after = large(lists, again)
    assert after.list == before.list
    assert len(changes(lists, before)) in {100, 101}
    assert len(changes(lists, after)) == 101
