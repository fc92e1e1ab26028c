"""Bad clients, all at once, at a portal where others talk: it stays up, and the others notice nothing."""

import asyncio
import contextlib
import json
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from roomledger.sdk.client import SUBPROTOCOL
from tests.support.cluster import TestCluster
from tests.support.crowd import Crowd, staged
from tests.support.nats import until

pytestmark = pytest.mark.chaos

ROUNDS = 5
LOGINS = 1000
METHODS = ("login", "relogin", "refresh_ticket", "logout", "text", "participants", "dance", "")
PARAMS = ("null", "[]", "[null]", "0", '"x"', "{}", '{"token": null}', '{"to": null, "message": null}')
HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"
"""How a client begins that speaks TLS."""

BadClient = Callable[[str, str], Awaitable[None]]


async def sends(url: str, *frames: str | bytes) -> ClientConnection:
    client = await connect(url, subprotocols=[SUBPROTOCOL], compression=None, proxy=None, close_timeout=2)
    with contextlib.suppress(ConnectionClosed):
        for frame in frames:
            await client.send(frame)
    return client


async def until_closed(client: ClientConnection) -> int | None:
    """Read on until the portal has closed the connection, and return the code."""
    async with asyncio.timeout(20):
        with contextlib.suppress(ConnectionClosed):
            while True:
                await client.recv()
    return client.close_code


async def with_wrong_params(url: str, _: str) -> None:
    for method in METHODS:
        for params in PARAMS:
            call = f'{{"jsonrpc": "2.0", "id": 1, "method": "{method}", "params": {params}}}'
            client = await sends(url, call)
            answer = json.loads(await asyncio.wait_for(client.recv(), 10))
            assert "error" in answer
            await client.close()


async def with_wrong_params_when_in(url: str, token: str) -> None:
    client = await sends(url, login(token))
    assert "result" in json.loads(await client.recv())
    for params in PARAMS:
        await client.send(f'{{"jsonrpc": "2.0", "id": 7, "method": "text", "params": {params}}}')
    refused = 0
    while refused < len(PARAMS):
        refused += json.loads(await asyncio.wait_for(client.recv(), 10)).get("id") == 7
    await client.send('{"jsonrpc": "2.0", "id": 8, "method": "logout"}')
    assert await until_closed(client) == 1000


async def with_binary_frames(url: str, _: str) -> None:
    client = await sends(url, b"\x00\x01\x02")
    assert await until_closed(client) == 1003


async def with_batches(url: str, token: str) -> None:
    client = await sends(url, f"[{login(token)}, {login(token)}]")
    assert "error" in json.loads(await asyncio.wait_for(client.recv(), 10))
    await client.close()


async def with_ten_megabytes(url: str, _: str) -> None:
    client = await sends(url, "x" * 10_000_000)
    assert await until_closed(client) in {1006, 1009}


async def half_closed(url: str, _: str) -> None:
    client = await sends(url)
    client.transport.write_eof()
    await until_closed(client)


async def with_a_thousand_logins(url: str, token: str) -> None:
    client = await sends(url, *[login(token)] * LOGINS)
    joined = answers = 0
    async with asyncio.timeout(20):
        with contextlib.suppress(ConnectionClosed):
            while answers < LOGINS:
                message = json.loads(await client.recv())
                answers += "id" in message
                joined += "result" in message
    assert joined <= 1
    await client.close()


async def with_garbage(url: str, _: str) -> None:
    address = urlsplit(url)
    for garbage in (random.randbytes(5_000), HELLO, b"\r\n" * 5_000, b"GET / HTTP/1.1\r\n" + b"x" * 100_000):  # noqa: S311  - no secret
        _reader, writer = await asyncio.open_connection(address.hostname, address.port)
        with contextlib.suppress(OSError):
            writer.write(garbage)
            await writer.drain()
        writer.close()


BAD: tuple[BadClient, ...] = (
    with_wrong_params,
    with_wrong_params_when_in,
    with_binary_frames,
    with_batches,
    with_ten_megabytes,
    half_closed,
    with_a_thousand_logins,
    with_garbage,
)


def login(token: str) -> str:
    params = {"token": token, "reconnect": False}
    return json.dumps({"jsonrpc": "2.0", "id": 1, "method": "login", "params": params})


async def test_the_portal_stays_up_and_the_others_notice_nothing(
    cluster: TestCluster, tmp_path: Path
) -> None:
    async with staged(cluster, tmp_path, portals=1) as stage:
        crowd = Crowd(stage)
        (portal,) = stage.portals
        try:
            await crowd.join(2, 3)
            crowd.talk(0.1)
            done = Counter[str]()
            for _ in range(ROUNDS):
                tokens = await stage.tokens("room-0", len(BAD), portal)
                await asyncio.gather(
                    *(bad(portal.url, token) for bad, token in zip(BAD, tokens, strict=True))
                )
                done.update(bad.__name__ for bad in BAD)
            own = {member.login.id for member in crowd.rooms["room-0"]}
            await crowd.alone("room-0")
            sent = crowd.sent
            await until(lambda: crowd.sent > sent + 10, 10)
            await crowd.hush()
            came = len(await stage.used("room-0")) - len(own)
            assert await crowd.check(visitors=came) > 0
            assert [member for member in crowd.members if member.lost] == []
            assert crowd.unsent == {}
            assert portal.is_running
            assert "exception" not in portal.said
        finally:
            await crowd.close()
