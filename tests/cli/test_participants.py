import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from roomledger.cli.main import app
from tests.processes.management_api.whole import Whole
from tests.support.cluster import TestCluster
from tests.support.served import Run, leave, running


@pytest.fixture
async def whole(cluster: TestCluster) -> AsyncIterator[Whole]:
    async with Whole.of(cluster) as found:
        yield found


@pytest.fixture
def run(whole: Whole, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run commands with what a `serve` left in the data directory."""
    leave(tmp_path / "served", api=whole.api.url, key=whole.key)
    monkeypatch.setenv("ROOMLEDGER_DATA_DIR", str(tmp_path / "served"))
    monkeypatch.chdir(tmp_path)
    return running(app)


async def test_who_is_in_a_room_is_shown_to_people_and_to_programs(run: Run, whole: Whole) -> None:
    room = await whole.room()
    for name in ("ada", "bob"):
        await whole.join(room, name)
    await whole.client.get(f"/v1/rooms/{room}/participants/bob")
    shown = (await run("participants", room)).stdout
    assert "2 in r1" in shown
    assert shown.index("ada") < shown.index("bob")
    told = json.loads((await run("participants", room, "--json")).stdout)
    assert [(each["id"], each["role"]) for each in told] == [("ada", "presenter"), ("bob", "presenter")]


async def test_in_an_empty_room_nobody_is_shown(run: Run, whole: Whole) -> None:
    room = await whole.room()
    assert "0 in r1" in (await run("participants", room)).stdout
    assert json.loads((await run("participants", room, "--json")).stdout) == []
