import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import NamedTuple

import pytest

from roomledger.domain.decider import Context, Decider, Decision, Fact
from roomledger.domain.errors import Code, Refusal
from roomledger.event_store.connection import connect
from roomledger.event_store.jetstream import JetStreamStore, Patience
from roomledger.event_store.layout import Layout
from roomledger.runtime.commands import Meta, Query
from roomledger.runtime.ending import end
from roomledger.runtime.errors import Deposed
from roomledger.runtime.writer import Writer
from roomledger_events.envelope import MAX_EVENTS, Commit, Event
from roomledger_events.identifiers import new_id
from roomledger_events.subjects import Boundary, Kind
from roomledger_events.workers import LoadReported, SchedulerTakenOver, WorkerLost, WorkerQuit
from tests.support.nats import NatsServer, until

BOUNDARY = Boundary(Kind.SCHEDULER, "portal")
LOADS = Boundary(Kind.LOAD, "portal")


class TakeOver(NamedTuple):
    manager: str


class Quit(NamedTuple):
    worker: str


class Report(NamedTuple):
    worker: str


class Expire(NamedTuple):
    pass


class LoseAt(NamedTuple):
    at: datetime


class Resign(NamedTuple):
    pass


@dataclass
class Quits:
    """A state as small as a state can be: who has quit."""

    manager: str = ""
    workers: list[str] = field(default_factory=list)
    reports: list[str] = field(default_factory=list)
    at: datetime | None = None


def evolve(state: Quits, event: Event) -> Quits:
    match event.data:
        case SchedulerTakenOver(manager=manager):
            state.manager = manager
        case WorkerQuit(worker=worker):
            state.workers.append(worker)
        case LoadReported(worker=worker):
            state.reports.append(worker)
        case WorkerLost():
            state.at = None
    return state


def decide(
    state: Quits, command: TakeOver | Quit | Report | Expire | LoseAt | Resign, context: Context
) -> Decision:
    match command:
        case TakeOver() | Resign():
            manager = command.manager if isinstance(command, TakeOver) else "nobody"
            return Decision([Fact(manager, SchedulerTakenOver(manager=manager, epoch=1))])
        case Quit(worker) if worker in state.workers:
            return Decision(answer=state.workers.index(worker))
        case Quit("nobody"):
            raise Refusal(Code.NO_SUCH_WORKER, "there is no such worker")
        case Quit("broken"):
            raise ZeroDivisionError
        case Quit(worker):
            return Decision([Fact(worker, WorkerQuit(worker=worker))], len(state.workers))
        case Report(worker):
            return Decision([Fact(worker, LoadReported(worker=worker, load=0.5))], context.basis)
        case LoseAt(at):
            state.at = at  # a deadline of its own, set from outside to keep the state small
            return Decision()
        case Expire():
            return Decision([Fact("late", WorkerLost(worker="late", silent_ms=1))])


def due(state: Quits, now: datetime) -> Sequence[Expire]:
    return [Expire()] if state.at is not None and state.at <= now else []


RULES: Decider[Quits, TakeOver | Quit | Report | Expire | LoseAt | Resign] = Decider(
    Quits, evolve, decide, lambda state: state.at, due
)
ME = Meta(actor="test")
Written = Writer[Quits, TakeOver | Quit | Report | Expire | LoseAt | Resign]


@asynccontextmanager
async def opened(server: NatsServer, **patience: float) -> AsyncIterator[JetStreamStore]:
    connection = await connect(server.url, "service", server.credentials["service"])
    try:
        yield await JetStreamStore.open(connection, Layout(), patience=Patience(**patience))
    finally:
        await connection.close()


@asynccontextmanager
async def deciding(
    store: JetStreamStore, name: str = "m1"
) -> AsyncIterator[tuple[Written, asyncio.Task[None]]]:
    """Yield a writer that decides, and the task that it does so in."""
    writer: Written = Writer(
        store, BOUNDARY, RULES, source=f"test/{name}", also=(LOADS,), owns=lambda state: state.manager == name
    )
    await writer.load()
    await writer.take_over(TakeOver(name), ME)
    running = asyncio.create_task(writer.run())
    try:
        yield writer, running
    finally:
        await end(running)


@asynccontextmanager
async def writing(store: JetStreamStore, name: str = "m1") -> AsyncIterator[Written]:
    async with deciding(store, name) as (writer, _):
        yield writer


def event(data: WorkerQuit | LoadReported) -> Event:
    """Return an event of somebody who writes beside the writer."""
    return Event.of(
        data,
        about=data.worker,
        id=new_id(),
        source="another",
        time=datetime.now(UTC),
        correlation="c",
        actor="test",
    )


