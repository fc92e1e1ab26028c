import asyncio

import pytest
from nats.aio.msg import Msg
from nats.errors import NoRespondersError

from roomledger.event_store.connection import Connection
from roomledger.event_store.request_line import RequestLine
from tests.event_store.logs import LogInJetStream
from tests.support.nats import until

HEADER = b"NATS/1.0\r\n\r\n"


async def opened(connection: Connection) -> RequestLine:
    """Return a line that is there."""
    line = RequestLine(connection)
    await until(lambda: ask(line, "rpc.nobody", 0.1) is not None)
    return line


def ask(line: RequestLine, subject: str, within_s: float = 5.0) -> "asyncio.Future[bytes] | None":
    answer = line.ask(subject, HEADER, b"question", asyncio.get_running_loop().time() + within_s)
    if answer is not None:
        answer.add_done_callback(lambda _: answer.cancelled() or answer.exception())
    return answer


async def test_there_is_no_line_before_it_was_needed(jetstream: LogInJetStream) -> None:
    assert ask(RequestLine(jetstream.connection), "rpc.nobody") is None


async def test_each_request_gets_its_own_answer(jetstream: LogInJetStream) -> None:
    line = await opened(jetstream.connection)
    held: list[Msg] = []

    async def hold(message: Msg) -> None:
        held.append(message)

    await jetstream.connection.subscribe("rpc.held", cb=hold)
    await jetstream.connection.flush()
    first, second = ask(line, "rpc.held"), ask(line, "rpc.held")
    assert first is not None
    assert second is not None
    await until(lambda: len(held) == 2)
    await held[1].respond(b"second")
    await held[0].respond(b"first")
    assert [await first, await second] == [b"first", b"second"]


async def test_a_request_that_nobody_takes_is_known_to_be_lost(jetstream: LogInJetStream) -> None:
    line = await opened(jetstream.connection)
    answer = ask(line, "rpc.nobody")
    assert answer is not None
    with pytest.raises(NoRespondersError):
        await answer


async def test_a_line_on_which_an_answer_does_not_come_is_given_up(jetstream: LogInJetStream) -> None:
    line = await opened(jetstream.connection)

    async def say_nothing(_: Msg) -> None:
        pass

    await jetstream.connection.subscribe("rpc.silent", cb=say_nothing)
    await jetstream.connection.flush()
    hasty, patient = ask(line, "rpc.silent", 0.05), ask(line, "rpc.silent")
    assert hasty is not None
    assert patient is not None
    for answer in (hasty, patient):
        with pytest.raises(TimeoutError):
            await answer
    assert ask(line, "rpc.nobody") is None


async def test_a_line_that_was_given_up_is_opened_anew(jetstream: LogInJetStream) -> None:
    line = await opened(jetstream.connection)
    line.close()
    await until(lambda: ask(line, "rpc.nobody", 0.1) is not None)


async def test_a_line_ends_with_its_connection(jetstream: LogInJetStream) -> None:
    line = await opened(jetstream.connection)
    await jetstream.connection.close()
    assert ask(line, "rpc.nobody") is None
