import json
import stat
from pathlib import Path

import nats
import pytest
import typer
from typer.testing import CliRunner

from roomledger.cli.nats_context import context, context_directory, may_replace, nats_context, write_context
from roomledger.runtime.errors import DataDirectoryUnusable, NatsContextNotWritten
from tests.support.nats import NatsServer

DATA = Path("/srv/data")
CONTENT = context("nats://127.0.0.1:4222", "service", "secret", data=DATA)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let the command find its configuration nowhere but here."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "config" / "nats"


@pytest.fixture
def run() -> typer.Typer:
    app = typer.Typer()
    app.command()(nats_context)
    return app


def call(app: typer.Typer, *arguments: str) -> str:
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_contexts_are_where_the_tool_looks_for_them() -> None:
    assert context_directory({"HOME": "/home/ann"}) == Path("/home/ann/.config/nats/context")
    assert context_directory({"HOME": "/home/ann", "XDG_CONFIG_HOME": "/etc/ann"}) == Path(
        "/etc/ann/nats/context"
    )


def test_the_auditors_context_names_its_own_inboxes() -> None:
    assert context("nats://h:1", "audit", "p", data=DATA)["inbox_prefix"] == "_INBOX_audit"


def test_a_context_is_for_the_owner_only(tmp_path: Path) -> None:
    path = write_context(tmp_path / "nats" / "context", "roomledger", CONTENT)
    assert (path.name, json.loads(path.read_text())) == ("roomledger.json", CONTENT)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("found", "replaced"),
    [
        (None, True),
        (json.dumps(CONTENT), True),
        (json.dumps(CONTENT | {"description": "mine"}), True),
        (json.dumps(CONTENT | {"url": "nats://127.0.0.1:5222"}), True),
        (json.dumps(context("nats://h:1", "audit", "p", data=DATA)), True),
        (json.dumps(context("nats://h:1", "service", "p", data=Path("/srv/other"))), False),
        (json.dumps(CONTENT | {"description": "mine", "url": "nats://h:1"}), False),
        ("{}", False),
        ("[]", False),
        ("not JSON", False),
    ],
)
def test_only_ones_own_context_is_replaced(found: str | None, replaced: bool) -> None:  # noqa: FBT001  - expected
    assert may_replace(found, CONTENT) is replaced


def test_the_context_of_somebody_else_is_kept_and_named(tmp_path: Path) -> None:
    (tmp_path / "roomledger.json").write_text("{}")
    with pytest.raises(
        NatsContextNotWritten, match=r"roomledger was not written: .*json is another one; .*--force"
    ):
        write_context(tmp_path, "roomledger", CONTENT)
    assert (tmp_path / "roomledger.json").read_text() == "{}"


def test_the_context_of_somebody_else_is_replaced_by_force(tmp_path: Path) -> None:
    (tmp_path / "roomledger.json").write_text("{}")
    path = write_context(tmp_path, "roomledger", CONTENT, force=True)
    assert json.loads(path.read_text()) == CONTENT


@pytest.mark.parametrize("user", ["service", "audit", "admin"])
async def test_a_running_server_is_reached_with_its_context(
    nats_server: NatsServer, home: Path, run: typer.Typer, user: str
) -> None:
    told = json.loads(
        call(run, "--data-dir", str(nats_server.directory.path), "--user", user, "--name", "c", "--json")
    )
    written = json.loads((home / "context" / "c.json").read_text())
    client = await nats.connect(
        written["url"],
        user=written["user"],
        password=written["password"],
        inbox_prefix=written["inbox_prefix"],
    )
    await client.jetstream().account_info()
    await client.close()
    assert told == {
        "context": "c",
        "path": str(home / "context" / "c.json"),
        "url": nats_server.url,
        "user": user,
        "selected": False,
    }


@pytest.mark.parametrize(("user", "name"), [("service", "roomledger"), ("audit", "roomledger-audit")])
def test_each_user_has_a_context_of_its_own(
    home: Path, run: typer.Typer, monkeypatch: pytest.MonkeyPatch, user: str, name: str
) -> None:
    monkeypatch.setenv(f"ROOMLEDGER_NATS_{user.upper()}_PASSWORD", "secret")
    told = call(run, "--user", user, "--nats", "nats://h:1")
    assert told == f"wrote {home}/context/{name}.json\ntry:  nats --context {name} sub 'feed.>'\n"


def test_no_password_is_shown(home: Path, run: typer.Typer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROOMLEDGER_NATS_SERVICE_PASSWORD", "secret")
    assert "secret" not in call(run, "--nats", "nats://h:1", "--json")
    assert "secret" in (home / "context" / "roomledger.json").read_text()


def test_a_context_is_selected_on_demand(
    home: Path, run: typer.Typer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROOMLEDGER_NATS_SERVICE_PASSWORD", "secret")
    call(run, "--nats", "nats://h:1")
    assert not (home / "context.txt").exists()
    call(run, "--nats", "nats://h:1", "--select")
    assert (home / "context.txt").read_text() == "roomledger"


@pytest.mark.usefixtures("home")
def test_without_a_server_nothing_is_written(run: typer.Typer, tmp_path: Path) -> None:
    with pytest.raises(NatsContextNotWritten, match=r"no roomledger serves on .*/data now"):
        call(run, "--data-dir", str(tmp_path / "data"))


@pytest.mark.usefixtures("home")
def test_without_a_password_nothing_is_written(run: typer.Typer) -> None:
    with pytest.raises(
        NatsContextNotWritten, match=r"password of audit is not known; it is in ROOMLEDGER_NATS_AUDIT"
    ):
        call(run, "--user", "audit", "--nats", "nats://h:1")


@pytest.mark.usefixtures("home")
def test_broken_credentials_are_refused_by_name(run: typer.Typer, tmp_path: Path) -> None:
    (tmp_path / "nats-credentials.json").write_text("{")
    with pytest.raises(DataDirectoryUnusable, match=r"nats-credentials\.json: not JSON"):
        call(run, "--data-dir", str(tmp_path), "--nats", "nats://h:1")


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize("name", ["", "a/b", "..", "a b", "ä"])
def test_a_name_that_is_no_file_name_is_refused(run: typer.Typer, name: str) -> None:
    assert CliRunner().invoke(run, ["--name", name, "--nats", "nats://h:1"]).exit_code == 2
