"""What `serve` leaves in a data directory, and commands that are run beside it in the test's own process."""

import asyncio
import json
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import typer
from click.testing import Result
from typer.testing import CliRunner

Run = Callable[..., Coroutine[Any, Any, Result]]


def leave(data: Path, **endpoints: str) -> None:
    """Leave in a data directory where things listen, and the first service's key."""
    data.mkdir(parents=True, exist_ok=True)
    key = endpoints.pop("key", "")
    (data / "endpoints.json").write_text(json.dumps(endpoints))
    (data / "service.json").write_text(json.dumps({"service_id": "s", "service_key": key}))


def running(app: typer.Typer) -> Run:
    """Return what runs a command in a thread, so that what it calls can answer meanwhile."""

    async def run(*arguments: str, **environment: str) -> Result:
        return await asyncio.to_thread(CliRunner().invoke, app, arguments, env=environment)

    return run
