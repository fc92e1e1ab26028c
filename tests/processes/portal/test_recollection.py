"""What a client missed that came back, by the room's events alone."""

from datetime import datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from roomledger.processes.portal.recollection import SILENCE, Recollection, Told
from roomledger_events.envelope import Address, Commit, Event, Payload
from roomledger_events.identifiers import new_id
from roomledger_events.rooms import ParticipantAway, ParticipantBack, PermissionChanged, TextSent
from roomledger_events.rooms import Permission as Allowed
from roomledger_events.subjects import Boundary, Kind
from tests.support.deciders import START

ME, PORTAL = "me", "portal-1"


def commit(sequence: int, *facts: Payload, time: datetime = START) -> Commit:
    events = tuple(
        Event.of(fact, about="x", id=new_id(), source="t", time=time, correlation="c", actor="a")
        for fact in facts
    )
    return Commit(sequence, Boundary(Kind.ROOM, "r1"), time, events)


def text(message: str, to: str = "all") -> TextSent:
    return TextSent(sender="other", to=to, message=message)


def away(told: str = "", who: str = ME) -> ParticipantAway:
    return ParticipantAway(participant=who, portal=PORTAL, told=told)


def back(portal: str = "portal-2", who: str = ME) -> ParticipantBack:
    return ParticipantBack(participant=who, portal=portal, incarnation="run", epoch=2)


def recollect(*commits: Commit, told: int = 5, count: int = 0, after: Address | None = None) -> Recollection:
    found = Recollection(ME, told=Address(told), count=count, after=after, joined=Address(1))
    for each in commits:
        if each.sequence >= found.start:
            found.take(each)
    return found


def said(missed: tuple[Told, ...]) -> list[str]:
    return [getattr(told.news.notification, "message", "?") for told in missed]


END = Address(99)


def test_a_client_that_says_how_far_it_was_told_gets_what_came_after_that() -> None:
    found = recollect(commit(6, text("a"), text("b")), commit(7, text("c")), after=Address(6, 0))
    assert said(found.missed(END)) == ["b", "c"]


def test_nothing_is_told_that_comes_after_the_return() -> None:
    found = recollect(commit(6, text("a")), commit(7, back(), text("b")), after=Address(5))
    assert said(found.missed(Address(7, 0))) == ["a"]


def test_a_client_may_say_that_it_was_told_less_than_its_ticket_says() -> None:
    found = recollect(commit(4, text("a")), commit(6, text("b")), told=5, after=Address(3))
    assert found.start == 3
    assert said(found.missed(END)) == ["a", "b"]


def test_nothing_is_told_from_before_the_join() -> None:
    found = Recollection(ME, told=Address(5), count=0, after=Address(0), joined=Address(3))
    assert found.start == 3


def test_a_client_cannot_have_been_told_more_than_there_was() -> None:
    found = recollect(commit(6, text("a")), after=Address(10**9))
    assert found.missed(Address(6)) == ()
    assert found.since(Address(6)) == Address(6)


def test_a_client_that_does_not_say_so_gets_what_its_old_connection_was_not_sent() -> None:
    found = recollect(commit(6, text("a")), commit(7, text("b")), commit(8, away("6.0")), commit(9, back()))
    assert said(found.missed(END)) == ["b"]


def test_the_last_connection_that_was_lost_counts() -> None:
    found = recollect(
        commit(6, away("5.0")),
        commit(7, back()),
        commit(8, text("a")),
        commit(9, text("b")),
        commit(10, away("8.0")),
        commit(11, back()),
    )
    assert said(found.missed(END)) == ["b"]


def test_what_became_of_others_says_nothing_of_this_client() -> None:
    found = recollect(commit(6, text("a")), commit(7, away("6.0", "other")), commit(8, back(who="other")))
    assert said(found.missed(END)) == ["a"]


def test_of_a_portal_that_died_without_a_word_all_is_told_since_some_time_before_it_was_given_up() -> None:
    given_up = START + 2 * SILENCE
    found = recollect(
        commit(6, text("old")),
        commit(7, text("recent"), time=given_up - SILENCE),
        commit(8, away(), time=given_up),
        commit(9, back(), time=given_up),
    )
    assert said(found.missed(END)) == ["recent"]


def test_of_a_connection_that_was_not_known_to_be_lost_all_is_told_since_some_time_before_the_return() -> (
    None
):
    returned = START + 2 * SILENCE
    found = recollect(
        commit(6, text("old")),
        commit(7, text("recent"), time=returned - timedelta(seconds=1)),
        commit(8, back(), time=returned),
    )
    assert said(found.missed(END)) == ["recent"]


def test_nothing_is_told_from_before_the_ticket_to_a_client_that_does_not_say_how_far_it_was() -> None:
    found = recollect(commit(4, text("a")), commit(6, text("b")), commit(7, away()), told=5)
    assert found.start == 5
    assert said(found.missed(END)) == ["b"]


def test_notifications_are_numbered_on_from_the_ticket_without_gaps() -> None:
    permission = PermissionChanged(participant=ME, permission=Allowed())
    found = recollect(
        commit(6, text("a"), text("not mine", "other"), text("mine", ME), permission, text("b")), count=7
    )
    assert [told.number for told in found.missed(END)] == [8, 9, 9, 10]
    assert found.count(END) == 10
    assert found.count(Address(6, 0)) == 8
    assert found.count(Address(5)) == 7


def test_what_came_before_the_ticket_is_numbered_back_from_it() -> None:
    found = recollect(
        commit(3, text("a")), commit(4, text("b")), commit(6, text("c")), count=9, after=Address(3)
    )
    assert [(told.number, said((told,))) for told in found.missed(END)] == [(9, ["b"]), (10, ["c"])]
    assert found.count(Address(3)) == 8


@given(
    st.lists(st.sampled_from(["all", ME, "other"]), max_size=30),
    st.integers(0, 30),
    st.integers(0, 30),
)
def test_whichever_ticket_is_shown_the_numbers_and_what_is_missed_are_the_same(
    receivers: list[str], ticket: int, after: int
) -> None:
    commits = [commit(sequence, text(str(sequence), to)) for sequence, to in enumerate(receivers, 2)]
    mine = [each.sequence for each, to in zip(commits, receivers, strict=True) if to != "other"]
    told = 1 + ticket
    count = len([each for each in mine if each <= told])
    found = recollect(*commits, told=told, count=count, after=Address(1 + after))
    expected = [sequence for sequence in mine if sequence > 1 + after]
    assert said(found.missed(END)) == [str(sequence) for sequence in expected]
    numbers = {str(sequence): number for number, sequence in enumerate(mine, 1)}
    missed = found.missed(END)
    assert [each.number for each in missed] == [numbers[message] for message in said(missed)]
    assert found.count(END) == len(mine)
