"""Logs that earlier versions recorded: this one has to decode, fold, project and explain them as they did."""

import asyncio
import json
from pathlib import Path

import pytest

from roomledger.event_store.file_log import FileLog
from roomledger_events.catalogue import CATALOGUE
from roomledger_events.envelope import Unreadable
from roomledger_events.upcasting import UPCASTERS
from tests.support.histories import LOGS, expected_path, led_to

each_log = pytest.mark.parametrize("path", LOGS, ids=lambda path: path.stem)


async def versions_in(path: Path) -> set[tuple[str, int]]:
    log = FileLog.open(path)
    found = {(event.type, event.dataversion) async for commit in log.read() for event in commit.events}
    log.close()
    return found


@each_log
async def test_every_event_of_it_can_be_read(path: Path) -> None:
    log = FileLog.open(path)
    unreadable = [
        event.data
        async for commit in log.read()
        for event in commit.events
        if isinstance(event.data, Unreadable)
    ]
    log.close()
    assert unreadable == []


@each_log
async def test_it_leads_to_what_it_led_to_when_it_was_recorded(path: Path) -> None:
    expected = json.loads(await asyncio.to_thread(expected_path(path).read_text))
    assert json.loads(json.dumps(await led_to(path))) == expected


@each_log
async def test_its_decisions_are_explained_as_they_fell(path: Path) -> None:
    for decision in (await led_to(path))["explained"]:
        assert decision["agrees"], decision


async def test_every_step_from_one_version_to_the_next_has_a_history() -> None:
    recorded = {version for path in LOGS for version in await versions_in(path)}
    assert set(UPCASTERS) <= recorded


def test_every_older_version_has_its_step() -> None:
    for name, cls in CATALOGUE.items():
        for version in range(1, cls.dataversion):
            assert (name, version) in UPCASTERS
