from datetime import timedelta

import pytest

from roomledger.domain.checking_sequences import SequenceCheck
from roomledger.domain.findings import Finding
from roomledger_events.envelope import Unreadable
from tests.support.commits import PORTAL, START, commit, joined_worker


def found(sequences: list[int], *, last: int | None = None, expired_before_s: int | None) -> list[Finding]:
    """Check a log with one commit a second at these sequences."""
    seconds = 0 if expired_before_s is None else expired_before_s
    before = START + timedelta(seconds=seconds)
    known = None if expired_before_s is None else lambda: before
    check = SequenceCheck(sequences[-1] if last is None else last, known)
    told = [each for number in sequences for each in check.take_in(commit(number, PORTAL))]
    return [*told, *check.end()]


def test_a_log_without_gaps_is_fine() -> None:
    assert found([1, 2, 3], expired_before_s=0) == []


def test_a_gap_that_expiry_explains_is_fine() -> None:
    assert found([1, 2, 5, 6], expired_before_s=3) == []


@pytest.mark.parametrize(("sequences", "last"), [([1, 2, 5, 6], 6), ([1, 2], 4)])
def test_a_gap_that_is_too_young_for_that_is_named(sequences: list[int], last: int) -> None:
    (finding,) = found(sequences, last=last, expired_before_s=1)
    assert (finding.sequence, finding.message.split(",")[0]) == (3, "3 to 4 is not there")


def test_where_nobody_knows_what_has_expired_gaps_are_counted() -> None:
    check = SequenceCheck(9, None)
    assert not [*check.take_in(commit(4, PORTAL)), *check.end()]
    assert check.figures()["expired commits"] == 8


def test_events_that_cannot_be_read_are_counted() -> None:
    check = SequenceCheck(1, None)
    check.take_in(commit(1, PORTAL, joined_worker("w1"), Unreadable(reason="newer", body="{}")))
    assert check.figures()["unreadable events"] == 1
