import asyncio
import os
import signal
import socket
import stat
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import nats
import pytest

from roomledger.runtime import nats_server
from roomledger.runtime.data_directory import DataDirectory
from roomledger.runtime.errors import (
    DataDirectoryUnusable,
    NatsPortInUse,
    NatsServerDied,
    NatsServerNotStarted,
    NatsServerTooOld,
)
from roomledger.runtime.nats_credentials import INBOX_PREFIX
from roomledger.runtime.nats_server import EmbeddedNats, last_words
from tests.support.nats import TOO_OLD, until

PARENT = """
import asyncio, pathlib, sys
from roomledger.runtime import nats_server
from roomledger.runtime.data_directory import DataDirectory

class OtherSystem:
    platform = sys.argv[2]
    executable = sys.executable

async def main():
    nats_server.sys = OtherSystem
    directory = DataDirectory(pathlib.Path(sys.argv[1]))
    directory.lock()
    server = nats_server.EmbeddedNats(directory, 0)
    await server.start()
    print(server.pid, server.url, flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[DataDirectory]:
    with DataDirectory(tmp_path / "data with a blank") as directory:
        yield directory


@pytest.fixture
async def server(directory: DataDirectory) -> AsyncIterator[EmbeddedNats]:
    async with EmbeddedNats(directory, 0, environ={}) as server:
        yield server


async def works(server: EmbeddedNats, user: str = "service") -> bool:
    """Tell whether a user gets in and JetStream answers."""
    password = server.credentials[user]
    client = await nats.connect(server.url, user=user, password=password, inbox_prefix=INBOX_PREFIX[user])
    await client.jetstream().account_info()
    await client.close()
    return True


def environment(server: EmbeddedNats) -> list[str]:
    return Path(f"/proc/{server.pid}/environ").read_text().split("\0")


def runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


async def test_all_users_get_in_with_the_passwords_that_were_made_up(server: EmbeddedNats) -> None:
    assert [await works(server, user) for user in server.credentials] == [True, True, True]


async def test_it_listens_on_the_loopback_interface_only(server: EmbeddedNats) -> None:
    assert server.url.startswith("nats://127.0.0.1:")


async def test_its_log_goes_to_a_file_in_the_data_directory(server: EmbeddedNats) -> None:
    assert "Server is ready" in server.log.read_text()
    assert stat.S_IMODE(server.log.stat().st_mode) == 0o600


async def test_no_password_is_in_its_log(server: EmbeddedNats) -> None:
    assert not any(password in server.log.read_text() for password in server.credentials.values())


async def test_it_does_not_get_the_terminals_interrupt(server: EmbeddedNats) -> None:
    assert server.pid is not None
    assert os.getsid(server.pid) == server.pid


async def test_its_url_is_in_the_data_directory_while_it_runs(directory: DataDirectory) -> None:
    async with EmbeddedNats(directory, 0, environ={}) as server:
        assert directory.read("nats-url") == server.url + "\n"
    assert directory.read("nats-url") is None


async def test_it_is_gone_when_it_was_stopped(directory: DataDirectory) -> None:
    server = EmbeddedNats(directory, 0, environ={})
    await server.start()
    pid = server.pid
    assert pid is not None
    await server.stop()
    await server.stop()
    assert (server.pid, runs(pid)) == (None, False)


async def test_it_goes_on_with_what_it_had_and_the_same_passwords(directory: DataDirectory) -> None:
    async with EmbeddedNats(directory, 0, environ={}) as server:
        password = server.credentials["service"]
        client = await nats.connect(server.url, user="service", password=password)
        await (await client.jetstream().create_key_value(bucket="keys")).put("key", b"value")
        await client.close()
    async with EmbeddedNats(directory, 0, environ={}) as server:
        client = await nats.connect(server.url, user="service", password=password)
        assert (await (await client.jetstream().key_value("keys")).get("key")).value == b"value"
        await client.close()


@pytest.mark.parametrize(
    "password", ["4711", "true", "a b", 'quote " back \\ slash', "$HOME", "12e3", "#x", "1k"]
)
async def test_a_password_may_be_anything(directory: DataDirectory, password: str) -> None:
    environ = {"ROOMLEDGER_NATS_SERVICE_PASSWORD": password}
    async with EmbeddedNats(directory, 0, environ=environ) as server:
        assert server.credentials["service"] == password
        assert await works(server)


async def test_the_child_gets_none_of_roomledgers_other_settings(directory: DataDirectory) -> None:
    environ = {"ROOMLEDGER_SERVICE_KEY": "secret", "TZ": "UTC"}
    async with EmbeddedNats(directory, 0, environ=environ) as server:
        given = environment(server)
        assert "TZ=UTC" in given
        assert not any(variable.startswith("ROOMLEDGER_SERVICE_KEY") for variable in given)


async def test_on_few_cores_it_gets_one_of_them(
    directory: DataDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    async with EmbeddedNats(directory, 0, environ={}) as server:
        assert "GOMAXPROCS=1" in environment(server)


@pytest.mark.parametrize(("cores", "environ"), [(2, {"GOMAXPROCS": "2"}), (3, {})])
async def test_with_more_cores_or_at_wish_it_gets_others(
    directory: DataDirectory, monkeypatch: pytest.MonkeyPatch, cores: int, environ: dict[str, str]
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    async with EmbeddedNats(directory, 0, environ=environ) as server:
        told = [each for each in environment(server) if each.startswith("GOMAXPROCS")]
        assert told == [f"{name}={value}" for name, value in environ.items()]


async def test_a_port_in_use_is_refused_by_name(directory: DataDirectory) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(NatsPortInUse) as refusal:
            await EmbeddedNats(directory, port, environ={}).start()
    assert str(refusal.value) == (
        f"port {port} is in use, and the embedded nats-server needs it: stop what listens there,"
        " or choose another with ROOMLEDGER_NATS_PORT (0 takes any free one)"
    )


async def test_it_starts_on_the_port_that_was_asked_for(directory: DataDirectory) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
    async with EmbeddedNats(directory, port, environ={}) as server:
        assert server.url == f"nats://127.0.0.1:{port}"


async def test_a_server_that_is_too_old_is_not_started(directory: DataDirectory) -> None:
    with pytest.raises(NatsServerTooOld):
        await EmbeddedNats(directory, 0, environ={"ROOMLEDGER_NATS_SERVER": str(TOO_OLD)}).start()


async def test_a_store_that_cannot_be_used_is_told_with_the_servers_last_words(
    directory: DataDirectory,
) -> None:
    (directory.path / "jetstream").write_text("not a directory")
    with pytest.raises(NatsServerNotStarted) as refusal:
        await EmbeddedNats(directory, 0, environ={}).start()
    assert str(refusal.value) == (
        "nats-server did not start: Can't start JetStream: storage directory is not a directory"
        f" (more in {directory.path}/nats-server.log)"
    )


async def test_a_log_that_cannot_be_written_is_refused_with_the_reason(directory: DataDirectory) -> None:
    (directory.path / "nats-server.log").mkdir()
    with pytest.raises(DataDirectoryUnusable, match=r"nats-server\.log: Is a directory"):
        await EmbeddedNats(directory, 0, environ={}).start()


async def test_a_start_after_a_failed_one_works(directory: DataDirectory) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        server = EmbeddedNats(directory, other.getsockname()[1], environ={})
        with pytest.raises(NatsPortInUse):
            await server.start()
    async with server:
        assert await works(server)


async def test_a_death_is_noticed_and_names_the_log_file(server: EmbeddedNats) -> None:
    assert server.pid is not None
    os.kill(server.pid, signal.SIGKILL)
    death = await asyncio.wait_for(server.died(), 5)
    assert isinstance(death, NatsServerDied)
    assert str(death) == f"nats-server ended unexpectedly (signal 9): {server.log} may say why"
    assert server.pid is None


async def test_a_stop_is_no_death(server: EmbeddedNats) -> None:
    death = asyncio.create_task(server.died())
    await server.stop()
    await server.start()
    assert not death.done()
    death.cancel()


async def test_a_server_that_does_not_stop_is_killed(
    server: EmbeddedNats, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nats_server, "STOP_SECONDS", 0.1)
    pid = server.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    await server.stop()
    assert not runs(pid)


@pytest.mark.parametrize("platform", ["linux", "one where a child outlives its parent"])
async def test_the_next_start_works_when_the_parent_was_killed(tmp_path: Path, platform: str) -> None:
    path = tmp_path / "data"
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PARENT, path, platform, stdout=asyncio.subprocess.PIPE
    )
    assert parent.stdout is not None
    pid, url = (await parent.stdout.readline()).decode().split()
    parent.kill()
    await parent.wait()
    with DataDirectory(path) as directory:
        async with EmbeddedNats(directory, int(url.rpartition(":")[2])) as server:
            assert await works(server)
            assert not runs(int(pid))


async def test_it_does_not_outlive_a_parent_that_was_killed(tmp_path: Path) -> None:
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PARENT, tmp_path, "linux", stdout=asyncio.subprocess.PIPE
    )
    assert parent.stdout is not None
    pid = int((await parent.stdout.readline()).split()[0])
    parent.kill()
    await parent.wait()
    await until(lambda: not runs(pid))


async def test_a_large_log_is_set_aside(directory: DataDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nats_server, "LOG_LIMIT", 10)
    (directory.path / "nats-server.log").write_text("a long story\n")
    async with EmbeddedNats(directory, 0, environ={}) as server:
        assert (directory.path / "nats-server.log.1").read_text() == "a long story\n"
        assert "a long story" not in server.log.read_text()


async def test_a_url_is_not_to_be_had_before_the_start(directory: DataDirectory) -> None:
    with pytest.raises(RuntimeError, match="has not been started"):
        _ = EmbeddedNats(directory).url


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ("", ""),
        ("[1] 2026/01/02 03:04:05.678901 [INF] one\n[1] 2026/01/02 03:04:05.678901 [FTL] two\nbye\n", "two"),
        ("[1] 2026/01/02 03:04:05.678901 [ERR] one\nbye\n", "one"),
        ("nats-server: nats.conf:1:2: what\n", "nats.conf:1:2: what"),
    ],
)
def test_the_last_words_are_the_fatal_ones(told: str, words: str) -> None:
    assert last_words(told) == words
