import asyncio
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import typer

from roomledger.cli.log_source import log_source, opened
from roomledger.event_store.errors import NotAnExport
from tests.support.commits import PORTAL, commit, joined_worker
from tests.support.exported import exported, header_of


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


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-30])


def edited(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"w1", b"w2"))


def newer(path: Path) -> None:
    exported(path, [], header_of(0, version=99))


def something_else(path: Path) -> None:
    path.write_text("a shopping list")


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (cut, "log.jsonl is damaged: its end is missing"),
        (edited, "log.jsonl is damaged: it is not as it was written"),
        (newer, "log.jsonl was written by a newer roomledger"),
        (something_else, "log.jsonl is no exported log"),
        (Path.unlink, "no such file"),
    ],
)
async def test_a_file_that_cannot_be_used_ends_a_command_with_a_sentence_and_exit_code_1(
    tmp_path: Path, spoil: Callable[[Path], None], sentence: str
) -> None:
    path = exported(tmp_path / "log.jsonl", [commit(1, PORTAL, joined_worker("w1"))])
    await asyncio.to_thread(spoil, path)
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "roomledger", "log", "tail", "--no-follow", "--log", str(path)),
        cwd=tmp_path,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, errors = await child.communicate()
    assert (child.returncode, out) == (1, b"")
    assert errors.decode().startswith("roomledger: ")
    assert sentence in errors.decode()
    assert len(errors.decode().splitlines()) == 1
