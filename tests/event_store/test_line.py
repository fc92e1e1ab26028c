import asyncio
from collections.abc import AsyncIterator

import pytest

from roomledger.event_store.connection import Connection, connect
from roomledger.event_store.line import WRITE_BUFFER, Line, LineBroken
from tests.support.nats import NatsServer, until


class Ear:
    """A line, and what came by it."""

    def __init__(self) -> None:
        self.messages: list[tuple[bytes, ...]] = []
        self.refused: list[str] = []
        self.faults: list[str] = []
        self.line = Line(
            lambda *message: self.messages.append(message), self.refused.append, self.faults.append
        )

    def _receive(self, *message: bytes) -> None:
        self.messages.append(message)

    @property
    def bodies(self) -> list[bytes]:
        return [body for *_, body in self.messages]


@pytest.fixture
async def connection(nats_server: NatsServer) -> AsyncIterator[Connection]:
    connection = await connect(nats_server.url, "service", nats_server.credentials["service"])
    yield connection
    await connection.close()


@pytest.fixture
async def ear(connection: Connection) -> AsyncIterator[Ear]:
    ear = Ear()
    await ear.line.open(connection, name="test", within_s=2)
    yield ear
    ear.line.close()


async def test_messages_come_with_all_that_they_have(connection: Connection, ear: Ear) -> None:
    ear.line.subscribe(1, b"rpc.a.*")
    await ear.line.flush()
    await connection.publish("rpc.a.plain", b"1")
    await connection.publish("rpc.a.reply", b"2", reply="_INBOX.x")
    await connection.publish("rpc.a.both", b"", reply="_INBOX.x", headers={"A": "b"})
    await connection.publish("rpc.a.header", b"4\r\n", headers={"A": "b"})
    await until(lambda: len(ear.messages) == 4)
    header = b"NATS/1.0\r\nA: b\r\n\r\n"
    assert ear.messages == [
        (b"rpc.a.plain", b"", b"", b"1"),
        (b"rpc.a.reply", b"_INBOX.x", b"", b"2"),
        (b"rpc.a.both", b"_INBOX.x", header, b""),
        (b"rpc.a.header", b"", header, b"4\r\n"),
    ]


async def test_what_it_publishes_arrives_with_its_header(connection: Connection, ear: Ear) -> None:
    arriving = await connection.subscribe("rpc.b")
    await connection.flush()
    ear.line.publish(b"rpc.b", b"one")
    ear.line.publish(b"rpc.b")
    ear.line.publish_with_header(b"rpc.b", b"NATS/1.0\r\nA: b\r\n\r\n", b"three")
    arrived = [await arriving.next_msg(2) for _ in range(3)]
    assert [message.data for message in arrived] == [b"one", b"", b"three"]
    assert arrived[2].headers == {"A": "b"}


async def test_messages_that_come_in_pieces_are_put_together(connection: Connection) -> None:
    ear = Ear()
    take_in = ear.line.data_received

    def take_in_by_bytes(data: bytes) -> None:
        for position in range(min(len(data), 3_000)):
            take_in(data[position : position + 1])
        take_in(data[3_000:])

    ear.line.data_received = take_in_by_bytes  # type: ignore[method-assign]  # what asyncio calls
    await ear.line.open(connection, name="test", within_s=2)
    ear.line.subscribe(1, b"rpc.a")
    await ear.line.flush()
    bodies = [b"1", b"\r\nMSG a 1 1\r\n", b"x" * 300_000, b""]
    for body in bodies:
        await connection.publish("rpc.a", body, headers={"A": "b"} if len(body) < 5 else None)
    await until(lambda: len(ear.messages) == 4)
    assert ear.bodies == bodies
    ear.line.close()


async def test_those_in_one_queue_share_the_messages(connection: Connection, ear: Ear) -> None:
    other = Ear()
    await other.line.open(connection, name="test", within_s=2)
    for each in (ear, other):
        each.line.subscribe(1, b"rpc.a", b"q")
        await each.line.flush()
    for number in range(100):
        await connection.publish("rpc.a", b"%d" % number)
    await until(lambda: len(ear.messages) + len(other.messages) == 100)
    assert sorted(int(body) for body in ear.bodies + other.bodies) == list(range(100))
    other.line.close()


async def test_after_an_end_of_a_subscription_and_a_flush_nothing_more_comes(
    connection: Connection, ear: Ear
) -> None:
    ear.line.subscribe(1, b"rpc.a")
    await ear.line.flush()
    await connection.publish("rpc.a", b"before")
    await connection.flush()
    ear.line.unsubscribe(1)
    await ear.line.flush()
    await connection.publish("rpc.a", b"after")
    await connection.flush()
    await ear.line.flush()
    assert ear.bodies == [b"before"]


async def test_what_is_not_permitted_is_told_and_ends_nothing(ear: Ear) -> None:
    ear.line.publish(b"$JS.API.STREAM.DELETE.ROOMLEDGER")
    ear.line.subscribe(1, b"ledger.>")
    await ear.line.flush()
    assert len(ear.refused) == 2
    assert not ear.faults


async def test_a_lost_line_tells_why_once_and_keeps_nobody_waiting(nats_server: NatsServer, ear: Ear) -> None:
    nats_server.pause()
    waiting = asyncio.create_task(ear.line.flush())
    await asyncio.sleep(0)
    await nats_server.kill()
    with pytest.raises(LineBroken):
        await waiting
    with pytest.raises(LineBroken):
        await ear.line.flush()
    assert len(ear.faults) == 1
    ear.line.publish(b"rpc.a")  # is of no effect, and no error
    await nats_server.start()


async def test_a_wrong_password_is_told(connection: Connection) -> None:
    connection.options["password"] = "wrong"
    with pytest.raises(LineBroken, match="Authorization Violation"):
        await Ear().line.open(connection, name="test", within_s=2)


async def test_a_server_that_does_not_answer_is_given_up_in_time(
    nats_server: NatsServer, connection: Connection
) -> None:
    nats_server.pause()
    with pytest.raises(LineBroken):
        await Ear().line.open(connection, name="test", within_s=0.1)
    nats_server.resume()


async def test_a_ping_shows_whether_the_server_is_there(ear: Ear) -> None:
    ear.line.heard = False
    ear.line.ping()
    await until(lambda: ear.line.heard)


async def test_while_the_server_takes_nothing_nothing_more_is_taken_in(
    nats_server: NatsServer, connection: Connection, ear: Ear
) -> None:
    ear.line.subscribe(1, b"rpc.a")
    await ear.line.flush()
    nats_server.pause()
    for _ in range(2 * WRITE_BUFFER // 500_000):
        ear.line.publish(b"rpc.b", b"x" * 500_000)
    await until(lambda: ear.line._transport is not None and not ear.line._transport.is_reading())
    nats_server.resume()
    await connection.publish("rpc.a", b"after it")
    await until(lambda: bool(ear.messages))
    assert not ear.faults


async def test_what_was_written_is_sent_before_it_hangs_up(connection: Connection, ear: Ear) -> None:
    arriving = await connection.subscribe("rpc.b")
    await connection.flush()
    for number in range(1000):
        ear.line.publish(b"rpc.b", b"%d" % number + b"x" * 1000)
    ear.line.hang_up()
    arrived = [await arriving.next_msg(2) for _ in range(1000)]
    assert len(arrived) == 1000
