import gc
from collections.abc import Iterator

import pytest

from roomledger.runtime.garbage import YOUNG, collect_nothing_yet, collect_rarely


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    thresholds = gc.get_threshold()
    yield
    gc.set_threshold(*thresholds)
    gc.unfreeze()
    gc.enable()


class Link:
    other: "Link"


def test_what_is_there_at_the_start_is_not_looked_at_again() -> None:
    collect_rarely()
    assert gc.get_freeze_count() > 1_000
    assert gc.get_threshold()[0] == YOUNG


def test_nothing_is_looked_at_before_a_process_serves() -> None:
    collect_nothing_yet()
    assert not gc.isenabled()
    collect_rarely()
    assert gc.isenabled()


def test_what_only_refers_to_itself_goes_all_the_same() -> None:
    collect_rarely()
    before = gc.get_stats()[0]["collected"]
    for _ in range(2 * YOUNG):
        link = Link()
        link.other = link
    assert gc.get_stats()[0]["collected"] > before
