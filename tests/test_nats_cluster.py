"""The three servers of docs/nats-server.md, started with the file that stands there."""

import asyncio
import contextlib
import json
import os
import re
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import NamedTuple

import nats
import nats.errors
import nats.js.errors
import pytest
from nats.aio.client import Client
from nats.js import JetStreamContext

from roomledger.event_store.layout import Layout
from roomledger.runtime.nats_binary import find_nats_conf, find_nats_server
from roomledger.runtime.nats_credentials import INBOX_PREFIX
from tests.support.nats import until

DOCUMENT = Path(__file__).parents[1] / "docs" / "nats-server.md"
LOG = "ROOMLEDGER"
PASSWORDS = {"service": "servicepw", "audit": "auditpw", "admin": "adminpw"}


class Member(NamedTuple):
    """One of the three."""

    name: str
    url: str
    process: asyncio.subprocess.Process

    async def connect(self, stack: AsyncExitStack, user: str) -> Client:
        client = await nats.connect(
            self.url, user=user, password=PASSWORDS[user], inbox_prefix=INBOX_PREFIX[user]
        )
        stack.push_async_callback(client.close)
        return client


def documented(name: str) -> str:
    """Return a file that the document shows."""
    match = re.search(
        rf"^```\n(# {re.escape(name)}\n.*?)^```$", DOCUMENT.read_text(), re.DOTALL | re.MULTILINE
    )
    assert match is not None, f"{DOCUMENT.name} does not show {name}"
    return match[1]


def reserve() -> socket.socket:
    """Take a free port, so that nobody else gets it before the server that it is for is started."""
    reserved = socket.socket()
    reserved.bind(("127.0.0.1", 0))
    return reserved


def url_of(directory: Path) -> str | None:
    for file in directory.glob("*.ports"):
        try:
            return str(json.loads(file.read_bytes())["nats"][0])
        except ValueError:
            return None
    return None


async def start(stack: AsyncExitStack, directory: Path, reserved: socket.socket, routes: list[str]) -> Member:
    port = reserved.getsockname()[1]
    reserved.close()
    name = f"n{port}"
    store = directory / name
    store.mkdir()
    environ = {
        "NATS_SERVER_NAME": name,
        "NATS_CLUSTER_LISTEN": f'"127.0.0.1:{port}"',
        "NATS_ROUTES": json.dumps(routes),
        "NATS_ROUTE_PASSWORD": "routepw",
        "NATS_STORE_DIR": str(store),
        "PATH": os.defpath,
    } | {f"ROOMLEDGER_NATS_{user.upper()}_PASSWORD": password for user, password in PASSWORDS.items()}
    process = await asyncio.create_subprocess_exec(
        *(str(find_nats_server({})), "--config", str(directory / "nats-cluster.conf"), "--port", "-1"),
        *("--ports_file_dir", str(store), "--log", str(store / "log")),
        env=environ,
    )

    async def stop() -> None:
        if process.returncode is None:
            process.kill()
        await process.wait()

    stack.push_async_callback(stop)
    await until(lambda: url_of(store) is not None, seconds=20)
    return Member(name, url_of(store) or "", process)


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


@pytest.fixture
async def cluster(tmp_path: Path, stack: AsyncExitStack) -> list[Member]:
    """Start the three, with a log of three replicas that holds one event."""
    shutil.copy(find_nats_conf(), tmp_path / "nats.conf")
    (tmp_path / "nats-cluster.conf").write_text(documented("nats-cluster.conf"))
    ports = [stack.enter_context(reserve()) for _ in range(3)]
    routes = [f"nats-route://route:routepw@127.0.0.1:{port.getsockname()[1]}" for port in ports]
    members = [await start(stack, tmp_path, port, routes) for port in ports]
    service = await members[0].connect(stack, "service")

    async def made() -> bool:
        # Until the servers have found each other and a leader they do not answer, or cannot place the log.
        configuration = json.dumps(Layout(replicas=3).configuration()).encode()
        try:
            answer = await service.request(f"$JS.API.STREAM.CREATE.{LOG}", configuration, timeout=0.5)
        except nats.errors.Error:
            return False
        return "error" not in json.loads(answer.data)

    await until(made, seconds=30)
    await append(service, b"[1]")
    for member in members:
        await until(lambda: answers(member), seconds=30)  # noqa: B023  - called before the next one
    return members


async def answers(member: Member) -> bool:
    """Tell whether a server has heard from the others what it needs to answer every user."""
    async with AsyncExitStack() as stack:
        try:
            for user in PASSWORDS:
                js = (await member.connect(stack, user)).jetstream(timeout=1)
                await js.get_msg(LOG, 1)
                await js.stream_info(LOG)
        except (nats.errors.Error, nats.js.errors.Error):
            return False
    return True


async def append(service: Client, commit: bytes) -> None:
    async def appended() -> bool:
        try:
            await service.jetstream().publish("ledger.room.r1", commit, timeout=1)
        except (nats.errors.Error, nats.js.errors.Error):
            return False
        return True

    await until(appended, seconds=30)


async def pulled(js: JetStreamContext) -> list[bytes]:
    """Read the log by a consumer; the servers may hear of a new one after who made it has had its answer."""
    pull = await js.pull_subscribe("ledger.>", stream=LOG)
    messages: list[bytes] = []

    async def there() -> bool:
        with contextlib.suppress(nats.js.errors.ServiceUnavailableError):
            messages.extend(message.data for message in await pull.fetch(1, timeout=5))
        return bool(messages)

    await until(there, seconds=10)
    return messages


async def leader(client: Client) -> str | None:
    cluster = (await client.jetstream().stream_info(LOG)).cluster
    assert cluster is not None
    return cluster.leader


async def test_the_log_is_read_at_every_server_by_every_user(
    cluster: list[Member], stack: AsyncExitStack
) -> None:
    for member in cluster:
        for user in ("service", "audit"):
            js = (await member.connect(stack, user)).jetstream()
            assert (await js.get_msg(LOG, 1)).data == b"[1]"
            assert await pulled(js) == [b"[1]"]


async def test_the_log_goes_on_when_the_server_that_leads_it_is_gone(
    cluster: list[Member], stack: AsyncExitStack
) -> None:
    first = await leader(await cluster[0].connect(stack, "service"))
    gone = next(member for member in cluster if member.name == first)
    left = [member for member in cluster if member is not gone]
    service = await left[0].connect(stack, "service")
    gone.process.kill()
    await gone.process.wait()
    await append(service, b"[2]")
    assert await leader(service) in {member.name for member in left}
    audit = await left[1].connect(stack, "audit")
    assert (await audit.jetstream().get_msg(LOG, 1)).data == b"[1]"


async def test_the_auditor_cannot_have_an_answer_appended_at_any_server(
    cluster: list[Member], stack: AsyncExitStack
) -> None:
    service = await cluster[0].connect(stack, "service")
    before = (await service.jetstream().stream_info(LOG)).state.messages
    for member in cluster:
        audit = await member.connect(stack, "audit")
        answers = await audit.subscribe(inbox := audit.new_inbox())
        for reply in ("ledger.room.r2", inbox):
            await audit.publish(f"$JS.API.STREAM.MSG.GET.{LOG}", b'{"seq": 1}', reply=reply)
        await answers.next_msg(timeout=5)
    assert (await service.jetstream().stream_info(LOG)).state.messages == before


def test_the_document_shows_tls_beside_the_same_file() -> None:
    assert 'include "nats.conf"' in documented("nats-tls.conf")
