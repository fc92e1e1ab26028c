import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from starlette.responses import PlainTextResponse

from roomledger.runtime import listener as listener_module
from roomledger.runtime.listener import Listener


@asynccontextmanager
async def listening(**options: Any) -> AsyncIterator[Listener]:  # noqa: ANN401  - the listener's
    listener = Listener(PlainTextResponse("here"), "127.0.0.1", 0, **options)
    await listener.start()
    yield listener
    await listener.stop()


async def test_any_free_port_is_taken_and_told() -> None:
    async with listening() as listener, httpx.AsyncClient(trust_env=False) as client:
        assert listener.port > 0
        assert (await client.get(listener.url)).text == "here"


async def test_who_comes_between_binding_and_starting_is_answered_then() -> None:
    listener = Listener(PlainTextResponse("here"), "127.0.0.1", 0)
    port = listener.bind()
    with socket.create_connection(("127.0.0.1", port)) as early:
        early.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        await listener.start()
        async with httpx.AsyncClient(trust_env=False) as client:
            assert (await client.get(listener.url)).text == "here"
        early.settimeout(5)
        assert early.recv(1000).startswith(b"HTTP/1.1 200")
    await listener.stop()


async def test_an_address_in_use_is_an_error_of_the_system() -> None:
    async with listening() as listener:
        second = Listener(PlainTextResponse("there"), "127.0.0.1", listener.port)
        with pytest.raises(OSError, match="in use"):
            await second.start()


async def test_a_bound_address_is_given_back_by_a_stop_before_the_start() -> None:
    listener = Listener(PlainTextResponse("here"), "127.0.0.1", 0)
    port = listener.bind()
    await listener.stop()
    with socket.create_server(("127.0.0.1", port)):
        pass


async def test_an_ipv6_address_is_written_with_brackets() -> None:
    assert Listener(PlainTextResponse("here"), "::1", 80).url == "http://[::1]:80"


@pytest.mark.parametrize("begun", [b"", b"GET / HTTP/1.1\r\nHost: x\r\n"])
async def test_who_asks_nothing_is_hung_up_on(begun: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener_module, "OPEN_S", 0.1)
    async with listening() as listener, asyncio.timeout(5):
        reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
        writer.write(begun)
        assert await reader.read() == b""
        writer.close()


async def test_what_strangers_send_is_not_told(caplog: pytest.LogCaptureFixture) -> None:
    async with listening() as listener:
        with socket.create_connection(("127.0.0.1", listener.port)) as stranger:
            stranger.sendall(b"NONSENSE\r\n\r\n")
            async with httpx.AsyncClient(trust_env=False) as client:
                await client.get(listener.url)
    assert caplog.text == ""
