import re

from roomledger.domain.errors import Code, Refusal
from roomledger.event_store.errors import NotConnected
from roomledger.sdk.worker import Readiness
from roomledger_events.tasks import Preference
from roomledger_events.workers import Capacity
from tests.support.cluster import TestCluster
from tests.support.commands import Command, json_lines


async def test_all_workers_are_shown_by_purpose_in_joining_order(
    cluster: TestCluster, command: Command
) -> None:
    await cluster.manager()
    for purpose, name in (("portal", "w2"), ("sip", "s1"), ("portal", "w1")):
        await cluster.worker(purpose, name)
    (told,) = json_lines(await command("workers", "--json"))
    assert [worker["worker"] for worker in told["workers"]] == ["w2", "w1", "s1"]


async def test_a_worker_is_shown_with_all_that_is_known_of_it(cluster: TestCluster, command: Command) -> None:
    await cluster.manager()
    await cluster.worker("portal", "w1", 0.25, capacity=Capacity(isps=("a",)), port=8080)
    manager = cluster.cluster()
    await manager.schedule("portal", "t1", Preference(isp="a"))
    await manager.drain("w1")
    ((worker,),) = (told["workers"] for told in json_lines(await command("workers", "--json")))
    assert worker.pop("last_seen")
    assert worker == {
        "worker": "w1",
        "purpose": "portal",
        "state": None,
        "load": 0.25,
        "effective_load": 0.255,
        "info": {"ip": "127.0.0.1", "port": 8080, "max_load": 0.9, "capacity": {"isps": ["a"]}},
        "tasks": [],
        "reservations": ["t1"],
        "draining": True,
    }


async def test_people_see_a_table(cluster: TestCluster, command: Command) -> None:
    await cluster.manager()
    await cluster.worker("portal", "w1", port=8080)
    worker = await cluster.worker("portal", "w2", hostname="[b]host[/b]")
    await worker.report_state(Readiness.INITIALIZING)
    shown = (await command("workers")).stdout
    assert "2 workers" in shown
    assert re.search(r"portal +w1 +ready +0\.100 +0\.100 +0 +0 +\d+\.\d s ago +127\.0\.0\.1:8080", shown)
    assert re.search(r"portal +w2 +initializing .*\[b\]host\[/b\]", shown), "text is no markup"


async def test_only_the_workers_of_a_purpose_are_shown(cluster: TestCluster, command: Command) -> None:
    await cluster.manager()
    await cluster.worker("portal", "w1")
    await cluster.worker("sip", "s1")
    (told,) = json_lines(await command("workers", "--purpose", "sip", "--json"))
    assert [worker["worker"] for worker in told["workers"]] == ["s1"]


async def test_a_cluster_without_workers_has_none(cluster: TestCluster, command: Command) -> None:
    await cluster.manager()
    assert json_lines(await command("workers", "--json")) == [{"workers": []}]
    assert "0 workers" in (await command("workers")).stdout


async def test_a_purpose_that_nobody_ever_joined_is_refused(cluster: TestCluster, command: Command) -> None:
    await cluster.manager()
    result = await command("workers", "--purpose", "nope")
    assert result.exit_code == 1
    assert isinstance(result.exception, Refusal)
    assert result.exception.code is Code.NO_SUCH_PURPOSE


async def test_a_watch_prints_a_line_each_time_it_looks(cluster: TestCluster, command: Command) -> None:
    await cluster.manager()
    await cluster.worker("portal", "w1")
    lines = json_lines(await command("workers", "--json", "--watch", "--every", "0.1", "--for", "0.5"))
    assert len(lines) >= 3
    assert {line["workers"][0]["worker"] for line in lines} == {"w1"}


async def test_a_server_that_is_not_there_is_told_in_a_sentence(command: Command) -> None:
    result = await command("workers", "--nats", "nats://127.0.0.1:1")
    assert result.exit_code == 1
    assert isinstance(result.exception, NotConnected)
