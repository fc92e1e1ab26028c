import pytest

from roomledger.event_store import lean, reading
from roomledger.event_store.delivery import Interrupted
from roomledger.event_store.jetstream import JetStreamStore
from roomledger.event_store.lean import LeanConsumer
from roomledger.event_store.line import is_possible
from roomledger.event_store.pull import PullConsumer
from roomledger.event_store.requests import Requests
from roomledger_events.rooms import RoomDeleted
from tests.event_store.logs import (
    IMPATIENT,
    LOAD,
    OTHER,
    ROOM,
    LogInJetStream,
    event,
    everything,
    fill,
    load,
    sequences_of,
)
from tests.support.nats import until
from tests.support.proxy import Proxy


def lean_on(jetstream: LogInJetStream) -> LeanConsumer:
    return LeanConsumer(Requests(jetstream.connection, 0.5), "ROOMLEDGER", heartbeat_s=0.2, tidy=True)


async def _all_by(consumer: LeanConsumer | PullConsumer, start: int = 1) -> list[tuple[int, int, str, bytes]]:
    await consumer.open(["ledger.>"], start, within_s=1)
    taken: list[tuple[int, int, str, bytes]] = []
    while len(taken) < consumer.pending:
        delivery = await consumer.take()
        assert delivery is not None
        taken += zip(
            delivery.sequences, delivery.nanoseconds, delivery.subjects, delivery.bodies, strict=True
        )
    await consumer.close()
    return taken


async def _sequences_by(consumer: LeanConsumer) -> list[int]:
    await consumer.open([], 1, within_s=1)
    taken: list[int] = []
    while (delivery := await consumer.take()) is not None:
        taken += delivery.sequences
    await consumer.close()
    return taken


async def _fill_with_all_sorts(jetstream: LogInJetStream) -> None:
    await fill(jetstream.store, 3)
    await jetstream.store.append(LOAD, [load()], None)
    await jetstream.put(OTHER, b"")
    await jetstream.put(OTHER, b"MSG ledger.room.r1 1 5\r\nhello\r\n")
    large = [event(RoomDeleted(room="\r\n" * 100_000))]
    await jetstream.store.append(ROOM, large, 3)


async def test_it_takes_the_same_as_a_pull_consumer(jetstream: LogInJetStream) -> None:
    await _fill_with_all_sorts(jetstream)
    pull = PullConsumer(
        Requests(jetstream.connection, 0.5), "ROOMLEDGER", live=False, heartbeat_s=0.2, tidy=True
    )
    assert await _all_by(lean_on(jetstream)) == await _all_by(pull)


async def test_it_starts_where_it_is_told_to(jetstream: LogInJetStream) -> None:
    await fill(jetstream.store, 5)
    assert [sequence for sequence, *_ in await _all_by(lean_on(jetstream), 4)] == [4, 5]


async def test_at_the_end_of_the_log_nothing_more_is_taken(jetstream: LogInJetStream) -> None:
    await fill(jetstream.store, 2)
    assert await _sequences_by(lean_on(jetstream)) == [1, 2]


async def test_a_reader_that_takes_nothing_is_sent_no_more_than_a_window(jetstream: LogInJetStream) -> None:
    expected = 0
    for _ in range(40):
        expected = await jetstream.store.append(ROOM, [event(RoomDeleted(room="x" * 400_000))], expected)
    consumer = lean_on(jetstream)
    await consumer.open([], 1, within_s=1)
    await until(lambda: consumer._inbox.idle or bool(consumer._inbox.flow))
    assert sum(map(len, consumer._inbox.bodies)) < 8_000_000
    taken: list[int] = []
    while (delivery := await consumer.take()) is not None:
        taken += delivery.sequences
    assert taken == list(range(1, 41))
    await consumer.close()


async def test_while_little_waits_the_server_sends_more_than_a_window(
    jetstream: LogInJetStream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lean, "AHEAD", 8_000_000)
    expected = 0
    for _ in range(10):
        expected = await jetstream.store.append(ROOM, [event(RoomDeleted(room="x" * 400_000))], expected)
    consumer = lean_on(jetstream)
    await consumer.open([], 1, within_s=1)
    await until(lambda: len(consumer._inbox.bodies) == 10)
    await consumer.close()


