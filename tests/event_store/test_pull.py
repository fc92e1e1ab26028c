import pytest

from roomledger.event_store.delivery import Interrupted
from roomledger.event_store.pull import BATCH, PullConsumer
from roomledger.event_store.requests import Requests
from tests.event_store.logs import LogInJetStream, fill


def consumer_on(jetstream: LogInJetStream, *, live: bool) -> PullConsumer:
    return PullConsumer(
        Requests(jetstream.connection, 0.5), "ROOMLEDGER", live=live, heartbeat_s=0.2, tidy=True
    )


async def test_a_consumer_knows_how_many_messages_matched(jetstream: LogInJetStream) -> None:
    await fill(jetstream.store, 3)
    consumer = consumer_on(jetstream, live=False)
    await consumer.open(["ledger.room.*"], 2, within_s=1)
    assert consumer.pending == 2
    await consumer.close()


async def test_at_the_end_of_the_log_nothing_more_is_taken(jetstream: LogInJetStream) -> None:
    await fill(jetstream.store, 3)
    consumer = consumer_on(jetstream, live=False)
    await consumer.open([], 1, within_s=1)
    taken: list[int] = []
    pending = None
    while delivery := await consumer.take():
        taken += delivery.sequences
        pending = delivery.pending
    assert taken == [1, 2, 3]
    assert pending == 0
    await consumer.close()


async def test_no_more_is_asked_for_than_one_batch_ahead(jetstream: LogInJetStream) -> None:
    consumer = consumer_on(jetstream, live=True)
    await consumer.open([], 1, within_s=1)
    await fill(jetstream.store, 1)
    await consumer.take()
    assert consumer._outstanding == BATCH - 1
    await consumer.close()


async def test_a_number_that_is_missing_interrupts(jetstream: LogInJetStream) -> None:
    await fill(jetstream.store, 3)
    consumer = consumer_on(jetstream, live=False)
    await consumer.open([], 1, within_s=1)
    consumer._last = -1  # as if number 0 had been on its way
    with pytest.raises(Interrupted, match="message 0 of the consumer is missing"):
        await consumer.take()
    await consumer.close()


async def test_a_consumer_that_was_removed_interrupts(jetstream: LogInJetStream) -> None:
    consumer = consumer_on(jetstream, live=True)
    await consumer.open([], 1, within_s=1)
    await (await jetstream.admin()).jetstream().delete_consumer("ROOMLEDGER", consumer._name)
    with pytest.raises(Interrupted, match=r"503|409"):
        await consumer.take()
    await consumer.close()


async def test_a_server_that_shows_no_sign_of_life_interrupts(jetstream: LogInJetStream) -> None:
    consumer = consumer_on(jetstream, live=True)
    await consumer.open([], 1, within_s=1)
    jetstream.server.pause()
    with pytest.raises(Interrupted, match="nothing was heard"):
        await consumer.take()
    jetstream.server.resume()
    await consumer.close()


async def test_a_connection_that_is_lost_interrupts(jetstream: LogInJetStream) -> None:
    consumer = consumer_on(jetstream, live=True)
    await consumer.open([], 1, within_s=1)
    await jetstream.server.kill()
    with pytest.raises(Interrupted, match="the connection was lost"):
        await consumer.take()
    await consumer.close()


async def test_a_consumer_that_was_never_made_can_be_closed(jetstream: LogInJetStream) -> None:
    await consumer_on(jetstream, live=True).close()
