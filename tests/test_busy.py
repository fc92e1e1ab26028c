"""A busy cluster's real log: verified, simulated and explained, as it is and with faults planted in it."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from benchmarks.busy import MOMENTS, checked, clean, recorded
from benchmarks.crowd import Sizes
from benchmarks.watching import Seen, compared, counts_of, digest_of
from roomledger.domain.purpose import PurposeSettings
from roomledger.event_store.file_log import FileLog
from roomledger.runtime.explaining import explained
from roomledger.runtime.rebuilding import Rebuilt
from roomledger.runtime.token_explaining import token_explained
from roomledger.runtime.verifying import Report, verified
from roomledger_events.envelope import Commit, Payload
from roomledger_events.rooms import ParticipantJoined, RoomChanged, RoomCreated
from roomledger_events.subjects import Boundary, Kind
from roomledger_events.tasks import WorkerReserved
from tests.support.commits import (
    CREATED,
    PORTAL,
    ROOM,
    TOKENS,
    created,
    issued,
    joined,
    joined_worker,
    log_of,
)
from tests.support.decided import tampered
from tests.support.exported import exported

SMALL = Sizes(workers=20, rooms=4, participants=60, together=20, stay_s=0.1)
MIDDLE = Sizes(workers=100, rooms=200, participants=2_000, together=100)


def counts(rows: list[dict[str, Any]]) -> dict[str, int]:
    return {row["what"]: row["count"] for row in rows}


async def read(path: Path) -> list[Commit]:
    log = FileLog.open(path)
    commits = [commit async for commit in log.read()]
    log.close()
    return commits


async def report_of(path: Path, commits: Sequence[Commit]) -> Report:
    exported(path, commits)
    log = FileLog.open(path)
    report = await verified(log, PurposeSettings.default)
    log.close()
    return report


def inserted(commits: Sequence[Commit], at: int, place: int, data: Payload) -> list[Commit]:
    """Return a log in which one more event stands beside the one at a place, as if by the same writer."""
    told = list(commits)
    before = told[at].events
    planted = before[place].with_data(data)
    events = (*before[: place + 1], planted, *before[place + 1 :])
    told[at] = msgspec.structs.replace(told[at], events=events)
    return told


def first(commits: Sequence[Commit], wanted: Callable[[Payload], bool]) -> tuple[int, int]:
    """Return where the first event stands that is wanted: the place of its commit, and its own there."""
    return next(
        (at, place)
        for at, commit in enumerate(commits)
        for place, event in enumerate(commit.events)
        if wanted(event.data)
    )


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> list[Commit]:
    """Record a small busy cluster, check its log, and return it."""
    file = tmp_path_factory.mktemp("busy") / "busy.jsonl.gz"

    async def run() -> list[Commit]:
        rows = await recorded(SMALL, file, check=True) + await checked(file)
        told = counts(rows)
        assert clean(rows), rows
        assert told["live: decisions that agree"] == told["live: decisions"] == told["explained decisions"]
        assert told["simulated requests"] == told["explained decisions"] > SMALL.participants
        assert told["live: states compared"] >= 2
        assert told["live: joins"] >= SMALL.participants / 2
        assert told["states at random moments"] >= 20
        assert told["states of managers"] >= 20
        assert told["participants at most at one of them"] > 1
        return await read(file)

    return asyncio.run(run())


async def test_a_busy_log_is_clean(log: list[Commit], tmp_path: Path) -> None:
    assert (await report_of(tmp_path / "log", log)).findings == []


async def test_a_task_with_two_workers_is_named_by_verify_and_by_explain(
    log: list[Commit], tmp_path: Path
) -> None:
    at, place = first(log, lambda data: isinstance(data, WorkerReserved))
    data = log[at].events[place].data
    assert isinstance(data, WorkerReserved)
    name = log[at].boundary.name
    other = next(
        event.data.worker
        for commit in log[:at]
        if commit.boundary == Boundary(Kind.SCHEDULER, name)
        for event in commit.events
        if event.type == "WorkerJoined" and event.data.worker != data.worker
    )
    planted = inserted(log, at, place, msgspec.structs.replace(data, worker=other))
    report = await report_of(tmp_path / "log", planted)
    message = f"it is given to {other} while {data.worker} has it: two workers at once"
    assert message in [finding.message for finding in report.findings if finding.about == data.task]
    file = FileLog.open(tmp_path / "log")
    told = await explained(file, PurposeSettings.default(name), data.task)
    file.close()
    assert message in [finding.message for finding in told.findings]


async def test_a_tampered_winner_is_named_by_verify_and_by_explain(log: list[Commit], tmp_path: Path) -> None:
    wanted: list[WorkerReserved] = []

    def other(data: Payload) -> Payload | None:
        if not isinstance(data, WorkerReserved) or not data.basis.runners_up:
            return None
        wanted.append(data)
        return msgspec.structs.replace(data, worker=data.basis.runners_up[0].worker)

    changed = tampered(log, other)
    right = wanted[0]
    wrong = right.basis.runners_up[0].worker
    report = await report_of(tmp_path / "log", changed)
    message = f"the log says {wrong}, the rules choose {right.worker}"
    named = [each for each in report.findings if (each.check, each.about) == ("decisions", right.task)]
    assert message in named[0].message
    (purpose,) = {
        commit.boundary.name
        for commit in log
        for event in commit.events
        if isinstance(event.data, WorkerReserved) and event.data.task == right.task
    }
    file = FileLog.open(tmp_path / "log")
    told = await explained(file, PurposeSettings.default(purpose), right.task)
    file.close()
    assert (told.agrees, told.worker, told.computed) == (False, wrong, right.worker)


async def test_a_participant_over_the_limit_is_named_by_verify_and_by_explain(
    log: list[Commit], tmp_path: Path
) -> None:
    at, place = first(log, lambda data: isinstance(data, ParticipantJoined))
    data = log[at].events[place].data
    assert isinstance(data, ParticipantJoined)
    name = log[at].boundary.name
    one = next(
        event.data.settings
        for commit in log
        if commit.boundary == Boundary(Kind.ROOM, name)
        for event in commit.events
        if isinstance(event.data, RoomCreated)
    )
    changed = RoomChanged(room=name, settings=msgspec.structs.replace(one, participant_limit=1))
    twice = inserted(log, at, place, msgspec.structs.replace(data, participant="one-too-many"))
    report = await report_of(tmp_path / "log", inserted(twice, at, place, changed))
    named = [finding.message for finding in report.findings if finding.about == "one-too-many"]
    message = f"is number 2 in the room {name}, whose limit is 1"
    assert message in named
    file = FileLog.open(tmp_path / "log")
    settings = PurposeSettings.default("portal"), PurposeSettings.default("conference")
    told = await token_explained(file, *settings, data.token)
    file.close()
    assert {message, f"one-too-many joined with the token that {data.participant} had used up"} <= {
        finding.message for finding in told.wrong
    }


async def test_a_state_of_then_that_the_log_does_not_lead_to_is_named(tmp_path: Path) -> None:
    """Nobody follows here: what would have been seen is made of one log, and compared with another."""
    commits = log_of(
        (PORTAL, joined_worker("w1")), (ROOM, created()), (TOKENS, issued("t1")), (ROOM, joined("p1"))
    )
    seen = []
    with Rebuilt() as state:
        for each in commits:
            state.take_in([each], CREATED)
            known = state.as_json()
            seen.append(Seen(each.sequence, digest_of(known), counts_of(known), []))
    watched = tmp_path / "log.seen"
    watched.write_bytes(b"".join(msgspec.json.encode(each) + b"\n" for each in seen))
    same = counts(await compared(exported(tmp_path / "log", commits), watched))
    assert (same["states at random moments"], same["states that are not what was known"]) == (4, 0)
    other = [*commits[:3], msgspec.structs.replace(commits[3], events=commits[1].events)]
    differing = counts(await compared(exported(tmp_path / "log", other), watched))
    assert differing["states that are not what was known"] == 1


@pytest.mark.chaos
async def test_a_log_of_thousands_is_clean_too(tmp_path: Path) -> None:
    file = tmp_path / "busy.jsonl"
    rows = await recorded(MIDDLE, file, check=True) + await checked(file)
    told = counts(rows)
    assert clean(rows), rows
    assert told["live: decisions"] == told["live: decisions that agree"] >= 2 * MIDDLE.participants
    assert told["explained refusals"] > 0
    assert told["states at random moments"] >= MOMENTS
    assert told["states of managers"] >= MOMENTS
    assert min(told[f"{what} at most at one of them"] for what in ("participants", "tasks")) > MOMENTS
