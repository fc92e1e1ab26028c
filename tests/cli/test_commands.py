import subprocess
import sys

import pytest

from roomledger.cli.commands import LATER, imported
from roomledger.cli.main import app
from tests.support.commands import CliRunner


@pytest.mark.parametrize("name", LATER)
def test_a_command_is_listed_with_what_its_own_help_says(name: str) -> None:
    first, _, _ = (imported(name).help or "").partition("\n\n")
    assert " ".join(first.split()) == LATER[name].help


def test_all_commands_but_the_hidden_ones_are_listed() -> None:
    said = CliRunner().invoke(app, ["--help"]).output
    assert all((f"│ {name} " in said) is not each.hidden for name, each in LATER.items())


@pytest.mark.parametrize("arguments", [["--help"], ["version"], ["cluster-manager", "--help"]])
def test_what_is_not_run_is_not_imported(arguments: list[str]) -> None:
    program = (
        "import sys; from roomledger.cli.main import main\n"
        f"sys.argv[1:] = {arguments}\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print({'nats', 'fastapi', 'structlog', 'httpx'} & sys.modules.keys())"
    )
    command = [sys.executable, "-c", program]
    found = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603  - ourselves
    assert found.stdout.splitlines()[-1] == "set()"
