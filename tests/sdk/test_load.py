import time

from roomledger.sdk import load


def test_the_processors_load_is_a_share_from_the_first_time_on() -> None:
    measure = load.cpu()
    assert 0 <= measure() <= 1


def test_the_processors_load_rises_with_what_they_have_to_do() -> None:
    measure = load.cpu()
    end = time.monotonic() + 5 * load.MEASURED_S
    while time.monotonic() < end:
        pass
    assert 0 < measure() <= 1


def test_a_span_that_is_too_short_is_not_measured() -> None:
    measure = load.cpu()
    assert len({measure() for _ in range(100)}) == 1


def test_the_memorys_load_is_a_share() -> None:
    assert 0 < load.memory()() < 1
