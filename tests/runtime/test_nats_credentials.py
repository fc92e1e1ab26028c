import json
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from roomledger.runtime.data_directory import DataDirectory
from roomledger.runtime.errors import DataDirectoryUnusable
from roomledger.runtime.nats_credentials import CREDENTIALS_FILE, make_credentials, read_credentials

GIVEN = {
    "ROOMLEDGER_NATS_SERVICE_PASSWORD": "given service",
    "ROOMLEDGER_NATS_AUDIT_PASSWORD": "given audit",
    "ROOMLEDGER_NATS_ADMIN_PASSWORD": "given admin",
}


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[DataDirectory]:
    with DataDirectory(tmp_path / "data") as directory:
        yield directory


def test_passwords_are_made_up_once(directory: DataDirectory) -> None:
    made = make_credentials(directory, {})
    assert make_credentials(directory, {}) == read_credentials(directory, {}) == made


def test_each_user_has_a_long_password_of_its_own_that_begins_with_a_letter(directory: DataDirectory) -> None:
    made = make_credentials(directory, {})
    assert set(made) == {"service", "audit", "admin"}
    assert len(set(made.values())) == 3
    assert all(len(password) > 32 and password[0].isalpha() for password in made.values())


def test_passwords_are_kept_for_the_owner_only(directory: DataDirectory) -> None:
    made = make_credentials(directory, {})
    file = directory.path / CREDENTIALS_FILE
    assert json.loads(file.read_text()) == made
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_passwords_from_the_environment_win_and_are_not_kept(directory: DataDirectory) -> None:
    assert make_credentials(directory, GIVEN) == {
        "service": "given service",
        "audit": "given audit",
        "admin": "given admin",
    }
    assert not (directory.path / CREDENTIALS_FILE).exists()


def test_a_password_from_the_environment_leaves_the_kept_ones_alone(directory: DataDirectory) -> None:
    made = make_credentials(directory, {})
    given = {"ROOMLEDGER_NATS_AUDIT_PASSWORD": "given audit"}
    assert make_credentials(directory, given) == made | {"audit": "given audit"}
    assert make_credentials(directory, {}) == made


def test_only_those_that_are_known_are_read(directory: DataDirectory) -> None:
    assert read_credentials(directory, {"ROOMLEDGER_NATS_AUDIT_PASSWORD": "given audit"}) == {
        "audit": "given audit"
    }


@pytest.mark.parametrize("text", ["", "{", "[]", '{"service": 1}', '{"service": ""}'])
def test_a_file_that_holds_something_else_is_refused_and_kept(directory: DataDirectory, text: str) -> None:
    directory.write(CREDENTIALS_FILE, text)
    with pytest.raises(DataDirectoryUnusable, match=r"nats-credentials\.json: not "):
        make_credentials(directory, {})
    assert directory.read(CREDENTIALS_FILE) == text
