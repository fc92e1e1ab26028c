import pytest

from roomledger.event_store.delivery import Delivery, Interrupted

SHORT = "$JS.ACK.ROOMLEDGER.consumer.1.{sequence}.{number}.{time}.{pending}"
LONG = "$JS.ACK.domain.account.ROOMLEDGER.consumer.1.{sequence}.{number}.{time}.{pending}"
LONGEST = LONG + ".random"


def delivery(numbers: list[int], form: str = SHORT, after: int = 0) -> Delivery:
    """Messages with sequence 10 n, time 100 n, and 9 - n more to come."""
    replies = [
        form.format(sequence=10 * number, number=number, time=100 * number, pending=9 - number)
        for number in numbers
    ]
    subjects = [f"ledger.room.r{number}" for number in numbers]
    return Delivery.numbered(".".join(replies), subjects, [b"%d" % number for number in numbers], after)


@pytest.mark.parametrize("form", [SHORT, LONG, LONGEST], ids=["short", "long", "longest"])
def test_a_message_has_its_sequence_and_its_time_from_its_reply_subject(form: str) -> None:
    subjects = ["ledger.room.r1", "ledger.room.r2"]
    assert delivery([1, 2], form) == Delivery([10, 20], [100, 200], subjects, [b"1", b"2"], 7)


@pytest.mark.parametrize(("numbers", "whole"), [([4, 5, 7, 8], 2), ([4, 6, 5], 1), ([5], 0), ([4, 4], 1)])
def test_from_the_first_missing_number_on_nothing_is_taken(numbers: list[int], whole: int) -> None:
    found = delivery(numbers, after=3)
    assert found.sequences == [10 * number for number in numbers[:whole]]
    assert len(found) == len(found.nanoseconds) == len(found.subjects) == len(found.bodies) == whole


def test_what_is_pending_is_told_by_the_last_message_that_is_taken() -> None:
    assert delivery([1, 2, 5]).pending == 7


@pytest.mark.parametrize("replies", [[""], ["a.b"], [SHORT, "a.b"], [SHORT, LONG], ["a.b.c.d.e.f.g.h.i.j"]])
def test_a_message_without_a_number_interrupts(replies: list[str]) -> None:
    filled = [reply.format(sequence=1, number=1, time=1, pending=1) for reply in replies]
    with pytest.raises(Interrupted, match="does not number"):
        Delivery.numbered(".".join(filled), ["s"] * len(replies), [b""] * len(replies), 0)


def test_it_ends_with_the_sequence_that_is_the_last_one_wanted() -> None:
    found = delivery([1, 2, 3])
    assert [found.until(sequence).sequences for sequence in (9, 10, 25, 30, 31)] == [
        [],
        [10],
        [10, 20],
        [10, 20, 30],
        [10, 20, 30],
    ]


def test_its_parts_are_all_of_it() -> None:
    parts = list(delivery([1, 2, 3]).parts(2))
    assert [part.bodies for part in parts] == [[b"1", b"2"], [b"3"]]
    assert [part.nanoseconds for part in parts] == [[100, 200], [300]]
