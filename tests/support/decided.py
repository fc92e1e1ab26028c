"""Logs of purposes that were really decided, without a server: for tests of what is retraced from them."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Self

import msgspec
from hypothesis import strategies as st

from roomledger.domain.decider import Context
from roomledger.domain.errors import Refusal
from roomledger.domain.membership import (
    Command,
    Drain,
    Join,
    LoseWorker,
    Quit,
    ReportLoad,
    ReportState,
    TakeOver,
    Undrain,
)
from roomledger.domain.placement import ExpireReservation, Extend, LayDownTask, PickUpTasks, Schedule
from roomledger.domain.purpose import PurposeSettings
from roomledger.domain.scheduler import SCHEDULER
from roomledger_events.envelope import Commit, Event, Payload
from roomledger_events.subjects import Boundary
from roomledger_events.workers import LoadReported
from tests.support.commits import START
from tests.support.deciders import event_of
from tests.support.purposes import draws, info, infos, loads, preferences


class PurposeLog:
    """The log of one purpose in the making, one second a command.

    Attributes:
        commits: What it holds.
        now: When the last command came.
    """

    def __init__(self, settings: PurposeSettings, now: datetime = START) -> None:
        self.commits: list[Commit] = []
        self.now = now
        self.settings = settings
        self._decider = SCHEDULER(settings)
        self.state = self._decider.initial()
        self.do(TakeOver("m1", settings))

    def do(self, command: Command, draw: float = 0.0, after_s: float = 1) -> Self:
        """Decide a command and append what it leads to."""
        self.now += timedelta(seconds=after_s)
        sequence = len(self.commits) + 1
        context = Context(self.now, len(self.commits), draw, "c", "tests")
        facts = ()
        with suppress(Refusal):
            facts = self._decider.decide(self.state, command, context).facts
        if not facts:
            return self
        events = tuple(
            msgspec.structs.replace(event_of(fact, sequence * 100 + n, context), source="cluster-manager/m1")
            for n, fact in enumerate(facts)
        )
        for event in events:
            self.state = self._decider.evolve(self.state, event)
        boundary = Boundary(events[0].data.kind, self.settings.purpose)
        self.commits.append(Commit(sequence, boundary, self.now, events))
        return self

    def workers(self, *names: str, load: float = 0.1, max_load: float = 0.9) -> Self:
        """Let workers join and report their load."""
        for name in names:
            self.do(Join(name, info(max_load))).do(ReportLoad(name, load))
        return self


def without_reports(commits: Sequence[Commit]) -> list[Commit]:
    """Return what is left of a log when its load reports have expired."""
    return [commit for commit in commits if not isinstance(commit.events[0].data, LoadReported)]


def tampered(
    commits: Sequence[Commit], change: Callable[[Payload], Payload | None], *, times: int = 1
) -> list[Commit]:
    """Return a log in which the first events that a function changes are changed.

    Args:
        commits: The log.
        change: Returns what stands there instead, or None to leave an event as it is.
        times: How many events to change.
    """
    told = []
    for commit in commits:
        events: list[Event] = []
        for event in commit.events:
            changed = change(event.data) if times else None
            times -= changed is not None
            events.append(event if changed is None else event.with_data(changed))
        told.append(msgspec.structs.replace(commit, events=tuple(events)))
    return told


_workers = st.integers(1, 5).map(lambda number: f"w{number}")
_tasks = st.integers(1, 9).map(lambda number: f"t{number}")
_commands = st.one_of(
    st.builds(Join, _workers, infos),
    st.builds(ReportLoad, _workers, loads),
    st.builds(ReportState, _workers, st.sampled_from([0, 2])),
    st.builds(Drain, _workers, st.none() | st.just(5_000)),
    st.builds(Undrain, _workers),
    st.builds(LoseWorker, _workers, st.just(3_100)),
    st.builds(Quit, _workers),
    *[st.builds(Schedule, _tasks, preferences, st.sampled_from([None, 2_000, 60_000]))] * 3,
    st.builds(Extend, _tasks, st.just(90_000)),
    st.builds(PickUpTasks, _workers, st.tuples(_tasks)),
    st.builds(LayDownTask, _workers, _tasks),
    st.builds(ExpireReservation, _tasks),
)
histories = st.lists(st.tuples(_commands, draws), min_size=20, max_size=80)


def decided(settings: PurposeSettings, history: Sequence[tuple[Command, float]]) -> list[Commit]:
    """Return the log that commands lead to."""
    log = PurposeLog(settings).workers("w1", "w2", "w3")
    for command, draw in history:
        log.do(command, draw)
    return log.commits
