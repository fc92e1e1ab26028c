from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given
from hypothesis import settings as effort

from roomledger.domain.checking_tasks import Claim, TaskCheck
from roomledger.domain.findings import Finding
from roomledger.domain.membership import Command
from roomledger.domain.placement import PickUpTasks, Schedule
from roomledger.domain.purpose import PurposeSettings
from roomledger.domain.scheduler_digest import digest_of
from roomledger_events.envelope import Commit, Payload
from roomledger_events.subjects import Boundary, Kind
from roomledger_events.tasks import (
    ReservationExpired,
    TaskLaidDown,
    TaskPickedUp,
    WorkerReserved,
)
from roomledger_events.workers import LoadReported, SchedulerTakenOver, WorkerJoined
from tests.support.decided import PurposeLog, decided, histories, tampered, without_reports
from tests.support.purposes import any_settings

SIP = PurposeSettings("sip", "least-used")


def checked(commits: Sequence[Commit], *claims: Claim) -> tuple[list[Finding], dict[str, int]]:
    check = TaskCheck(PurposeSettings.default, claims)
    found = [finding for commit in commits for finding in check.take_in(commit)] + [*check.end()]
    return found, check.figures()


def with_more(log: PurposeLog, *data: Payload) -> list[Commit]:
    """Return a log with a crafted commit at its end, by the manager that decides."""
    last = log.commits[-1]
    events = tuple(msgspec.structs.replace(last.events[0].with_data(each), time=log.now) for each in data)
    boundary = Boundary(data[0].kind, log.settings.purpose)
    return [*log.commits, Commit(last.sequence + 1, boundary, log.now, events)]


@pytest.fixture
def log() -> PurposeLog:
    """Return a log in which w1 has t1 reserved and runs t2."""
    log = PurposeLog(SIP).workers("w1").workers("w2", load=0.5)
    return log.do(Schedule("t1")).do(Schedule("t2")).do(PickUpTasks("w1", ("t2",)))


@effort(max_examples=50, deadline=None)
@given(settings=any_settings, history=histories)
def test_whatever_was_decided_is_fine(
    settings: PurposeSettings, history: list[tuple[Command, float]]
) -> None:
    found, figures = checked(decided(settings, history))
    assert found == []
    assert figures["decisions"] == figures["decisions that agree"]


@effort(max_examples=30, deadline=None)
@given(settings=any_settings, history=histories)
def test_whatever_was_decided_is_fine_when_the_load_reports_have_expired(
    settings: PurposeSettings, history: list[tuple[Command, float]]
) -> None:
    assert checked(without_reports(decided(settings, history)))[0] == []


def test_a_task_with_two_workers_is_named(log: PurposeLog) -> None:
    reserved = next(
        event.data for commit in log.commits for event in commit.events if event.type == "WorkerReserved"
    )
    twice = msgspec.structs.replace(reserved, worker="w2")
    found, _ = checked(with_more(log, twice))
    assert (found[0].check, found[0].about) == ("tasks", "t1")
    assert found[0].message == "it is given to w2 while w1 has it: two workers at once"


def test_a_task_that_is_picked_up_from_under_its_worker_is_named(log: PurposeLog) -> None:
    (finding,) = checked(with_more(log, TaskPickedUp(task="t2", worker="w2")))[0]
    assert finding.message == "w2 picks it up while w1 has it: two workers at once"


def test_a_task_that_is_taken_as_the_rules_have_it_is_fine(log: PurposeLog) -> None:
    assert checked(with_more(log, TaskPickedUp(task="t2", worker="w2", reserved_for="w1")))[0] == []


def test_a_tampered_winner_is_named(log: PurposeLog) -> None:
    def other(data: Payload) -> Payload | None:
        return msgspec.structs.replace(data, worker="w2") if isinstance(data, WorkerReserved) else None

    found, figures = checked(tampered(log.commits, other))
    assert (found[0].check, found[0].about) == ("decisions", "t1")
    assert found[0].message == "the log says w2, the rules choose w1"
    assert figures["decisions that agree"] < figures["decisions"]


def decided_earlier(data: Payload, by: int) -> Payload | None:
    if not isinstance(data, WorkerReserved):
        return None
    basis = msgspec.structs.replace(data.basis, sequence=data.basis.sequence - by)
    return msgspec.structs.replace(data, basis=basis)


