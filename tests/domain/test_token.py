from datetime import timedelta

import pytest

from roomledger.domain.errors import Code, Refusal
from roomledger.domain.token import KEPT, Tokens
from roomledger_events.tokens import TokenIssued
from tests.support.deciders import START
from tests.support.rooms import LIFETIME, issued

EXPIRY = START + LIFETIME


def tokens(*names: str, generation: int = 1) -> Tokens:
    known = Tokens()
    for name in names:
        known.issue(data_of(name, generation))
    return known


def data_of(name: str, generation: int = 1) -> TokenIssued:
    data = issued(name, generation=generation).data
    assert isinstance(data, TokenIssued)
    return data


def refusal_of(known: Tokens, name: str, seconds: int = 0) -> Code:
    with pytest.raises(Refusal) as refused:
        known.check(name, START + timedelta(seconds=seconds))
    return refused.value.code


def test_a_token_that_was_issued_is_good():
    assert tokens("t1").check("t1", START).user == "user-t1"


def test_a_token_is_good_until_just_before_its_expiry():
    assert tokens("t1").check("t1", EXPIRY - timedelta(microseconds=1)) == data_of("t1")
    assert refusal_of(tokens("t1"), "t1", 180) is Code.TOKEN_EXPIRED


def test_an_unknown_token_is_invalid():
    assert refusal_of(tokens("t1"), "t2") is Code.INVALID_TOKEN


def test_a_used_token_is_used_up():
    known = tokens("t1")
    known.use("t1", "p1")
    assert refusal_of(known, "t1") is Code.TOKEN_USED


def test_a_revoked_token_is_refused():
    known = tokens("t1")
    known.revoke("t1")
    assert refusal_of(known, "t1") is Code.TOKEN_REVOKED


def test_a_used_token_that_expired_is_called_expired():
    known = tokens("t1")
    known.use("t1", "p1")
    assert refusal_of(known, "t1", 181) is Code.TOKEN_EXPIRED


def test_a_use_or_revocation_that_is_seen_before_the_issue_counts():
    known = Tokens()
    known.use("t1", "p1")
    known.revoke("t2")
    assert not known.knows("t1")
    known.issue(data_of("t1"))
    known.issue(data_of("t2"))
    assert known.knows("t1")
    assert refusal_of(known, "t1") is Code.TOKEN_USED
    assert refusal_of(known, "t2") is Code.TOKEN_REVOKED


def test_an_expired_token_is_known_for_ten_minutes_and_then_forgotten():
    known = tokens("t1", "t2")
    known.use("t1", "p1")
    known.pass_time(EXPIRY + KEPT - timedelta(microseconds=1))
    assert refusal_of(known, "t1", 181) is Code.TOKEN_EXPIRED
    known.pass_time(EXPIRY + KEPT)
    assert known == Tokens()


def test_the_tokens_of_a_deleted_room_are_void_and_those_of_the_next_one_are_not():
    known = tokens("old", generation=1)
    known.use("unseen", "p1")
    known.issue(data_of("new", generation=2))
    known.void(1)
    assert refusal_of(known, "old") is Code.INVALID_TOKEN
    assert known == tokens("new", generation=2)


def test_a_token_that_expired_long_ago_is_unknown_whether_it_was_forgotten_yet_or_not():
    known = tokens("t1")
    later = EXPIRY + KEPT
    with pytest.raises(Refusal) as before:
        known.check("t1", later)
    known.pass_time(later)
    with pytest.raises(Refusal) as after:
        known.check("t1", later)
    assert before.value.code is after.value.code is Code.INVALID_TOKEN
