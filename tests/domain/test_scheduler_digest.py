from collections.abc import Sequence

import msgspec
from hypothesis import given
from hypothesis import settings as effort

from roomledger.domain.membership import Command, ReportLoad
from roomledger.domain.placement import Schedule
from roomledger.domain.purpose import PurposeSettings
from roomledger.domain.scheduler import SCHEDULER, evolve
from roomledger.domain.scheduler_digest import digest, digest_of
from roomledger.domain.scheduler_snapshot import SchedulerSnapshot, freeze
from roomledger.domain.scheduler_state import SchedulerState
from roomledger_events.envelope import Commit
from tests.support.decided import PurposeLog, decided, histories
from tests.support.purposes import any_settings

LEAST_USED = PurposeSettings("portal", "least-used")


def folded(commits: Sequence[Commit]) -> SchedulerState:
    state = SCHEDULER(LEAST_USED).initial()
    for commit in commits:
        for event in commit.events:
            evolve(state, event)
    return state


@effort(max_examples=40, deadline=None)
@given(settings=any_settings, history=histories)
def test_a_snapshot_that_went_through_bytes_has_the_digest_of_its_state(
    settings: PurposeSettings, history: list[tuple[Command, float]]
) -> None:
    log = PurposeLog(settings)
    state = SCHEDULER(settings).initial()
    for commit in decided(settings, history):
        for event in commit.events:
            evolve(state, event)
    stored = msgspec.msgpack.decode(msgspec.msgpack.encode(freeze(state)), type=SchedulerSnapshot)
    assert digest(stored) == digest_of(state)
    assert digest_of(log.state) != digest_of(state)


def test_another_load_changes_the_whole_but_not_what_lasts() -> None:
    log = PurposeLog(LEAST_USED).workers("w1")
    before = digest_of(log.state)
    after = digest_of(log.do(ReportLoad("w1", 0.7)).state)
    assert (before.whole == after.whole, before.lasting == after.lasting) == (False, True)
    assert before.reported == after.reported == 1


def test_another_task_changes_both() -> None:
    log = PurposeLog(LEAST_USED).workers("w1")
    before = digest_of(folded(log.commits))
    after = digest_of(log.do(Schedule("t1")).state)
    assert (before.whole == after.whole, before.lasting == after.lasting) == (False, False)
    assert digest_of(folded(log.commits)) == after
