import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from roomledger.domain.errors import Code, Refusal
from roomledger_events.subjects import Kind
from roomledger_events.workers import Capacity
from tests.support.cluster import TestCluster
from tests.support.commands import Command, json_lines
from tests.support.nats import until


async def test_a_worker_is_reserved_and_named(cluster: TestCluster, command: Command) -> None:
    await cluster.manager()
    await cluster.worker("portal", "w1")
    (told,) = json_lines(await command("schedule", "portal", "t1", "--reserve-ms", "60000", "--json"))
    assert (told["purpose"], told["task"], told["worker"], told["state"]) == (
        "portal",
        "t1",
        "w1",
        "reserved",
    )
    left = datetime.fromisoformat(told["expires_at"]) - datetime.now(UTC)
    assert timedelta(seconds=50) < left <= timedelta(seconds=60)


async def test_a_task_that_runs_has_its_worker(cluster: TestCluster, command: Command) -> None:
    await cluster.manager()
    await (await cluster.worker("portal", "w1")).pick_up("t1")
    (told,) = json_lines(await command("schedule", "portal", "t1", "--json"))
    assert (told["worker"], told["state"], told["expires_at"]) == ("w1", "running", None)
    assert (await command("schedule", "portal", "t1")).stdout == "w1 runs t1\n"


async def test_where_the_user_is_decides(cluster: TestCluster, command: Command) -> None:
    await cluster.manager()
    await cluster.worker("portal", "w1", capacity=Capacity(isps=("a",), regions=("north",)))
    await cluster.worker("portal", "w2", capacity=Capacity(isps=("a",), regions=("south",)))
    asked = ("schedule", "portal", "t1", "--isp", "a", "--region", "south", "--json")
    (told,) = json_lines(await command(*asked))
    assert told["worker"] == "w2"


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("portal", "t1", "--isp", "b"), Code.NO_MATCH),
        (("portal", "t1", "--isp", ""), Code.INVALID_ARGUMENT),
        (("portal", "t1", "--reserve-ms", "86400001"), Code.INVALID_ARGUMENT),
        (("portal", "a b"), Code.INVALID_ARGUMENT),
        (("nope", "t1"), Code.NO_SUCH_PURPOSE),
        (("portal", "t1", "--unschedule"), Code.NO_SUCH_TASK),
    ],
)
async def test_what_cannot_be_done_is_refused(
    cluster: TestCluster, command: Command, arguments: tuple[str, ...], code: Code
) -> None:
    await cluster.manager()
    await cluster.worker("portal", "w1", capacity=Capacity(isps=("a",)))
    result = await command("schedule", *arguments)
    assert result.exit_code == 1
    assert isinstance(result.exception, Refusal)
    assert result.exception.code is code
    assert result.stdout == ""


async def test_a_reservation_is_given_up(cluster: TestCluster, command: Command) -> None:
    await cluster.manager()
    await cluster.worker("portal", "w1")
    await command("schedule", "portal", "t1")
    (told,) = json_lines(await command("schedule", "portal", "t1", "--unschedule", "--json"))
    assert told == {"purpose": "portal", "task": "t1", "state": "free"}
    assert (await cluster.types(Kind.SCHEDULER, "portal"))[-1] == "ReservationCancelled"


async def test_a_task_that_runs_is_not_given_up(cluster: TestCluster, command: Command) -> None:
    await cluster.manager()
    await (await cluster.worker("portal", "w1")).pick_up("t1")
    result = await command("schedule", "portal", "t1", "--unschedule")
    assert result.exit_code == 1
    assert str(result.exception) == "w1 runs t1 already: only a reservation can be given up"


async def test_to_give_up_takes_no_wishes(command: Command) -> None:
    assert (await command("schedule", "portal", "t1", "--unschedule", "--isp", "a")).exit_code == 2


async def test_a_watch_shows_what_becomes_of_a_task_and_ends_with_it(
    cluster: TestCluster, command: Command
) -> None:
    await cluster.manager()
    worker = await cluster.worker("portal", "w1")
    asked = ("schedule", "portal", "t1", "--reserve-ms", "300", "--watch", "--every", "0.1", "--json")
    watching = asyncio.create_task(command(*asked))

    async def reserved() -> bool:
        return "WorkerReserved" in await cluster.types(Kind.SCHEDULER, "portal")

    await until(reserved, seconds=10)
    await worker.pick_up("t1")
    await asyncio.sleep(0.3)  # for as long as it shall be seen to run
    await worker.lay_down("t1")
    states = [line["state"] for line in json_lines(await watching)]
    assert list(dict.fromkeys(states)) == ["reserved", "running", "free"]


async def test_the_log_says_who_gave_the_order(cluster: TestCluster, command: Command) -> None:
    await cluster.manager()
    await cluster.worker("portal", "w1")
    await command("schedule", "portal", "t1")
    last = (await cluster.commits())[-1].events[-1]
    assert last.type == "WorkerReserved"
    assert last.actor.startswith("operator:")
