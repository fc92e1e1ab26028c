"""A rotation of the token key in the midst of a thousand logins, with all processes as they are."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from websockets.asyncio.client import connect

from roomledger.domain.errors import Refusal
from roomledger.domain.signed_token import read, verify
from roomledger.processes.portal.portal import Portal
from roomledger.runtime.token_keys import TokenKeys
from tests.processes.management_api.whole import Whole
from tests.support.cluster import TestCluster
from tests.support.house import SUBPROTOCOL, RawClient
from tests.support.nats import until

LOGINS = 1000
AT_ONCE = 20


@pytest.mark.chaos
async def test_no_good_token_is_refused_and_none_of_the_key_before_last_is_taken(
    cluster: TestCluster,
) -> None:
    async with Whole.of(cluster) as whole:
        portal: Portal = await cluster.start(Portal)
        room = await whole.room()
        keys = TokenKeys(cluster.access.broker, cluster.settings())
        await keys.load()
        first = await ask_for_token(whole, room)
        await rotate(keys)
        second_key = keys.signing
        signed_by: set[bytes] = set()

        async def login() -> None:
            text = await ask_for_token(whole, room)
            signed_by.update(key for key in keys.valid if is_by(key, text))
            answer = await login_with(portal, text)
            assert "result" in answer, answer

        await side_by_side(login, LOGINS // 4)
        rotation = asyncio.create_task(rotate(keys))
        await side_by_side(login, LOGINS // 2)
        await rotation
        await side_by_side(login, LOGINS // 4)
        assert signed_by == {second_key, keys.signing}
        refused = await login_with(portal, first)
        assert refused["error"]["data"]["code"] == "invalid_token", "its key is the one before the last"


async def rotate(keys: TokenKeys) -> None:
    """Make a new key, and return when it signs."""
    made = await keys.rotate(force=True)
    await until(lambda: keys.signing == made.secret, 20)


async def side_by_side(work: Callable[[], Awaitable[None]], count: int) -> None:
    async def some() -> None:
        for _ in left:
            await work()

    left = iter(range(count))
    await asyncio.gather(*(some() for _ in range(AT_ONCE)))


async def ask_for_token(whole: Whole, room: str) -> str:
    answer = await whole.client.post(f"/v1/rooms/{room}/tokens", json={"user": "ada", "role": "viewer"})
    assert answer.status_code == 200, answer.text
    return answer.text


async def login_with(portal: Portal, text: str) -> dict[str, Any]:
    async with connect(
        portal.url, subprotocols=[SUBPROTOCOL], proxy=None, compression=None, ping_interval=None
    ) as socket:
        return await RawClient(socket).ask("login", {"token": text})


def is_by(key: bytes, text: str) -> bool:
    try:
        verify([key], *read(text))
    except Refusal:
        return False
    return True