async def commits(store: JetStreamStore) -> list[Commit]:
    return [commit async for commit in store.read()]


async def test_commands_that_wait_together_become_one_commit(nats_server: NatsServer) -> None:
    async with opened(nats_server) as store, writing(store) as writer:
        answers = await asyncio.gather(*(writer.submit(Quit(f"w{n}"), ME) for n in range(50)))
        assert [answer.value for answer in answers] == list(range(50))
        assert [(each.sequence, len(each.events)) for each in await commits(store)] == [(1, 1), (2, 50)]
        assert [str(answer.address) for answer in answers[:2]] == ["2.0", "2.1"]


async def test_a_commit_holds_no_more_events_than_it_may(nats_server: NatsServer) -> None:
    async with opened(nats_server) as store, writing(store) as writer:
        await asyncio.gather(*(writer.submit(Quit(f"w{n}"), ME) for n in range(MAX_EVENTS + 10)))
        assert [len(each.events) for each in await commits(store)] == [1, MAX_EVENTS, 10]


async def test_an_answer_is_given_when_its_event_is_in_the_log(nats_server: NatsServer) -> None:
    async with opened(nats_server) as store, writing(store) as writer:
        answer = await writer.submit(Quit("w1"), ME)
        assert (await commits(store))[-1].sequence == answer.sequence


async def test_a_refusal_and_a_fault_of_one_command_leave_the_others_alone(nats_server: NatsServer) -> None:
    async with opened(nats_server) as store, writing(store) as writer:
        names = ["w1", "nobody", "broken", "w2"]
        answers = await asyncio.gather(*(writer.submit(Quit(n), ME) for n in names), return_exceptions=True)
        assert isinstance(answers[1], Refusal)
        assert isinstance(answers[2], ZeroDivisionError)
        assert writer.state.workers == ["w1", "w2"]


async def test_a_query_sees_what_was_asked_for_before_it(nats_server: NatsServer) -> None:
    async with opened(nats_server) as store, writing(store) as writer:
        quitting = writer.submit(Quit("w1"), ME)
        answer = await writer.submit(Query(lambda state: list(state.workers)), ME)
        assert quitting.done()
        assert answer.value == ["w1"]


async def test_a_command_id_gets_the_same_answer_again(nats_server: NatsServer) -> None:
    async with opened(nats_server) as store, writing(store) as writer:
        meta = Meta(actor="test", command=new_id())
        first, again = await asyncio.gather(writer.submit(Quit("w1"), meta), writer.submit(Quit("w2"), meta))
        assert first == again == await writer.submit(Quit("w3"), meta)
        assert writer.state.workers == ["w1"]


async def test_a_cancelled_command_is_not_carried_out(nats_server: NatsServer) -> None:
    async with opened(nats_server) as store, writing(store) as writer:
        given_up = writer.submit(Quit("w1"), ME)
        given_up.cancel()
        await writer.submit(Quit("w2"), ME)
        assert writer.state.workers == ["w2"]


async def test_events_of_another_kind_go_to_their_own_subject_in_order(nats_server: NatsServer) -> None:
    async with opened(nats_server) as store, writing(store) as writer:
        waiting = [writer.submit(each, ME) for each in (Quit("w1"), Report("w2"), Quit("w3"))]
        answers = await asyncio.gather(*waiting)
        found = [(each.boundary, each.events[0].subject) for each in await commits(store)]
        assert found[1:] == [(BOUNDARY, "w1"), (LOADS, "w2"), (BOUNDARY, "w3")]
        assert answers[1].value == answers[0].sequence, "a decision's basis is what its state had taken in"


async def test_a_writer_that_another_one_follows_is_deposed(nats_server: NatsServer) -> None:
    async with opened(nats_server) as store, deciding(store) as (first, running):
        await first.submit(Quit("w1"), ME)
        async with writing(store, "m2") as second:
            answers = await asyncio.gather(first.submit(Quit("late"), ME), return_exceptions=True)
            assert isinstance(answers[0], Refusal)
            assert answers[0].code is Code.NOT_READY
            with pytest.raises(Deposed):
                await running
            await second.submit(Quit("w2"), ME)
            assert second.state.workers == ["w1", "w2"]


async def test_a_writer_that_decided_to_decide_no_more_ends(nats_server: NatsServer) -> None:
    async with opened(nats_server) as store, writing(store) as writer:
        answers = await asyncio.gather(
            writer.submit(Resign(), ME), writer.submit(Query(lambda _: None), ME), return_exceptions=True
        )
        assert [type(each).__name__ for each in answers] == ["Answer", "Answer"]
        with pytest.raises(Refusal) as refused:
            await writer.submit(Quit("w1"), ME)
        assert refused.value.code is Code.NOT_READY


