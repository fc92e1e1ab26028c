"""Whether a worker can be given a task."""

import pytest

from roomledger.domain.worker import UNAVAILABLE, Worker, shown
from tests.support.deciders import START
from tests.support.purposes import info


def worker(**fields: object) -> Worker:
    return Worker("w1", 1, info(0.9), START, **{"load": 0, "effective": 0, **fields})  # type: ignore[arg-type]  # by name


@pytest.mark.parametrize("state", [None, 2])
def test_a_worker_that_says_nothing_or_that_it_is_ready_is_available(state: int | None) -> None:
    assert worker(state=state).refused_by() is None


@pytest.mark.parametrize(
    ("fields", "rule"),
    [
        ({"state": 0}, "state"),
        ({"state": 1}, "state"),
        ({"draining": True}, "draining"),
        ({"load": None}, "not_reported"),
        ({"effective": 900_000}, "full_load"),
    ],
)
def test_each_rule_makes_a_worker_unavailable(fields: dict[str, object], rule: str) -> None:
    assert worker(**fields).refused_by() == rule
    assert rule in UNAVAILABLE


def test_the_first_rule_counts() -> None:
    assert worker(state=1, draining=True, load=None, effective=900_000).refused_by() == UNAVAILABLE[0]


def test_a_worker_just_below_its_limit_is_available() -> None:
    assert worker(effective=899_999).refused_by() is None


def test_a_load_is_shown_as_a_share() -> None:
    assert shown(405_000) == 0.405
