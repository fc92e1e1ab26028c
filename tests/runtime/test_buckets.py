import asyncio

import pytest

from roomledger.event_store.errors import LogUnavailable
from roomledger.runtime.buckets import Bucket
from tests.support.nats import NatsServer, until


@pytest.fixture
async def bucket(nats_server: NatsServer) -> Bucket:
    return Bucket(await nats_server.connect(), "ROOMLEDGER_THINGS", time_limit=0.3)


async def test_what_was_put_is_found(bucket: Bucket) -> None:
    await bucket.put("a", b"1")
    entry = await bucket.get("a")
    assert entry is not None
    assert entry.value == b"1"


async def test_what_is_not_there_is_not_found(bucket: Bucket) -> None:
    assert await bucket.get("a") is None


async def test_of_many_that_create_one_succeeds(bucket: Bucket) -> None:
    assert sum(await asyncio.gather(*(bucket.create("a", b"%d" % n) for n in range(20)))) == 1


async def test_what_was_deleted_is_not_found(bucket: Bucket) -> None:
    await bucket.put("a", b"1")
    await bucket.delete("a")
    assert await bucket.get("a") is None


async def test_what_was_deleted_can_be_created_anew(bucket: Bucket) -> None:
    await bucket.put("a", b"1")
    await bucket.delete("a")
    assert await bucket.create("a", b"2")


async def test_deleting_what_is_not_there_does_nothing(bucket: Bucket) -> None:
    await bucket.delete("a")
    assert await bucket.get("a") is None


async def test_an_update_needs_the_present_revision(bucket: Bucket) -> None:
    await bucket.put("a", b"1")
    entry = await bucket.get("a")
    assert entry is not None
    assert await bucket.update("a", b"2", entry.revision)
    assert not await bucket.update("a", b"3", entry.revision)


async def test_keys_are_listed(bucket: Bucket) -> None:
    assert await bucket.keys() == []
    await bucket.put("a", b"1")
    await bucket.put("b.c", b"1")
    assert sorted(await bucket.keys()) == ["a", "b.c"]


async def test_entries_survive_a_power_cut(nats_server: NatsServer, bucket: Bucket) -> None:
    await bucket.put("a", b"1")
    await nats_server.kill()
    await nats_server.start()
    again = await Bucket(await nats_server.connect(), "ROOMLEDGER_THINGS").get("a")
    assert again is not None
    assert again.value == b"1"


async def test_a_broker_that_does_not_answer_is_told(nats_server: NatsServer, bucket: Bucket) -> None:
    await bucket.put("a", b"1")
    nats_server.pause()
    with pytest.raises(LogUnavailable, match="reading a of ROOMLEDGER_THINGS"):
        await bucket.get("a")
    nats_server.resume()
    assert await bucket.get("a") is not None


async def test_an_entry_with_a_life_goes_by_itself(nats_server: NatsServer) -> None:
    bucket = Bucket(await nats_server.connect(), "ROOMLEDGER_SHORT", life_s=1)
    await bucket.put("a", b"1")

    async def gone() -> bool:
        return await bucket.get("a") is None

    await until(gone)
    assert await bucket.create("a", b"2")
