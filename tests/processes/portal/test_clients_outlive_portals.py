"""Clients outlive their portals, and the log's absence: real processes, real signals."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from roomledger.sdk.client import Client
from roomledger.sdk.errors import RequestRefused
from tests.support.cluster import TestCluster
from tests.support.crowd import Crowd, Member, PortalProcess, Stage, staged
from tests.support.nats import until

pytestmark = pytest.mark.chaos

ROOMS, EACH = 30, 10
BACK_S = 10.0
"""How long a client may take to be back after its portal was killed."""
AWAY_S = 60.0
"""How long the log is away."""
AGAIN_S = 5.0
"""How long it may take until everything works again after that."""


@asynccontextmanager
async def crowded(stage: Stage) -> AsyncIterator[Crowd]:
    """Fill the rooms with clients that talk."""
    crowd = Crowd(stage)
    try:
        await crowd.join(ROOMS, EACH)
        assert len(crowd.members) == ROOMS * EACH
        crowd.talk(0.5)
        yield crowd
    finally:
        await crowd.close()


async def killed_and_back(crowd: Crowd, portal: PortalProcess) -> tuple[float, float]:
    """Kill a portal and start it again, and return how long its slowest client was away, in seconds.

    Returns:
        Of those who know other portals, from the kill on; and of the others, from when it was there again on.
    """
    now = asyncio.get_running_loop().time
    there = [member for member in crowd.members if member.client.url == portal.url]
    before = {id(member): len(member.back) for member in there}
    killed = now()
    await portal.kill()
    await portal.start()
    served = now()
    await until(lambda: all(len(each.back) > before[id(each)] for each in there), 4 * BACK_S)
    elsewhere = [each.back[-1] - killed for each in there if each.knows_others]
    here = [each.back[-1] - served for each in there if not each.knows_others]
    return max(elsewhere, default=0.0), max(here, default=0.0)


async def test_when_portals_are_killed_every_client_is_back_and_has_missed_nothing(
    cluster: TestCluster, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with staged(cluster, tmp_path, portals=3) as stage, crowded(stage) as crowd:
        took = [await killed_and_back(crowd, portal) for portal in [*stage.portals, *stage.portals]]
        await asyncio.sleep(2)  # they go on talking
        await crowd.hush()
        total = await crowd.check()
    elsewhere, here = (max(each) for each in zip(*took, strict=True))
    with capsys.disabled():
        print(  # noqa: T201  - figures that are asked for
            f"\nlongest time until a client was back: {elsewhere:.2f} s after the kill where it knew other"
            f" portals, {here:.2f} s after the portal was there again where it did not;"
            f" {total} notifications, {crowd.sent} texts, not sent: {crowd.unsent}"
        )
    assert elsewhere < BACK_S
    assert here < BACK_S
    assert crowd.sent > 100


async def test_while_the_log_is_away_nobody_is_disconnected_and_then_everything_goes_on(
    cluster: TestCluster, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    now = asyncio.get_running_loop().time
    async with staged(cluster, tmp_path, portals=3) as stage, crowded(stage) as crowd:
        await until(lambda: crowd.sent > 100, 30)
        before = crowd.sent
        await cluster.server.stop()
        gone = now()
        crowd.unsent.clear()
        while now() < gone + AWAY_S:
            answers = await asyncio.gather(*(refusal(members[0]) for members in crowd.rooms.values()))
            assert set(answers) == {"log_unavailable"}
            await asyncio.sleep(1)
        assert [member for member in crowd.members if member.lost] == []
        await cluster.server.start()
        began = now()
        await asyncio.gather(*(answered(members[0]) for members in crowd.rooms.values()))
        (token,) = await stage.tokens("room-0", 1, stage.portals[0])
        async with Client(token) as late:
            await late.login()
            again = now() - began
            await asyncio.sleep(2)  # they go on talking
        await crowd.alone("room-0")
        await crowd.hush()
        assert [member for member in crowd.members if member.lost] == []
        total = await crowd.check(visitors=1)
    with capsys.disabled():
        print(  # noqa: T201  - a figure that is asked for
            f"\nafter {AWAY_S:.0f} s without the log everything worked again within {again:.2f} s;"
            f" {total} notifications, {crowd.sent} texts, {before} of them before; not sent: {crowd.unsent}"
        )
    assert again < AGAIN_S
    assert crowd.sent > before
    assert set(crowd.unsent) == {"log_unavailable"}


async def refusal(member: Member) -> str:
    """Return why a member is not told who is in."""
    try:
        await member.client.participants()
    except RequestRefused as refused:
        return refused.code
    return "it was told"


async def answered(member: Member) -> None:
    """Return when a member is told who is in, and can speak."""

    async def told() -> bool:
        return await refusal(member) != "log_unavailable"

    await until(told, 4 * AGAIN_S)
    await member.client.text("all", "it is back")
