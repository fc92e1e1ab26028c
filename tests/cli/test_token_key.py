import json
from pathlib import Path

import pytest

from roomledger.cli.main import app
from roomledger.runtime.errors import TooSoonToRotate
from roomledger.runtime.token_keys import TokenKeys
from roomledger.settings import Settings
from tests.support.cluster import TestCluster
from tests.support.nats import NatsServer
from tests.support.served import Run, running


@pytest.fixture
def run(
    cluster: TestCluster, nats_server: NatsServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Run:
    """Run commands on the server of a cluster whose log is there."""
    del cluster
    monkeypatch.setenv("ROOMLEDGER_NATS_URL", nats_server.url)
    monkeypatch.setenv("ROOMLEDGER_NATS_PASSWORD", nats_server.credentials["service"])
    monkeypatch.chdir(tmp_path)
    return running(app)


async def test_the_first_key_signs_at_once(run: Run) -> None:
    result = await run("token-key", "show", "--json")
    assert result.exit_code == 0, result.output
    (key,) = json.loads(result.stdout)["keys"]
    assert (key["state"], key["good_until"]) == ("signs", None)


async def test_a_new_key_signs_soon_and_the_one_before_is_still_good(run: Run) -> None:
    result = await run("token-key", "rotate", "--json")
    states = [(key["state"], key["good_until"] is None) for key in json.loads(result.stdout)["keys"]]
    assert states == [("signs soon", True), ("still good", False)]


async def test_a_rotation_that_would_make_tokens_void_is_refused_in_a_sentence(run: Run) -> None:
    await run("token-key", "rotate")
    result = await run("token-key", "rotate")
    assert isinstance(result.exception, TooSoonToRotate)
    assert "--force" in str(result.exception)
    assert (await run("token-key", "rotate", "--force")).exit_code == 0


async def test_no_key_is_shown(run: Run, nats_server: NatsServer) -> None:
    said = [(await run("token-key", *words)).output for words in (("rotate",), ("show",), ("show", "--json"))]
    keys = TokenKeys(await nats_server.connect(), Settings())
    await keys.load()
    assert len(keys.keys) == 2
    for key in keys.keys:
        assert all(key.secret.hex() not in each and repr(key.secret) not in each for each in said)