async def test_a_writer_knows_for_how_long_the_log_has_not_confirmed_it(nats_server: NatsServer) -> None:
    async with opened(nats_server) as store, writing(store) as writer:
        await until(lambda: writer.unconfirmed_s > 0.05)
        await writer.submit(Quit("w1"), ME)
        assert writer.unconfirmed_s < 0.05
        await until(lambda: writer.unconfirmed_s > 0.05)
        await writer.submit(Query(lambda state: state.workers), ME)
        assert writer.unconfirmed_s > 0.05, "memory is no confirmation"
        await writer.catch_up()
        assert writer.unconfirmed_s < 0.05


async def test_a_deposed_writer_cannot_report_a_load_either(nats_server: NatsServer) -> None:
    async with opened(nats_server) as store, writing(store, "m1") as first, writing(store, "m2"):
        with pytest.raises(Refusal):
            await first.submit(Report("w1"), ME)
        assert LOADS not in [each.boundary for each in await commits(store)]


async def test_what_another_wrote_is_taken_in_and_the_command_is_decided_again(
    nats_server: NatsServer,
) -> None:
    async with opened(nats_server) as store, writing(store) as writer:
        beside = event(WorkerQuit(worker="w1"))
        await store.append(BOUNDARY, [beside], 1)
        answers = await asyncio.gather(*(writer.submit(Quit(name), ME) for name in ("w1", "w2")))
        assert [answer.value for answer in answers] == [0, 1]
        assert writer.state.workers == ["w1", "w2"]


async def test_a_notice_makes_the_writer_read_on(nats_server: NatsServer) -> None:
    async with opened(nats_server) as store, deciding(store) as (first, running), writing(store, "m2"):
        first.notice(BOUNDARY, 2)
        with pytest.raises(Deposed):
            await running


async def test_catching_up_takes_in_all_that_is_there(nats_server: NatsServer) -> None:
    async with opened(nats_server) as store, writing(store) as writer:
        beside = event(LoadReported(worker="w1", load=0.1))
        await store.append(LOADS, [beside], None)
        await writer.catch_up()
        assert writer.state.reports == ["w1"]


async def test_what_another_wrote_before_a_commit_of_its_own_is_not_missed(nats_server: NatsServer) -> None:
    async with opened(nats_server) as store, writing(store) as writer:
        beside = event(LoadReported(worker="w1", load=0.1))
        await store.append(LOADS, [beside], None)
        await writer.submit(Quit("w2"), ME)
        await writer.submit(Report("w3"), ME)
        await writer.catch_up()
        assert writer.state.workers == ["w2"]
        assert sorted(writer.state.reports) == ["w1", "w3"], "each is taken in once"


async def test_a_notice_of_what_stands_before_a_commit_of_its_own_is_heeded(nats_server: NatsServer) -> None:
    async with opened(nats_server) as store, writing(store) as writer:
        beside = event(LoadReported(worker="w1", load=0.1))
        sequence = await store.append(LOADS, [beside], None)
        await writer.submit(Quit("w2"), ME)
        writer.notice(LOADS, sequence)
        await until(lambda: writer.state.reports == ["w1"])


async def test_a_queue_that_never_empties_does_not_put_off_catching_up(nats_server: NatsServer) -> None:
    async with opened(nats_server) as store, writing(store) as writer:
        commands = count()

        async def busy() -> None:
            while True:
                await writer.submit(Quit(f"w{next(commands)}"), ME)

        callers = [asyncio.create_task(busy()) for _ in range(16)]
        await until(lambda: next(commands) > 100)
        async with asyncio.timeout(2):
            await writer.catch_up()
        await end(*callers)


async def test_a_deadline_leads_to_its_command(nats_server: NatsServer) -> None:
    async with opened(nats_server) as store, writing(store) as writer:
        await writer.submit(LoseAt(datetime.now(UTC) + timedelta(milliseconds=50)), ME)
        await until(lambda: writer.events == 1)
        assert (await commits(store))[-1].events[0].actor == "timer"


