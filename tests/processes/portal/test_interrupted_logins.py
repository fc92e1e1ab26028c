"""Clients that disconnect at every step of a login: nobody stays behind, no token is used up for nothing."""

import asyncio
import contextlib
import json
import random
from collections.abc import Awaitable, Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from roomledger.domain import signed_token
from roomledger.sdk.client import SUBPROTOCOL, Client
from roomledger.sdk.errors import RequestRefused
from tests.support.cluster import TestCluster
from tests.support.crowd import Stage, staged
from tests.support.nats import until

pytestmark = pytest.mark.chaos

ROOMS = 5
ROUNDS = 300
AT_ONCE = 8
LONGEST_S = 0.15
"""Logins are interrupted up to so long after they were sent: longer than most take."""

Visit = Callable[[str, str], Awaitable[None]]


async def knock(url: str, _: str) -> None:
    """Go as soon as the connection is there."""
    address = urlsplit(url)
    _reader, writer = await asyncio.open_connection(address.hostname, address.port)
    writer.transport.abort()


async def shake_half_a_hand(url: str, _: str) -> None:
    """Go in the middle of the handshake."""
    address = urlsplit(url)
    _reader, writer = await asyncio.open_connection(address.hostname, address.port)
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConn")
    await writer.drain()
    await asyncio.sleep(random.uniform(0, 0.02))  # noqa: S311  - no secret
    writer.transport.abort()


async def shake_hands(url: str, _: str) -> None:
    """Go before the login."""
    await _go(await _connected(url))


async def ask(url: str, token: str) -> None:
    """Go at some moment after the login was sent, before or after its answer."""
    client = await _connected(url)
    await client.send(_login(token))
    try:
        await asyncio.wait_for(client.recv(), random.uniform(0, LONGEST_S))  # noqa: S311  - no secret
        answered.append(token)
    except TimeoutError:
        unanswered.append(token)
    await _go(client)


async def hear(url: str, token: str) -> None:
    """Go as soon as the answer is there."""
    client = await _connected(url)
    await client.send(_login(token))
    assert "result" in json.loads(await client.recv())
    await _go(client)


answered: list[str] = []
unanswered: list[str] = []
VISITS: tuple[Visit, ...] = (knock, shake_half_a_hand, shake_hands, ask, ask, ask, hear)


async def _connected(url: str) -> ClientConnection:
    return await connect(url, subprotocols=[SUBPROTOCOL], compression=None, proxy=None, close_timeout=1)


def _login(token: str) -> str:
    params = {"token": token, "reconnect": random.random() < 0.5}  # noqa: S311  - no secret
    return json.dumps({"jsonrpc": "2.0", "id": 1, "method": "login", "params": params})


async def _go(client: ClientConnection) -> None:
    """Go in one of the ways in which clients do."""
    way = random.choice(["abort", "close", "half"])  # noqa: S311  - no secret
    if way == "half":
        with contextlib.suppress(OSError):
            client.transport.write_eof()
        with contextlib.suppress(ConnectionClosed):
            while True:
                await asyncio.wait_for(client.recv(), 5)
    elif way == "close":
        await client.close()
    client.transport.abort()


async def visit_all(stage: Stage) -> dict[str, list[tuple[Visit, str, str]]]:
    """Have one visit after another in each room, and return them: how, with which token, its id."""
    url = stage.portals[0].url
    visits: dict[str, list[tuple[Visit, str, str]]] = {}
    for number in range(ROOMS):
        room = f"room-{number}"
        await stage.cluster.room(room)
        tokens = await stage.tokens(room, ROUNDS // ROOMS, stage.portals[0])
        visits[room] = [(VISITS[at % len(VISITS)], token, _id(token)) for at, token in enumerate(tokens)]
    left = iter([visit for room in visits.values() for visit in room])

    async def some() -> None:
        for visit, token, _ in left:
            await visit(url, token)

    await asyncio.gather(*(some() for _ in range(AT_ONCE)))
    return visits


def _id(token: str) -> str:
    return signed_token.read(token)[0].token


async def test_nobody_stays_behind_and_a_token_is_used_up_only_if_its_participant_joined(
    cluster: TestCluster, tmp_path: Path
) -> None:
    async with staged(cluster, tmp_path, portals=1, reconnection_timeout_ms=1000) as stage:
        visits = await visit_all(stage)
        for room in visits:
            (last,) = await stage.tokens(room, 1, stage.portals[0])
            async with Client(last) as client:
                await client.login()  # what was asked of the room before is decided then
            await until(lambda: _is_empty(stage, room), 30)  # noqa: B023  - awaited here
        outcomes: dict[Visit, set[bool]] = {}
        for room, there in visits.items():
            used = await stage.used(room)
            for visit, token, id_ in there:
                outcomes.setdefault(visit, set()).add(id_ in used)
                async with Client(token) as client:
                    if id_ in used:
                        with pytest.raises(RequestRefused, match="token_used"):
                            await client.login()
                    else:
                        await client.login()
            await until(lambda: _is_empty(stage, room), 10)  # noqa: B023  - as above
    assert answered
    assert unanswered
    for never in (knock, shake_half_a_hand, shake_hands):
        assert outcomes[never] == {False}
    assert outcomes[hear] == {True}


async def _is_empty(stage: Stage, room: str) -> bool:
    return not await stage.present(room)
