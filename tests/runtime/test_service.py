import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import msgspec
import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import NoRespondersError
from nats.errors import TimeoutError as BrokerTimeout
from structlog.testing import capture_logs

from roomledger.domain.errors import Code, Refusal
from roomledger.event_store.connection import Connection, connect
from roomledger.runtime import reception, service
from roomledger.runtime.commands import Meta
from roomledger.runtime.method import Method, Request
from roomledger.runtime.service import Service, serve
from tests.support.nats import NatsServer, until
from tests.support.proxy import Proxy


class Greet(Request, kw_only=True, frozen=True):
    name: str


class Greeting(msgspec.Struct):
    text: str


class Greeter:
    """A service whose answers a test holds back."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.actors: list[str] = []
        self.answers: dict[str, asyncio.Future[str]] = {}

    @property
    def methods(self) -> dict[str, Method]:
        return {
            "greet": Method(Greet, self.greet),
            "hold": Method(Greet, self.hold, Greeting),
            "fail": Method(Greet, self.fail),
        }

    async def greet(self, request: Greet, meta: Meta) -> Greeting:
        self.asked.append(request.name)
        self.actors.append(meta.actor)
        return Greeting(f"hello {request.name}")

    def hold(self, request: Greet, _: Meta) -> "asyncio.Future[str]":
        answer = self.answers[request.name] = asyncio.get_running_loop().create_future()
        return answer

    def fail(self, request: Greet, _: Meta) -> Awaitable[Any]:
        if request.name == "nobody":
            raise Refusal(Code.NO_SUCH_PARTICIPANT, "there is\nno such person")
        raise ZeroDivisionError


Broker = Callable[[], Awaitable[Client]]


@pytest.fixture(params=["by a line", "by nats-py"])
async def broker(request: pytest.FixtureRequest, nats_server: NatsServer) -> AsyncIterator[Client]:
    """Connect like a process; a line is not possible where the user stands in the url."""
    password = nats_server.credentials["service"]
    if request.param == "by a line":
        connection = await connect(nats_server.url, "service", password)
    else:
        connection = await connect(nats_server.url.replace("//", f"//service:{password}@"))
    yield connection
    await connection.close()


@pytest.fixture
async def caller(nats_server: NatsServer) -> Client:
    return await nats_server.connect()


@pytest.fixture
async def greeter() -> Greeter:
    return Greeter()


async def greeting(broker: Client, greeter: Greeter) -> Service:
    return await serve(broker, name="greeter", version="1.0.0", prefix="rpc.greeter", methods=greeter.methods)


async def ask(caller: Client, subject: str, body: bytes = b'{"name": "ada"}', seconds: float = 2) -> Any:  # noqa: ANN401  - JSON
    message: Msg = await caller.request(subject, body, timeout=seconds)
    return msgspec.json.decode(message.data)


async def asking(caller: Client, *names: str) -> "list[asyncio.Task[Any]]":
    return [
        asyncio.create_task(ask(caller, "rpc.greeter.hold", b'{"name": "%b"}' % name.encode()))
        for name in names
    ]


async def test_a_coroutine_answers_a_request(broker: Client, caller: Client, greeter: Greeter) -> None:
    await greeting(broker, greeter)
    assert await ask(caller, "rpc.greeter.greet") == {"text": "hello ada"}


async def test_a_future_answers_a_request_when_it_is_done(
    broker: Client, caller: Client, greeter: Greeter
) -> None:
    await greeting(broker, greeter)
    one, two = await asking(caller, "one", "two")
    await until(lambda: len(greeter.answers) == 2)
    greeter.answers["two"].set_result("second first")
    assert await two == {"text": "second first"}
    assert not one.done()
    greeter.answers["one"].set_exception(Refusal(Code.BUSY, "not now"))
    assert (await one)["detail"] == {"retry_after_ms": 100}


async def test_a_future_that_is_cancelled_gets_no_answer_and_disturbs_nobody(
    broker: Client, caller: Client, greeter: Greeter
) -> None:
    await greeting(broker, greeter)
    (one,) = await asking(caller, "one")
    await until(lambda: bool(greeter.answers))
    greeter.answers["one"].cancel()
    assert await ask(caller, "rpc.greeter.greet") == {"text": "hello ada"}
    one.cancel()


async def test_requests_are_taken_in_order(broker: Client, caller: Client, greeter: Greeter) -> None:
    await greeting(broker, greeter)
    for number in range(1000):
        await caller.publish("rpc.greeter.greet", b'{"name": "%d"}' % number)
    await until(lambda: len(greeter.asked) == 1000)
    assert greeter.asked == [str(number) for number in range(1000)]


async def test_a_request_that_wants_no_answer_is_worked_on(
    broker: Client, caller: Client, greeter: Greeter
) -> None:
    await greeting(broker, greeter)
    await caller.publish("rpc.greeter.greet", b'{"name": "ada", "meta": {"actor": "eve"}}')
    await caller.publish("rpc.greeter.fail", b'{"name": "nobody"}')
    await until(lambda: greeter.actors == ["eve"])


async def test_a_request_with_headers_is_a_request_too(
    broker: Client, caller: Client, greeter: Greeter
) -> None:
    await greeting(broker, greeter)
    message = await caller.request(
        "rpc.greeter.greet", b'{"name": "ada"}', timeout=2, headers={"traceparent": "00-1-2-01"}
    )
    assert msgspec.json.decode(message.data) == {"text": "hello ada"}


async def test_a_method_that_there_is_not_is_refused_by_name(
    broker: Client, caller: Client, greeter: Greeter
) -> None:
    await greeting(broker, greeter)
    message = await caller.request("rpc.greeter.nonsense", b"{}", timeout=2)
    assert (message.headers or {})["Nats-Service-Error-Code"] == "invalid_argument"
    body = msgspec.json.decode(message.data)
    assert body["code"] == "invalid_argument"
    assert "'nonsense'" in body["message"]
    assert "greet, hold, fail" in body["message"]


async def test_a_name_of_a_method_that_is_far_too_long_is_refused_briefly(
    broker: Client, caller: Client, greeter: Greeter
) -> None:
    await greeting(broker, greeter)
    message = await caller.request("rpc.greeter." + "x" * 2000, b"{}", timeout=2)
    assert (message.headers or {})["Nats-Service-Error-Code"] == "invalid_argument"
    assert len(message.data) < 300


async def test_a_refusal_stands_in_headers_and_body(broker: Client, caller: Client, greeter: Greeter) -> None:
    await greeting(broker, greeter)
    message = await caller.request("rpc.greeter.fail", b'{"name": "nobody"}', timeout=2)
    assert message.headers == {
        "Nats-Service-Error": "there is no such person",
        "Nats-Service-Error-Code": "no_such_participant",
    }
    assert msgspec.json.decode(message.data) == {
        "code": "no_such_participant",
        "message": "there is\nno such person",
        "detail": {},
    }


async def test_a_fault_before_there_is_anything_to_wait_for_is_told_without_its_inside(
    broker: Client, caller: Client, greeter: Greeter
) -> None:
    await greeting(broker, greeter)
    with capture_logs() as lines:
        body = await ask(caller, "rpc.greeter.fail")
    assert body["code"] == "internal"
    assert "Zero" not in body["message"]
    assert [line["method"] for line in lines] == ["fail"]


async def test_a_reply_that_the_server_would_not_take_is_a_fault_and_no_lost_connection(
    broker: Client, caller: Client, greeter: Greeter
) -> None:
    await greeting(broker, greeter)
    (one,) = await asking(caller, "one")
    await until(lambda: bool(greeter.answers))
    greeter.answers["one"].set_result("x" * 2_000_000)
    assert (await one)["code"] == "internal"
    assert await ask(caller, "rpc.greeter.greet") == {"text": "hello ada"}


async def test_a_refusal_that_the_server_would_not_take_is_cut(
    broker: Client, caller: Client, greeter: Greeter
) -> None:
    await greeting(broker, greeter)
    (one,) = await asking(caller, "one")
    await until(lambda: bool(greeter.answers))
    greeter.answers["one"].set_exception(Refusal(Code.NO_MATCH, "x" * 2_000_000))
    assert (await one)["code"] == "no_match"


async def test_more_than_can_be_worked_on_at_once_is_refused_as_busy(
    broker: Client, caller: Client, greeter: Greeter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "MOST_AT_ONCE", 3_000)
    await greeting(broker, greeter)
    held = await asking(caller, "one", "two")
    await until(lambda: len(greeter.answers) == 2)
    body = await ask(caller, "rpc.greeter.greet")
    assert body["code"] == "busy"
    assert body["detail"]["retry_after_ms"] > 0
    for answer in greeter.answers.values():
        answer.set_result("done")
    await asyncio.gather(*held)
    assert await ask(caller, "rpc.greeter.greet") == {"text": "hello ada"}


async def test_once_it_has_stopped_there_is_nobody_to_answer(
    broker: Client, caller: Client, greeter: Greeter
) -> None:
    serving = await greeting(broker, greeter)
    await serving.stop()
    for subject in ("rpc.greeter.greet", "rpc.greeter.nonsense", "$SRV.PING.greeter"):
        with pytest.raises(NoRespondersError):
            await ask(caller, subject)


async def test_while_it_stops_what_was_begun_is_answered_and_nothing_more_is_taken(
    broker: Client, caller: Client, greeter: Greeter
) -> None:
    serving = await greeting(broker, greeter)
    (one,) = await asking(caller, "one")
    await until(lambda: bool(greeter.answers))
    stopping = asyncio.create_task(serving.stop())

    async def nobody_answers() -> bool:
        try:
            await ask(caller, "rpc.greeter.greet")
        except NoRespondersError:
            return True
        return False

    await until(nobody_answers)
    assert not stopping.done()
    greeter.answers["one"].set_result("done")
    await stopping
    assert await one == {"text": "done"}


async def test_what_has_no_answer_in_time_does_not_keep_it_from_stopping(
    broker: Client, caller: Client, greeter: Greeter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "STOP_S", 0.1)
    serving = await greeting(broker, greeter)
    (one,) = await asking(caller, "one")
    await until(lambda: bool(greeter.answers))
    async with asyncio.timeout(2):
        await serving.stop()
    one.cancel()


async def test_two_instances_share_the_requests(
    broker: Client, caller: Client, greeter: Greeter, nats_server: NatsServer
) -> None:
    other = Greeter()
    await greeting(broker, greeter)
    connection = await connect(nats_server.url, "service", nats_server.credentials["service"])
    await greeting(connection, other)
    await asyncio.gather(*(ask(caller, "rpc.greeter.greet") for _ in range(100)))
    assert len(greeter.asked) + len(other.asked) == 100
    assert greeter.asked
    assert other.asked
    await connection.close()


# What a micro service tells of itself


async def test_it_is_found_by_all_three_questions_in_all_three_ways(
    broker: Client, caller: Client, greeter: Greeter
) -> None:
    await greeting(broker, greeter)
    identity = (await ask(caller, "$SRV.PING", b""))["id"]
    for verb in ("PING", "INFO", "STATS"):
        for whose in ("", ".greeter", f".greeter.{identity}"):
            told = await ask(caller, f"$SRV.{verb}{whose}", b"")
            assert (told["type"], told["name"], told["id"], told["version"]) == (
                f"io.nats.micro.v1.{verb.lower()}_response",
                "greeter",
                identity,
                "1.0.0",
            )


async def test_it_tells_where_its_methods_are(broker: Client, caller: Client, greeter: Greeter) -> None:
    await greeting(broker, greeter)
    told = (await ask(caller, "$SRV.INFO.greeter", b""))["endpoints"]
    assert [(each["name"], each["subject"], each["queue_group"]) for each in told] == [
        ("greet", "rpc.greeter.greet", "q"),
        ("hold", "rpc.greeter.hold", "q"),
        ("fail", "rpc.greeter.fail", "q"),
    ]


async def test_it_counts_requests_and_errors_of_each_method(
    broker: Client, caller: Client, greeter: Greeter
) -> None:
    await greeting(broker, greeter)
    for body in (b'{"name": "ada"}', b'{"name": "eve"}', b"nonsense"):
        await ask(caller, "rpc.greeter.greet", body)
    await ask(caller, "rpc.greeter.fail", b'{"name": "nobody"}')
    greet, hold, fail = (await ask(caller, "$SRV.STATS.greeter", b""))["endpoints"]
    assert (greet["num_requests"], greet["num_errors"]) == (3, 1)
    assert greet["last_error"].startswith("invalid_argument:")
    assert greet["average_processing_time"] == greet["processing_time"] // 3 > 0
    assert (hold["num_requests"], hold["num_errors"], hold["last_error"]) == (0, 0, "")
    assert (fail["num_errors"], fail["last_error"]) == (1, "no_such_participant:there is no such person")


# A line that is lost


async def through(proxy: Proxy, server: NatsServer) -> Connection:
    return await connect(proxy.url, "service", server.credentials["service"])


async def test_a_service_is_back_when_the_server_is(
    broker: Client, caller: Client, greeter: Greeter, nats_server: NatsServer
) -> None:
    serving = await greeting(broker, greeter)
    await nats_server.kill()
    await nats_server.start()

    async def answered() -> bool:
        try:
            return bool(await ask(caller, "rpc.greeter.greet", seconds=0.5) == {"text": "hello ada"})
        except Exception:  # noqa: BLE001  - whatever a client meets whose server has gone
            return False

    await until(answered, 15)
    await serving.stop()


async def test_a_line_that_falls_silent_is_replaced(
    caller: Client, greeter: Greeter, nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reception, "PING_S", 0.1)
    async with Proxy(nats_server.url) as proxy:
        connection = await through(proxy, nats_server)
        serving = await greeting(connection, greeter)
        proxy.answers_pass = False
        await caller.publish("rpc.greeter.greet", b'{"name": "ada"}')
        await until(lambda: proxy.swallowed > 500)
        proxy.answers_pass = True

        async def answered() -> bool:
            try:
                return bool(await ask(caller, "rpc.greeter.greet", seconds=0.2) == {"text": "hello ada"})
            except Exception:  # noqa: BLE001  - as above
                return False

        await until(answered)
        await serving.stop()
        await connection.close()


async def test_where_a_line_is_not_let_in_requests_come_in_by_nats_py(
    caller: Client, greeter: Greeter, nats_server: NatsServer
) -> None:
    connection = await connect(nats_server.url, "service", nats_server.credentials["service"])
    right, connection.options["password"] = connection.options["password"], "wrong"
    with capture_logs() as lines:
        serving = await greeting(connection, greeter)
    assert "Authorization Violation" in lines[0]["why"]
    assert right not in str(lines)
    assert await ask(caller, "rpc.greeter.greet") == {"text": "hello ada"}
    await serving.stop()
    await connection.close()


async def test_a_connection_that_is_closed_takes_the_line_along(
    caller: Client, greeter: Greeter, nats_server: NatsServer
) -> None:
    connection = await connect(nats_server.url, "service", nats_server.credentials["service"])
    serving = await greeting(connection, greeter)
    await connection.close()

    async def nobody_answers() -> bool:
        try:
            await ask(caller, "rpc.greeter.greet", seconds=0.2)
        except NoRespondersError:
            return True
        except BrokerTimeout:  # it was on its way to the line when that was closed
            pass
        return False

    await until(nobody_answers)
    await serving.stop()