async def test_while_the_log_is_away_callers_are_told_and_nothing_is_lost(nats_server: NatsServer) -> None:
    async with opened(nats_server, attempt_s=0.2, limit_s=0.4) as store, writing(store) as writer:
        await writer.submit(Quit("w1"), ME)
        await nats_server.stop()
        answers = await asyncio.gather(
            *(writer.submit(Quit(f"w{n}"), ME) for n in (2, 3)), return_exceptions=True
        )
        assert [each.code for each in answers if isinstance(each, Refusal)] == [Code.LOG_UNAVAILABLE] * 2
        assert all(isinstance(each, Refusal) and each.retry_after_ms for each in answers)
        with pytest.raises(Refusal):
            await writer.submit(Quit("w4"), ME)
        await nats_server.start()

        async def answered() -> bool:
            try:
                return (await writer.submit(Quit("w2"), ME)).value == 1
            except Refusal:
                return False

        await until(answered)
        assert writer.state.workers == ["w1", "w2", "w3"], "the commit under way was stored once"
        names = [event.subject for commit in await commits(store) for event in commit.events]
        assert names == ["m1", "w1", "w2", "w3"]


async def test_a_full_queue_is_busy(nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("roomledger.runtime.intake.QUEUE_LIMIT", 2)
    async with opened(nats_server) as store, writing(store) as writer:
        answers = await asyncio.gather(
            *(writer.submit(Quit(f"w{n}"), ME) for n in range(3)), return_exceptions=True
        )
        assert [type(each).__name__ for each in answers] == ["Answer", "Answer", "Refusal"]


async def test_a_writer_that_was_closed_is_not_ready(nats_server: NatsServer) -> None:
    async with opened(nats_server) as store, writing(store) as writer:
        waiting = writer.submit(Quit("w1"), ME)
        writer.close()
        for answer in (waiting, writer.submit(Quit("w2"), ME), writer.catch_up()):
            with pytest.raises(Refusal) as refused:
                await answer
            assert refused.value.code is Code.NOT_READY


async def test_what_comes_while_a_commit_is_in_flight_is_decided_ahead(nats_server: NatsServer) -> None:
    async with opened(nats_server) as store, writing(store) as writer:
        await writer.submit(Quit("w1"), ME)
        nats_server.pause()
        in_flight = writer.submit(Quit("w2"), ME)
        await until(lambda: writer.state.workers == ["w1", "w2"])
        ahead = [writer.submit(Quit(name), ME) for name in ("w3", "w4", "w2")]
        await until(lambda: writer.state.workers == ["w1", "w2", "w3", "w4"])
        assert not any(each.done() for each in (in_flight, *ahead)), "nothing is in the log yet"
        nats_server.resume()
        answers = await asyncio.gather(in_flight, *ahead)
        assert [str(each.address) for each in answers] == ["3.0", "4.0", "4.1", "4.1"]
        assert answers[3].value == 1, "decided on a state with what was in flight"
        assert [len(each.events) for each in await commits(store)] == [1, 1, 1, 2]


async def test_what_was_decided_ahead_of_a_lost_commit_is_decided_again(nats_server: NatsServer) -> None:
    async with opened(nats_server) as store, writing(store) as writer:
        await writer.submit(Quit("w1"), ME)
        beside = event(WorkerQuit(worker="w2"))
        await store.append(BOUNDARY, [beside], 2)
        nats_server.pause()
        losing = writer.submit(Quit("w3"), ME)
        await until(lambda: writer.state.workers == ["w1", "w3"])
        ahead = [writer.submit(Quit(name), ME) for name in ("w2", "w4")]
        await until(lambda: writer.state.workers == ["w1", "w3", "w2", "w4"])
        nats_server.resume()
        answers = await asyncio.gather(losing, *ahead)
        assert writer.state.workers == ["w1", "w2", "w3", "w4"]
        assert [each.value for each in answers] == [2, 1, 3]


async def test_somebody_who_waits_for_a_rest_is_not_put_off_by_what_comes_in(nats_server: NatsServer) -> None:
    async with opened(nats_server) as store, writing(store) as writer:
        nats_server.pause()
        in_flight = writer.submit(Quit("w1"), ME)
        await until(lambda: writer.state.workers == ["w1"])
        seen = writer.at_rest(lambda state, expected, _: (list(state.workers), expected))
        later = writer.submit(Quit("w2"), ME)
        nats_server.resume()
        assert await seen == (["w1"], 2), "what it sees is in the log"
        assert [(await each).sequence for each in (in_flight, later)] == [2, 3]


async def test_a_writer_that_ends_refuses_what_is_in_flight_and_what_is_decided(
    nats_server: NatsServer,
) -> None:
    async with opened(nats_server) as store, deciding(store) as (writer, running):
        nats_server.pause()
        in_flight = writer.submit(Quit("w1"), ME)
        await until(lambda: writer.state.workers == ["w1"])
        ahead = writer.submit(Quit("w2"), ME)
        await until(lambda: writer.state.workers == ["w1", "w2"])
        await end(running)
        nats_server.resume()
        for answer in (in_flight, ahead):
            with pytest.raises(Refusal) as refused:
                await answer
            assert refused.value.code is Code.NOT_READY
