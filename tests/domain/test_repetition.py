from collections.abc import Sequence
from dataclasses import replace

import msgspec
from hypothesis import given
from hypothesis import settings as effort

from roomledger.domain.membership import Command, Drain, ReportLoad
from roomledger.domain.placement import Schedule
from roomledger.domain.pools import InTurns
from roomledger.domain.purpose import PurposeSettings
from roomledger.domain.repetition import Repetition, missing_reports, repeat, retraced
from roomledger.domain.scheduler import SCHEDULER
from roomledger_events.envelope import Commit, Payload
from roomledger_events.tasks import SchedulingRefused, WorkerReserved
from tests.support.decided import PurposeLog, decided, histories, tampered, without_reports
from tests.support.purposes import any_settings

LEAST_USED = PurposeSettings("portal", "least-used")


def repetitions(settings: PurposeSettings, commits: Sequence[Commit]) -> list[Repetition]:
    """Return every decision of a log, made once more."""
    state, whole = SCHEDULER(settings).initial(), True
    found = []
    for commit in commits:
        for decision in retraced(state, commit.events):
            found.append(repeat(state, decision, whole=whole))
            whole = whole and not missing_reports(state, decision.data)
    return found


@effort(max_examples=60, deadline=None)
@given(settings=any_settings, history=histories)
def test_what_was_decided_is_decided_again(
    settings: PurposeSettings, history: list[tuple[Command, float]]
) -> None:
    found = repetitions(settings, decided(settings, history))
    assert [each.differences for each in found if each.agrees is not True] == []


@effort(max_examples=40, deadline=None)
@given(settings=any_settings, history=histories)
def test_a_log_without_its_load_reports_is_never_called_wrong(
    settings: PurposeSettings, history: list[tuple[Command, float]]
) -> None:
    found = repetitions(settings, without_reports(decided(settings, history)))
    assert [each.differences for each in found if each.agrees is False] == []


def other_winner(data: Payload) -> Payload | None:
    if isinstance(data, WorkerReserved) and data.task == "t2":
        return msgspec.structs.replace(data, worker="w3")
    return None


def test_a_tampered_winner_is_named_with_the_right_one() -> None:
    log = PurposeLog(LEAST_USED).workers("w1", "w2", "w3").do(Schedule("t1")).do(Schedule("t2"))
    first, second = repetitions(LEAST_USED, tampered(log.commits, other_winner))
    assert (first.agrees, second.agrees, second.worker) == (True, False, "w2")
    assert second.differences == ("the log says w3, the rules choose w2",)


def test_a_tampered_figure_is_named() -> None:
    def lighter(data: Payload) -> Payload | None:
        if not isinstance(data, WorkerReserved):
            return None
        return msgspec.structs.replace(data, basis=msgspec.structs.replace(data.basis, load=0.05))

    log = PurposeLog(LEAST_USED).workers("w1", "w2").do(Schedule("t1"))
    (found,) = repetitions(LEAST_USED, tampered(log.commits, lighter))
    assert (found.agrees, found.worker) == (False, "w1")
    assert found.differences == ("load is 0.05 in the log and 0.1 by the rules",)


def test_a_refusal_that_was_none_is_named() -> None:
    def turned_away(data: Payload) -> Payload | None:
        if not isinstance(data, WorkerReserved):
            return None
        return SchedulingRefused(task=data.task, reason="no_match", basis=data.basis)

    log = PurposeLog(LEAST_USED).workers("w1").do(Schedule("t1"))
    (found,) = repetitions(LEAST_USED, tampered(log.commits, turned_away))
    assert (found.agrees, found.worker) == (False, "w1")
    assert found.differences[0] == "the log says nobody, the rules choose w1"


def test_a_task_that_has_a_worker_already_is_not_decided_on() -> None:
    log = PurposeLog(LEAST_USED).workers("w1", "w2").do(Schedule("t1"))
    again = msgspec.structs.replace(log.commits[-1], sequence=len(log.commits) + 1)
    _, second = repetitions(LEAST_USED, [*log.commits, again])
    assert (second.agrees, second.differences) == (False, ("it is a task of w1 at this moment",))


def test_a_task_that_a_draining_worker_lets_go_is_decided_on_before_it_goes() -> None:
    log = PurposeLog(LEAST_USED).workers("w1", "w2").do(Schedule("t1")).do(Drain("w1")).do(Schedule("t1"))
    assert [event.type for event in log.commits[-1].events] == ["TaskReleased", "WorkerReserved"]
    assert [each.agrees for each in repetitions(LEAST_USED, log.commits)] == [True, True]


def test_without_reports_the_recorded_figures_still_tell_a_winner_that_was_not_the_least_used() -> None:
    log = PurposeLog(LEAST_USED).workers("w1").workers("w2", load=0.2).do(Schedule("t1"))

    def swapped(data: Payload) -> Payload | None:
        if not isinstance(data, WorkerReserved):
            return None
        (other,) = data.basis.runners_up
        basis = msgspec.structs.replace(
            data.basis, load=other.load, runners_up=(msgspec.structs.replace(other, worker="w1", load=0.1),)
        )
        return msgspec.structs.replace(data, worker="w2", basis=basis)

    (told,) = repetitions(LEAST_USED, without_reports(log.commits))
    assert (told.agrees, told.worker, told.missing) == (None, "w1", 2)
    (wrong,) = repetitions(LEAST_USED, without_reports(tampered(log.commits, swapped)))
    assert (wrong.agrees, wrong.worker) == (False, "w1")


def test_turns_that_depend_on_reports_which_have_expired_are_not_called_wrong() -> None:
    settings = replace(LEAST_USED, strategy="weight-robin")
    log = PurposeLog(settings).workers("w1").workers("w2", load=0.8).do(Schedule("t1"))
    for number in range(2, 30):
        log.do(ReportLoad("w1", number / 40)).do(ReportLoad("w2", number / 40)).do(Schedule(f"t{number}"))
    later = [commit for commit in log.commits if commit.sequence > 12 or commit not in _reports(log.commits)]
    found = repetitions(settings, later)
    assert log.state.candidates.strategy.pool is InTurns
    assert False not in [each.agrees for each in found]


def _reports(commits: Sequence[Commit]) -> list[Commit]:
    kept = without_reports(commits)
    return [commit for commit in commits if commit not in kept]
