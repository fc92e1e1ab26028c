"""Everything killed at once and started again: who comes back goes on, and nobody else stays for ever."""

import asyncio
import signal
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import pytest
from websockets.asyncio.client import connect

from tests.support.house import SUBPROTOCOL
from tests.support.portals import Guest
from tests.support.serving import Serving, start

pytestmark = pytest.mark.chaos
SETTINGS = {"ROOMLEDGER_RECONNECTION_TIMEOUT_MS": "5000"}


async def guest_of(server: Serving, stack: AsyncExitStack) -> Guest:
    options = {"subprotocols": [SUBPROTOCOL], "proxy": None, "compression": None}
    return Guest(await stack.enter_async_context(connect(server.ready["portal"], **options)))


async def present(client: httpx.AsyncClient, room: str) -> set[str]:
    answer = await client.get(f"/v1/rooms/{room}/participants")
    return {each["id"] for each in answer.json()} if answer.status_code == 200 else {"not known yet"}


async def test_after_a_kill_of_everything_who_comes_back_goes_on_and_who_does_not_leaves(
    tmp_path: Path,
) -> None:
    async with AsyncExitStack() as stack:
        server = await start(tmp_path / "data", **SETTINGS)
        key = {"Authorization": f"Bearer {server.ready['service_key']}"}
        async with httpx.AsyncClient(base_url=server.ready["api"], headers=key, timeout=20) as client:
            room = (await client.post("/v1/rooms", json={"name": "test"})).json()["id"]
            wish = {"user": "ada", "role": "presenter"}
            tokens = [(await client.post(f"/v1/rooms/{room}/tokens", json=wish)).text for _ in range(2)]
        gone, back = [await guest_of(server, stack) for _ in range(2)]
        await gone.login(tokens[0])
        await back.login(tokens[1])
        await back.ask("text", to="all", message="before")
        await back.until("text")
        await server.stop(signal.SIGKILL)

        again = await start(tmp_path / "data", **SETTINGS)
        stack.push_async_callback(again.stop)
        guest = await guest_of(again, stack)
        assert (await guest.relogin(back.ticket, back.last))["missed"] == []
        async with httpx.AsyncClient(base_url=again.ready["api"], headers=key, timeout=20) as client:
            there = {gone.id, back.id}
            async with asyncio.timeout(60):
                while there != {back.id}:
                    there = await present(client, room)
            (leave,) = await guest.until("participant")
            assert (leave["action"], leave["participant"]["id"], leave["reason"]) == (
                "leave",
                gone.id,
                "not_back",
            )
            assert "seq" in await guest.ask("text", to="all", message="after")
            await guest.until("text")
