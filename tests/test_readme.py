"""The README says what is there, and its tour is run as it is written."""

import asyncio
import json
import os
import re
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import typer.main

from roomledger.cli.commands import LATER, imported
from roomledger.cli.main import app
from roomledger.settings import Settings

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
LASTING = re.compile(r"^make run$|\| roomledger join -$|^nats .* sub ")
"""Commands that a person leaves running."""
SECONDS = 60


def shell_lines(heading: str) -> list[str]:
    """Return the commands of a section, in order."""
    section = README.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    blocks = re.findall(r"```sh\n(.*?)```", section, re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line]


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


class Terminal:
    """Runs commands one after another, as somebody does who follows the tour."""

    def __init__(self, folder: Path, stack: AsyncExitStack, replacements: dict[str, str]) -> None:
        self.said: dict[str, str] = {}
        self._folder = folder
        self._stack = stack
        self._replacements = replacements
        self._variables: list[str] = []
        ports = {name: str(free_port()) for name in ("NATS", "API", "PORTAL", "SOCKETIO")}
        self.environment = {
            name: value for name, value in os.environ.items() if not name.startswith("ROOMLEDGER_")
        }
        self.environment |= {f"ROOMLEDGER_{name}_PORT": port for name, port in ports.items()}
        self.environment |= {
            "ROOMLEDGER_DATA_DIR": str(folder / "data"),
            "XDG_CONFIG_HOME": str(folder / "config"),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        }
        self._replacements[":3000"] = f":{ports['API']}"
        self._replacements["data/"] = f"{folder}/data/"

    async def run(self, line: str) -> None:
        """Run a command; one that lasts is left running until it has said something."""
        if line.startswith(". "):
            return
        command = line
        for before, after in self._replacements.items():
            command = command.replace(before, after)
        if re.match(r"^[A-Z]+=", line):
            self._variables.append(command)
            return
        script = "\n".join([*self._variables, command])
        child = await asyncio.create_subprocess_exec(
            "bash",
            "-c",
            "set -euo pipefail\n" + script,
            cwd=ROOT,
            env=self.environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        if LASTING.search(line):
            self._stack.push_async_callback(self._end, line, child)
            if " sub " not in line:
                self.said[line] = await self._begin(line, child)
            return
        async with asyncio.timeout(SECONDS):
            out, errors = await child.communicate()
        assert child.returncode == 0, f"{line}\n{out.decode()}\n{errors.decode()}"
        self.said[line] = out.decode()

    async def _begin(self, line: str, child: asyncio.subprocess.Process) -> str:
        """Return the first line that is its own; make may say before how it sets things up."""
        assert child.stdout is not None
        assert child.stderr is not None
        async with asyncio.timeout(SECONDS):
            while said := (await child.stdout.readline()).decode():
                if line != "make run" or said.startswith("{"):
                    return said
            raise AssertionError((await child.stderr.read()).decode())

    async def _end(self, line: str, child: asyncio.subprocess.Process) -> None:
        if child.returncode is None:
            os.killpg(child.pid, signal.SIGINT)
        async with asyncio.timeout(SECONDS):
            out, errors = await child.communicate()
        self.said[line] = self.said.get(line, "") + out.decode() + errors.decode()


@asynccontextmanager
async def terminal(folder: Path, **replacements: str) -> AsyncIterator[Terminal]:
    async with AsyncExitStack() as stack:
        yield Terminal(folder, stack, replacements)


async def test_the_tour_works_as_it_is_written(tmp_path: Path) -> None:
    async with terminal(tmp_path) as person:
        for line in shell_lines("A tour"):
            if not line.startswith("nats "):
                await person.run(line)
    said = person.said
    assert json.loads(said["make run"].splitlines()[0])["event"] == "ready"
    joined = said["roomledger token --user grace | roomledger join -"]
    assert "grace" in joined
    assert re.search(r"\+ linus .* came", joined)
    assert re.search(r"- linus .* left", joined)
    steps = [
        ("scheduler.portal", "WorkerJoined"),
        ("room.", "RoomCreated"),
        ("scheduler.portal", "WorkerReserved"),
        ("token.", "TokenIssued"),
        ("scheduler.conference", "WorkerReserved"),
        ("room.", "ParticipantJoined"),
        ("scheduler.portal", "TaskPickedUp"),
        ("room.", "ParticipantLeft"),
        ("scheduler.portal", "TaskLaidDown"),
    ]
    lines = said["roomledger log tail --no-follow"].splitlines()
    first = [min(n for n, line in enumerate(lines) if at in line and what in line) for at, what in steps]
    assert first == sorted(first), "causes stand before their effects"
    assert json.loads(said["roomledger replay --at 10 --json"])["sequence"] == 10


@pytest.mark.clients
async def test_the_tour_works_with_the_nats_tool_and_curl(tmp_path: Path) -> None:
    async with terminal(tmp_path) as person:
        for line in shell_lines("A tour") + shell_lines("Over HTTP"):
            await person.run(line)
        await person.run("roomledger token --user alan")
    said = person.said
    assert "feed.token." in said["nats --context roomledger sub 'feed.>'"]
    assert "ledger.scheduler.portal" in said["nats --context roomledger stream subjects ROOMLEDGER"]
    assert "cluster-manager" in said["nats --context roomledger micro ls"]
    workers = said['nats --context roomledger req rpc.cluster.get_workers \'{"purpose": "all"}\'']
    assert "portal-" in workers
    rooms = next(words for line, words in said.items() if line.startswith("curl") and "--json" not in line)
    assert '"lecture"' in rooms


def test_every_setting_is_in_the_readme() -> None:
    section = README.split("\n## Settings\n")[1].split("\n## ")[0]
    missing = [name for name in Settings.model_fields if f"`{name}`" not in section]
    assert not missing


def test_every_command_is_in_the_readme() -> None:
    def names(command: Any, prefix: str) -> list[str]:  # noqa: ANN401  - a command or a group of them
        group = getattr(command, "commands", None)
        if group is None:
            return [prefix]
        return [name for each in group for name in names(group[each], f"{prefix} {each}")]

    every = dict.fromkeys(typer.main.get_group(app).commands) | {name: imported(name) for name in LATER}
    found = [name for each, command in every.items() for name in names(command, f"roomledger {each}")]
    assert not [name for name in found if f"`{name}`" not in README]
