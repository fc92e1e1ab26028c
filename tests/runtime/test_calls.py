import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest

from roomledger.domain.errors import Code, Refusal
from roomledger.event_store.connection import Connection
from roomledger.runtime.calls import IMPATIENT_S, Caller, Method, Request, RequestMeta, Service, serve
from roomledger.runtime.commands import Meta
from tests.support.cluster import TestCluster


class Greet(Request, kw_only=True, frozen=True):
    name: str


class Greeting(msgspec.Struct):
    text: str


Answer = Callable[[Any, Meta], Awaitable[Any]]


async def greet(request: Greet, meta: Meta) -> Greeting:
    match request.name:
        case "nobody":
            raise Refusal(Code.NO_SUCH_PARTICIPANT, "there is\nno such person", asked=request.name)
        case "wait":
            raise Refusal(Code.ALL_IN_FULL_LOAD, "not now")
        case "broken":
            raise ZeroDivisionError
        case _:
            return Greeting(f"{meta.actor} greets {request.name}")


async def greeter(cluster: TestCluster, answer: Answer = greet) -> Service:
    access = await cluster.connect()
    return await serve(
        access.broker,
        name="greeter",
        version="1.0.0",
        prefix="rpc.greeter",
        methods={"greet": Method(Greet, answer)},
    )


async def caller(cluster: TestCluster, **options: Any) -> tuple[Caller, Connection]:  # noqa: ANN401  - of a Caller
    access = await cluster.connect()
    return Caller(access.broker, actor="test", **options), access.broker


async def test_a_request_gets_its_reply(cluster: TestCluster) -> None:
    await greeter(cluster)
    calls, _ = await caller(cluster)
    reply = await calls.call("rpc.greeter.greet", Greet(name="ada"), Greeting)
    assert reply.text == "test greets ada"


async def test_many_requests_are_answered_side_by_side(cluster: TestCluster) -> None:
    here = asyncio.Barrier(50)

    async def together(request: Greet, _: Meta) -> Greeting:
        await here.wait()
        return Greeting(request.name)

    await greeter(cluster, together)
    calls, _ = await caller(cluster)
    async with asyncio.timeout(5):
        await asyncio.gather(
            *(calls.call("rpc.greeter.greet", Greet(name=str(n)), Greeting) for n in range(50))
        )


async def test_a_refusal_says_what_and_whether_to_ask_again(cluster: TestCluster) -> None:
    await greeter(cluster)
    calls, broker = await caller(cluster)
    with pytest.raises(Refusal) as refused:
        await calls.call("rpc.greeter.greet", Greet(name="nobody"), Greeting)
    assert (refused.value.code, refused.value.detail) == (Code.NO_SUCH_PARTICIPANT, {"asked": "nobody"})
    reply = await broker.request("rpc.greeter.greet", b'{"name": "wait"}', timeout=2)
    assert msgspec.json.decode(reply.data)["detail"]["retry_after_ms"] > 0
    assert (reply.headers or {})["Nats-Service-Error"] == "not now"


async def test_a_fault_of_ours_is_told_without_its_inside(cluster: TestCluster) -> None:
    await greeter(cluster)
    calls, _ = await caller(cluster)
    with pytest.raises(Refusal) as refused:
        await calls.call("rpc.greeter.greet", Greet(name="broken"), Greeting)
    assert refused.value.code is Code.INTERNAL
    assert "Zero" not in str(refused.value)


WRONG = [
    b"",
    b"{",
    b"[]",
    b"null",
    b'{"name": 7}',
    b'{"name": "x", "more": 1}',
    b"\xff",
    b"[" * 100_000,
    b'{"name": "%b"}' % (b"x" * 300_000),
    b'{"name": "x", "meta": {"actor": ""}}',
]


@pytest.mark.parametrize("body", WRONG, ids=range(len(WRONG)))
async def test_a_request_of_the_wrong_shape_is_refused(cluster: TestCluster, body: bytes) -> None:
    await greeter(cluster)
    _, broker = await caller(cluster)
    reply = await broker.request("rpc.greeter.greet", body, timeout=2)
    assert (reply.headers or {})["Nats-Service-Error-Code"] == "invalid_argument"


async def test_a_request_that_meets_nobody_is_sent_again_until_somebody_is_there(
    cluster: TestCluster,
) -> None:
    calls, _ = await caller(cluster)
    asked = asyncio.create_task(calls.call("rpc.greeter.greet", Greet(name="ada"), Greeting))
    await asyncio.sleep(0.3)
    await greeter(cluster)
    assert (await asked).text == "test greets ada"


async def test_a_request_that_meets_nobody_all_the_time_is_not_ready(cluster: TestCluster) -> None:
    calls, _ = await caller(cluster, time_limit=0.2)
    with pytest.raises(Refusal) as refused:
        await calls.call("rpc.greeter.greet", Greet(name="ada"), Greeting)
    assert refused.value.code is Code.NOT_READY


async def test_a_caller_who_will_not_wait_is_told_at_once_that_nobody_is_there(cluster: TestCluster) -> None:
    calls, _ = await caller(cluster, time_limit=60)
    with pytest.raises(Refusal) as refused:
        await calls.call("rpc.greeter.greet", Greet(name="ada"), Greeting, absent=Code.NO_SUCH_NODE)
    assert refused.value.code is Code.NO_SUCH_NODE


async def test_without_a_broker_the_log_is_unavailable(cluster: TestCluster) -> None:
    calls, _ = await caller(cluster)
    await cluster.server.stop()
    with pytest.raises(Refusal) as refused:
        await calls.call("rpc.greeter.greet", Greet(name="ada"), Greeting)
    assert refused.value.code in {Code.LOG_UNAVAILABLE, Code.NOT_READY}
    await cluster.server.start()


async def test_a_request_sent_again_has_the_same_command_id(cluster: TestCluster) -> None:
    commands: list[str | None] = []

    async def late(request: Greet, meta: Meta) -> Greeting:
        commands.append(meta.command)
        if len(commands) == 1:
            raise Refusal(Code.NOT_READY, "not yet")
        return Greeting(request.name)

    await greeter(cluster, late)
    calls, _ = await caller(cluster)
    meta = RequestMeta(correlation="token-1")
    await calls.call("rpc.greeter.greet", Greet(name="ada", meta=meta), Greeting)
    assert commands[0] is not None
    assert commands[0] == commands[1]


async def test_a_request_that_a_halted_process_got_is_soon_sent_to_another(cluster: TestCluster) -> None:
    calls, broker = await caller(cluster, first_attempts=IMPATIENT_S)
    halted = await broker.subscribe("rpc.greeter.greet")
    begun = asyncio.get_running_loop().time()
    asked = asyncio.create_task(calls.call("rpc.greeter.greet", Greet(name="ada"), Greeting))
    await halted.next_msg(timeout=5)
    await halted.unsubscribe()
    await greeter(cluster)
    assert (await asked).text == "test greets ada"
    assert asyncio.get_running_loop().time() - begun < sum(IMPATIENT_S)


async def test_a_service_that_stops_answers_what_it_has_begun(cluster: TestCluster) -> None:
    begun, goes_on = asyncio.Event(), asyncio.Event()

    async def slow(request: Greet, _: Meta) -> Greeting:
        begun.set()
        await goes_on.wait()
        return Greeting(request.name)

    service = await greeter(cluster, slow)
    calls, _ = await caller(cluster)
    asked = asyncio.create_task(calls.call("rpc.greeter.greet", Greet(name="ada"), Greeting))
    await begun.wait()
    stopping = asyncio.create_task(service.stop())
    goes_on.set()
    assert (await asked).text == "ada"
    await stopping
