from pathlib import Path

import pytest
import typer

from roomledger.cli.log_source import log_source, opened
from roomledger.event_store.errors import NotAnExport
from tests.support.commits import PORTAL, commit, joined_worker
from tests.support.exported import exported


async def test_a_file_is_opened_without_a_server(tmp_path: Path) -> None:
    first = commit(1, PORTAL, joined_worker("w1"))
    path = exported(tmp_path / "log", [first])
    async with opened(log_source(None, None, path), name="test") as log:
        assert [each async for each in log.read()] == [first]


@pytest.mark.parametrize(("nats", "data_dir"), [("nats://127.0.0.1:1", None), (None, Path("data"))])
def test_a_file_and_a_server_at_once_are_refused(nats: str | None, data_dir: Path | None) -> None:
    with pytest.raises(typer.BadParameter, match="from a file or from a server"):
        log_source(nats, data_dir, Path("log.jsonl"))


async def test_a_file_that_is_no_log_is_told(tmp_path: Path) -> None:
    path = tmp_path / "notes"
    path.touch()
    with pytest.raises(NotAnExport):
        async with opened(log_source(None, None, path), name="test"):
            pass
