"""Commands of the command line, run against a test's nats-server."""

import asyncio
import json
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from structlog.testing import capture_logs
from typer.testing import CliRunner

from roomledger.cli.main import app
from tests.support.nats import NatsServer

Command = Callable[..., Coroutine[Any, Any, Result]]


def json_lines(result: Result) -> list[Any]:
    """Return what a command that went well printed for programs."""
    assert result.exit_code == 0, result.output or result.exception
    return [json.loads(line) for line in result.stdout.splitlines()]


@pytest.fixture
def command(nats_server: NatsServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Command]:
    """Run commands on the server's data directory; only what they print is in their output."""
    monkeypatch.setenv("ROOMLEDGER_DATA_DIR", str(nats_server.directory.path))
    monkeypatch.chdir(tmp_path)

    async def run(*arguments: str) -> Result:
        return await asyncio.to_thread(CliRunner().invoke, app, arguments)

    with capture_logs():  # of the processes that the test itself runs
        yield run
