import importlib.metadata
import shutil
import sys
from pathlib import Path
from typing import Never

import pytest

from roomledger.runtime.errors import NatsServerNotFound, NatsServerTooOld
from roomledger.runtime.nats_binary import OLDEST, check_version, find_nats_conf, find_nats_server
from tests.support.nats import TOO_OLD

REPOSITORY = Path(__file__).parents[2]
INSTALLED = Path(sys.prefix) / "bin" / "nats-server"


@pytest.fixture
def no_wheel(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the package with the binary look as if it were not installed."""

    def files(name: str) -> Never:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "files", files)


@pytest.fixture
def on_path(tmp_path: Path) -> Path:
    """Put a nats-server on a search path."""
    binary = tmp_path / "nats-server"
    binary.symlink_to(INSTALLED)
    return binary


def test_the_configuration_is_the_one_at_the_root() -> None:
    assert find_nats_conf() == REPOSITORY / "nats.conf"


def test_the_binary_is_the_installed_packages(on_path: Path) -> None:
    found = find_nats_server({"PATH": str(on_path.parent)})
    assert found == INSTALLED.resolve()


def test_the_binary_that_is_named_wins(on_path: Path) -> None:
    assert find_nats_server({"ROOMLEDGER_NATS_SERVER": str(on_path)}) == on_path


@pytest.mark.usefixtures("no_wheel")
def test_the_binary_on_the_path_is_the_last_choice(on_path: Path) -> None:
    assert find_nats_server({"PATH": str(on_path.parent)}) == on_path


@pytest.mark.usefixtures("no_wheel")
def test_no_binary_anywhere_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(
        NatsServerNotFound, match=r"there is no nats-server: install the package .*NATS_SERVER"
    ):
        find_nats_server({"PATH": str(tmp_path)})


def test_no_other_binary_is_taken_for_one_that_is_named_and_not_there(tmp_path: Path) -> None:
    with pytest.raises(
        NatsServerNotFound, match=r"missing is no nats-server that can be run: check ROOMLEDGER"
    ):
        find_nats_server({"ROOMLEDGER_NATS_SERVER": str(tmp_path / "missing")})


async def test_the_installed_server_is_new_enough() -> None:
    assert await check_version(find_nats_server({})) >= (*OLDEST, 0)


async def test_a_server_that_is_too_old_is_refused_by_name() -> None:
    with pytest.raises(NatsServerTooOld) as refusal:
        await check_version(TOO_OLD)
    assert refusal.value.version[:2] == (2, 11)
    assert str(refusal.value).startswith(f"{TOO_OLD} is nats-server 2.11.")
    assert "needs 2.12 or newer: update it" in str(refusal.value)


@pytest.mark.parametrize("other", [shutil.which("true"), __file__])
async def test_another_program_is_not_taken_for_a_server(other: str) -> None:
    with pytest.raises(NatsServerNotFound, match="is no nats-server that can be run"):
        await check_version(Path(other))
