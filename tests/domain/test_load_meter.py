from datetime import UTC, datetime, timedelta

import pytest

from roomledger.domain.load_meter import LoadMeter, Loads

START = datetime(2026, 1, 1, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def test_a_load_counts_for_as_long_as_it_lasts() -> None:
    meter = LoadMeter()
    meter.note("w1", 0.2, at(0))
    meter.note("w1", 0.8, at(3))
    found = meter.of("w1", at(4))
    assert (found.mean, found.largest) == (pytest.approx(0.35), 0.8)


def test_the_time_in_which_a_worker_is_not_there_does_not_count() -> None:
    meter = LoadMeter()
    meter.note("w1", 0.2, at(0))
    meter.note("w1", None, at(1))
    meter.note("w1", 0.4, at(9))
    assert meter.of("w1", at(10)).mean == pytest.approx(0.3)


def test_a_load_of_no_time_is_what_it_is() -> None:
    meter = LoadMeter()
    meter.note("w1", 0.2, at(0))
    assert meter.of("w1", at(0)) == Loads(0.2, 0.2)


def test_of_a_worker_that_was_never_there_nothing_is_known() -> None:
    assert LoadMeter().of("w1", at(0)) == Loads(None, None)
