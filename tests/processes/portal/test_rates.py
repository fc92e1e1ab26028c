"""How much a client may ask of its portal."""

from hypothesis import given
from hypothesis import strategies as st

from roomledger.processes.portal.rates import Allowance


def test_twice_as_many_messages_as_in_a_second_may_come_at_once() -> None:
    allowance = Allowance(10, 0)
    assert [allowance.take(0) is None for _ in range(21)] == [True] * 20 + [False]


def test_who_is_refused_is_told_when_the_next_message_is_allowed() -> None:
    allowance = Allowance(10, 0)
    for _ in range(20):
        allowance.take(0)
    wait_ms = allowance.take(0)
    assert wait_ms is not None
    assert 100 <= wait_ms <= 101
    assert allowance.take(wait_ms / 1000) is None


def test_what_was_not_used_is_kept_for_two_seconds_only() -> None:
    allowance = Allowance(10, 0)
    assert [allowance.take(100) is None for _ in range(21)] == [True] * 20 + [False]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=200), st.integers(1, 50))
def test_no_more_are_allowed_than_the_rate_and_the_burst(pauses: list[float], rate: int) -> None:
    allowance, now, allowed = Allowance(rate, 0), 0.0, 0
    for pause in pauses:
        now += pause
        allowed += allowance.take(now) is None
    assert allowed <= rate * (now + 2) + 1
