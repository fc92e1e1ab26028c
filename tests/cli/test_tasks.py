import re

from roomledger.domain.errors import Code, Refusal
from tests.support.cluster import TestCluster
from tests.support.commands import Command, json_lines


async def placed(cluster: TestCluster) -> None:
    """Let a portal worker run t1 and hold t2, and another one run s1."""
    await cluster.manager()
    manager = cluster.cluster()
    portal, sip = await cluster.worker("portal", "w1"), await cluster.worker("sip", "s1")
    await manager.schedule("portal", "t1")
    await portal.pick_up("t1")
    await manager.schedule("portal", "t2")
    await sip.pick_up("call")


async def test_tasks_are_shown_with_their_worker_and_whether_they_run(
    cluster: TestCluster, command: Command
) -> None:
    await placed(cluster)
    assert json_lines(await command("tasks", "--json")) == [
        {
            "tasks": [
                {"purpose": "portal", "task": "t1", "worker": "w1", "state": "running"},
                {"purpose": "portal", "task": "t2", "worker": "w1", "state": "reserved"},
                {"purpose": "sip", "task": "call", "worker": "s1", "state": "running"},
            ]
        }
    ]


async def test_people_see_a_table(cluster: TestCluster, command: Command) -> None:
    await placed(cluster)
    shown = (await command("tasks")).stdout
    assert "2 running, 1 reserved" in shown
    assert re.search(r"portal +t2 +w1 +reserved", shown)


async def test_only_the_tasks_of_a_purpose_or_a_worker_are_shown(
    cluster: TestCluster, command: Command
) -> None:
    await placed(cluster)
    for options, expected in (
        (("--purpose", "sip"), ["call"]),
        (("--worker", "w1"), ["t1", "t2"]),
        (("--worker", "w1", "--purpose", "portal"), ["t1", "t2"]),
        (("--worker", "w1", "--purpose", "sip"), []),
    ):
        (told,) = json_lines(await command("tasks", "--json", *options))
        assert [task["task"] for task in told["tasks"]] == expected, options


async def test_a_worker_that_is_not_known_is_refused(cluster: TestCluster, command: Command) -> None:
    await cluster.manager()
    result = await command("tasks", "--worker", "nobody")
    assert result.exit_code == 1
    assert isinstance(result.exception, Refusal)
    assert result.exception.code is Code.NO_SUCH_WORKER


async def test_a_watch_prints_a_line_each_time_it_looks(cluster: TestCluster, command: Command) -> None:
    await placed(cluster)
    result = await command("tasks", "--json", "--watch", "--every", "0.1", "--for", "0.3")
    assert len(json_lines(result)) >= 2
