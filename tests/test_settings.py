from pathlib import Path

import pydantic
import pytest

from roomledger.settings import Settings, UnknownSetting, load


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_nothing_needs_to_be_set() -> None:
    settings = load()
    assert (settings.nats_port, settings.api_port, settings.portal_port) == (4222, 3000, 8080)
    assert settings.host == "127.0.0.1"
    assert settings.log_name == "ROOMLEDGER"


def test_a_flag_wins_over_the_environment_and_that_over_the_file(
    empty_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (empty_folder / "roomledger.toml").write_text("api_port = 1\nportal_port = 1\nnats_port = 1\n")
    monkeypatch.setenv("ROOMLEDGER_API_PORT", "2")
    monkeypatch.setenv("ROOMLEDGER_PORTAL_PORT", "2")
    settings = load(api_port=3)
    assert (settings.api_port, settings.portal_port, settings.nats_port) == (3, 2, 1)


def test_a_flag_that_is_not_given_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROOMLEDGER_NATS_URL", "nats://a:1")
    assert load(nats_url=None).nats_url == "nats://a:1"


def test_a_key_in_the_file_that_is_no_setting_is_an_error(empty_folder: Path) -> None:
    (empty_folder / "roomledger.toml").write_text('colour = "red"\n')
    with pytest.raises(pydantic.ValidationError, match="colour"):
        load()


def test_a_variable_that_is_no_setting_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROOMLEDGER_COLOUR", "red")
    with pytest.raises(UnknownSetting, match="ROOMLEDGER_COLOUR"):
        load()


def test_a_file_that_is_named_has_to_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROOMLEDGER_CONFIG", "nowhere.toml")
    with pytest.raises(FileNotFoundError):
        load()


def test_each_purpose_has_settings_of_its_own(empty_folder: Path) -> None:
    (empty_folder / "roomledger.toml").write_text(
        '[scheduler.default]\nlease_ms = 5000\n[scheduler.portal]\nstrategy = "least-used"\n'
    )
    scheduler = load().scheduler
    assert scheduler["portal"].strategy == "least-used"
    assert scheduler["default"].lease_ms == 5000


@pytest.mark.parametrize(
    "table", ['[scheduler.portal]\ncolour = "red"', "[scheduler.portal]\nlease_ms = 1", "api_port = 70000"]
)
def test_a_wrong_value_is_an_error(empty_folder: Path, table: str) -> None:
    (empty_folder / "roomledger.toml").write_text(table)
    with pytest.raises(pydantic.ValidationError):
        load()


def test_a_secret_does_not_show() -> None:
    assert "hidden" not in repr(Settings(nats_password="hidden", service_key="hidden"))
