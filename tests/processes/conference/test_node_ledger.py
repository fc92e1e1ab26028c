from collections.abc import AsyncIterator

import pytest

from roomledger.processes.conference.node_ledger import NodeLedger
from roomledger.runtime.commands import Meta
from roomledger_events.envelope import Event
from roomledger_events.nodes import NodeAssigned, NodeDied, NodeReady, NodeStarted, NodeStopped
from roomledger_events.subjects import Boundary, Kind
from tests.support.cluster import TestCluster, event
from tests.support.nats import until

NODES = Boundary(Kind.NODES, "c1")


@pytest.fixture
async def ledger(cluster: TestCluster) -> AsyncIterator[NodeLedger]:
    kept = NodeLedger(cluster.access.store, "c1")
    await kept.start()
    yield kept
    await kept.stop(5)


async def told(cluster: TestCluster) -> list[Event]:
    return [each async for commit in cluster.access.store.read((NODES,)) for each in commit.events]


async def written(cluster: TestCluster, number: int) -> list[Event]:
    async def there() -> bool:
        return len(await told(cluster)) >= number

    await until(there)
    return await told(cluster)


async def test_events_are_appended_in_their_order(cluster: TestCluster, ledger: NodeLedger) -> None:
    for number in range(600):
        ledger.note(NodeStarted(node=f"n{number}"), about=f"n{number}")
    assert [each.subject for each in await written(cluster, 600)] == [f"n{number}" for number in range(600)]


async def test_an_event_says_who_set_it_off(cluster: TestCluster, ledger: NodeLedger) -> None:
    meta = Meta("portal:p1", command="command-1", correlation="token-1")
    noted = ledger.note(NodeAssigned(node="n1", room="r1"), about="n1", meta=meta)
    (found,) = await written(cluster, 1)
    assert found == noted
    assert (found.actor, found.correlationid, found.causationid) == ("portal:p1", "token-1", "command-1")


async def test_a_log_that_is_away_gets_them_later(cluster: TestCluster, ledger: NodeLedger) -> None:
    ledger.note(NodeStarted(node="n1"), about="n1")
    await written(cluster, 1)
    await cluster.server.stop()
    ledger.note(NodeReady(node="n1"), about="n1")
    ledger.note(NodeStopped(node="n1", reason="quit"), about="n1")
    await cluster.server.start()
    assert [each.type for each in await written(cluster, 3)] == ["NodeStarted", "NodeReady", "NodeStopped"]


async def test_nodes_that_a_killed_worker_left_behind_have_died(cluster: TestCluster) -> None:
    before = [
        event(NodeStarted(node="left"), "left"),
        event(NodeStarted(node="stopped"), "stopped"),
        event(NodeStopped(node="stopped", reason="recycled"), "stopped"),
        event(NodeStarted(node="died"), "died"),
        event(NodeDied(node="died", reason="signal 9"), "died"),
    ]
    await cluster.access.store.append(NODES, before, 0)
    ledger = NodeLedger(cluster.access.store, "c1")
    await ledger.start()
    last = (await written(cluster, 6))[-1]
    assert last.data == NodeDied(node="left", reason="its worker ended")
    await ledger.stop(5)


async def test_what_another_process_of_the_same_id_says_stands_beside_it(
    cluster: TestCluster, ledger: NodeLedger
) -> None:
    beside = event(NodeStarted(node="other"), "other")
    await cluster.access.store.append(NODES, [beside], 0)
    ledger.note(NodeStarted(node="n1"), about="n1")
    assert [each.subject for each in await written(cluster, 2)] == ["other", "n1"]


async def test_what_waits_is_written_before_the_end(cluster: TestCluster) -> None:
    ledger = NodeLedger(cluster.access.store, "c1")
    await ledger.start()
    ledger.note(NodeStarted(node="n1"), about="n1")
    await ledger.stop(5)
    assert len(await told(cluster)) == 1


async def test_a_worker_ends_though_the_log_is_away(cluster: TestCluster) -> None:
    ledger = NodeLedger(cluster.access.store, "c1")
    await ledger.start()
    await cluster.server.stop()
    ledger.note(NodeStarted(node="n1"), about="n1")
    await ledger.stop(0.2)
    await cluster.server.start()