def test_a_decision_ahead_of_a_commit_of_the_same_writer_is_fine(log: PurposeLog) -> None:
    assert checked(tampered(log.commits, lambda data: decided_earlier(data, 1)))[0] == []


def test_a_decision_on_what_was_no_longer_so_is_named(log: PurposeLog) -> None:
    (finding,) = checked(tampered(log.commits, lambda data: decided_earlier(data, 2)))[0]
    assert finding.message == "it was decided on what was known up to 3, and 4 stands before it"


def test_a_decision_without_what_another_writer_wrote_before_is_named(log: PurposeLog) -> None:
    commits = tampered(log.commits, lambda data: decided_earlier(data, 1))
    others = [
        msgspec.structs.replace(
            commit, events=tuple(msgspec.structs.replace(event, source="another") for event in commit.events)
        )
        if commit.sequence == 5
        else commit
        for commit in commits
    ]
    message = "it was decided on what was known up to 4, and 5 stands before it"
    assert message in [finding.message for finding in checked(others)[0]]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            TaskLaidDown(task="t1", worker="w1", expires_at=PurposeLog(SIP).now),
            "w1 lays it down without running it",
        ),
        (
            ReservationExpired(task="t2", worker="w1"),
            "ReservationExpired, and there is no reservation of it for w1",
        ),
        (LoadReported(worker="w9", load=0.1), "LoadReported of a worker that sip does not know"),
        (
            SchedulerTakenOver(manager="m1", epoch=1),
            "epoch 1 follows 1: there is to be one writer at a time",
        ),
    ],
)
def test_what_cannot_be_is_named(log: PurposeLog, data: Payload, message: str) -> None:
    assert message in [finding.message for finding in checked(with_more(log, data))[0]]


def test_a_reservation_that_runs_out_before_its_time_is_named(log: PurposeLog) -> None:
    (finding,) = checked(with_more(log, ReservationExpired(task="t1", worker="w1")))[0]
    assert "ran out before its time" in finding.message


def test_what_another_than_the_manager_that_decides_says_is_named(log: PurposeLog) -> None:
    (event,) = log.commits[-1].events
    stranger = msgspec.structs.replace(event, source="cluster-manager/m0")
    commits = [*log.commits[:-1], msgspec.structs.replace(log.commits[-1], events=(stranger,))]
    (finding,) = checked(commits)[0]
    assert finding.message == "TaskPickedUp by cluster-manager/m0, and m1 decides for the purpose"


def test_a_worker_of_two_purposes_is_named(log: PurposeLog) -> None:
    other = PurposeLog(PurposeSettings.default("audio")).commits
    joined = WorkerJoined(worker="w1", purpose="audio", info=log.state.workers["w1"].info)
    event = other[0].events[0].with_data(joined)
    commit = Commit(9, Boundary(Kind.SCHEDULER, "audio"), log.now, (event,))
    found, _ = checked([*log.commits, *other, commit])
    assert [each.message for each in found] == ["it joins audio and is one of sip"]


def test_a_state_that_the_log_leads_to_is_fine(log: PurposeLog) -> None:
    before = Claim("m1", "sip", len(log.commits), digest_of(log.state))
    log.do(Schedule("t3"))
    found, figures = checked(log.commits, before, Claim("s", "sip", len(log.commits), digest_of(log.state)))
    assert (found, figures["states compared"]) == ([], 2)


def test_another_state_is_named(log: PurposeLog) -> None:
    sequence, digest = len(log.commits), digest_of(log.state)
    other = digest_of(PurposeLog(SIP).workers("w1").state)
    (finding,) = checked(log.commits, Claim("the manager", "sip", sequence, other))[0]
    assert finding.message == f"the manager has other workers and tasks at {sequence} than the log leads to"
    loads = msgspec.structs.replace(digest, whole="0")
    (finding,) = checked(log.commits, Claim("the manager", "sip", sequence, loads))[0]
    assert finding.message == f"the manager has other loads at {sequence} than the log leads to"
    (finding,) = checked([], Claim("the manager", "sip", 0, digest))[0]
    assert finding.message == "the manager knows it, the log does not"


def test_a_state_whose_reports_have_expired_is_not_called_wrong(log: PurposeLog) -> None:
    claim = Claim("the manager", "sip", len(log.commits), digest_of(log.state))
    found, figures = checked(without_reports(log.commits), claim)
    assert (found, figures["states whose reports have expired"]) == ([], 1)