async def test_a_number_that_is_missing_interrupts(jetstream: LogInJetStream) -> None:
    await fill(jetstream.store, 3)
    consumer = lean_on(jetstream)
    await consumer.open([], 1, within_s=1)
    consumer._last = -1  # as if number 0 had been on its way
    with pytest.raises(Interrupted, match="message 0 of the consumer is missing"):
        await consumer.take()
    await consumer.close()


async def test_a_line_that_is_lost_interrupts(jetstream: LogInJetStream) -> None:
    consumer = lean_on(jetstream)
    await consumer.open([], 1, within_s=1)
    await jetstream.server.kill()
    with pytest.raises(Interrupted, match="the connection was lost"):
        await consumer.take()
    await consumer.close()


async def test_a_server_that_shows_no_sign_of_life_interrupts(jetstream: LogInJetStream) -> None:
    consumer = lean_on(jetstream)
    await consumer.open([], 1, within_s=1)
    jetstream.server.pause()
    with pytest.raises(Interrupted, match="nothing was heard"):
        await consumer.take()
    jetstream.server.resume()
    await consumer.close()


async def test_a_wrong_password_interrupts(jetstream: LogInJetStream) -> None:
    jetstream.connection.options["password"] = "wrong"
    with pytest.raises(Interrupted, match="Authorization Violation"):
        await lean_on(jetstream).open([], 1, within_s=1)


async def test_a_line_that_breaks_at_every_place_loses_and_doubles_nothing(jetstream: LogInJetStream) -> None:
    await _fill_with_all_sorts(jetstream)
    whole: list[bytes] = []
    consumer = lean_on(jetstream)
    take_in = consumer._inbox.line.data_received

    def take_in_by_bytes(data: bytes) -> None:
        whole.append(data)
        for position in range(min(len(data), 3_000)):
            take_in(data[position : position + 1])
        take_in(data[3_000:])

    consumer._inbox.line.data_received = take_in_by_bytes  # type: ignore[method-assign]  # what asyncio calls
    taken = await _all_by(consumer)
    assert [sequence for sequence, *_ in taken] == [1, 2, 3, 4, 5, 6, 7]
    assert whole


async def test_a_long_read_goes_by_it_and_leaves_no_consumer_behind(
    jetstream: LogInJetStream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "WORTHWHILE", 3)
    await fill(jetstream.store, 5)
    before = jetstream.connection.stats["in_bytes"]
    assert sequences_of(await everything(jetstream.store.read(until=4))) == [1, 2, 3, 4]
    assert jetstream.connection.stats["in_bytes"] - before < 4_000
    admin = (await jetstream.admin()).jetstream()

    async def none() -> bool:
        return not await admin.consumers_info("ROOMLEDGER")

    await until(none)


async def test_a_long_read_whose_line_breaks_goes_on_without_it(
    jetstream: LogInJetStream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "WORTHWHILE", 3)
    large = [event(RoomDeleted(room="x" * 400_000))]
    expected = 0
    for _ in range(30):
        expected = await jetstream.store.append(ROOM, [*large, event()], expected)
    async with Proxy(jetstream.server.url) as proxy:
        connection = await jetstream.connect(proxy.url)
        store = await JetStreamStore.open(connection, jetstream.layout, patience=IMPATIENT)
        seen: list[int] = []
        async for commit in store.read():
            seen.append(commit.sequence)
            if commit.sequence == 3:
                proxy.cut()
        assert seen == list(range(1, 31))
        await connection.close()


async def test_the_auditor_can_read_by_it(jetstream: LogInJetStream, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "WORTHWHILE", 3)
    await fill(jetstream.store, 5)
    connection = await jetstream.connect(user="audit")
    store = await JetStreamStore.open(connection, jetstream.layout, patience=IMPATIENT, create=False)
    before = connection.stats["in_msgs"]
    assert len(await everything(store.read())) == 5
    assert connection.stats["in_msgs"] - before < 5


async def test_without_user_and_password_or_with_tls_it_is_not_possible(jetstream: LogInJetStream) -> None:
    assert is_possible(jetstream.connection)
    jetstream.connection.options["user"] = None
    assert not is_possible(jetstream.connection)
