import asyncio
import json
from collections.abc import Awaitable, Callable

import pytest

from roomledger.event_store.errors import LogUnavailable
from roomledger.processes.management_api.services import KNOWN_S, STALE_S, Services
from roomledger.settings import Settings
from roomledger_events.identifiers import InvalidId
from tests.support.nats import NatsServer

SETTINGS = Settings()
Make = Callable[..., Awaitable[Services]]


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


async def services(nats_server: NatsServer, clock: Clock | None = None) -> Services:
    return Services(await nats_server.connect(), SETTINGS, clock=clock or Clock())


async def test_the_first_service_is_made_up(nats_server: NatsServer) -> None:
    first = await (await services(nats_server)).ensure_first(SETTINGS)
    assert first.id.startswith("service-")
    assert len(first.key) >= 43
    assert first.created


async def test_the_first_service_is_the_same_the_next_time(nats_server: NatsServer) -> None:
    first = await (await services(nats_server)).ensure_first(SETTINGS)
    again = await (await services(nats_server)).ensure_first(SETTINGS)
    assert again == (first.id, first.key, False)


async def test_the_first_service_survives_a_restart_of_the_broker(nats_server: NatsServer) -> None:
    first = await (await services(nats_server)).ensure_first(SETTINGS)
    await nats_server.restart()
    assert (await (await services(nats_server)).ensure_first(SETTINGS))[:2] == first[:2]


async def test_ten_that_start_at_once_make_one_service(nats_server: NatsServer) -> None:
    every = [await services(nats_server) for _ in range(10)]
    firsts = await asyncio.gather(*(each.ensure_first(SETTINGS) for each in every))
    assert len({first[:2] for first in firsts}) == 1
    assert sum(first.created for first in firsts) == 1


async def test_the_settings_name_the_first_service_and_its_key(nats_server: NatsServer) -> None:
    settings = Settings(service_id="mine", service_key="my-key")  # type: ignore[arg-type]  # pydantic makes it a secret
    every = await services(nats_server)
    assert await every.ensure_first(settings) == ("mine", "my-key", True)
    found = await every.authenticate("my-key")
    assert found is not None
    assert found.id == "mine"


async def test_another_key_in_the_settings_takes_the_place_of_the_one_before(nats_server: NatsServer) -> None:
    every = await services(nats_server)
    await every.ensure_first(Settings(service_id="mine", service_key="old"))  # type: ignore[arg-type]  # as above
    await every.ensure_first(Settings(service_id="mine", service_key="new"))  # type: ignore[arg-type]  # as above
    assert await every.authenticate("new") is not None
    assert await every.authenticate("old") is None


async def test_a_service_that_was_half_created_is_completed(nats_server: NatsServer) -> None:
    first = await (await services(nats_server)).ensure_first(SETTINGS)
    bucket = await (await nats_server.connect()).jetstream().key_value("ROOMLEDGER_SERVICES")
    for key in await bucket.keys():
        if key.startswith("key."):
            await bucket.delete(key)
    every = await services(nats_server)
    await every.ensure_first(SETTINGS)
    assert await every.authenticate(first.key) is not None


@pytest.mark.parametrize("key", ["", "wrong", "key.", "ä", "x" * 2000])
async def test_another_key_lets_nobody_in(nats_server: NatsServer, key: str) -> None:
    every = await services(nats_server)
    await every.ensure_first(SETTINGS)
    assert await every.authenticate(key) is None


async def test_a_deleted_service_is_out_when_what_is_known_of_it_is_old(nats_server: NatsServer) -> None:
    clock = Clock()
    every = await services(nats_server, clock)
    first = await every.ensure_first(SETTINGS)
    assert await every.authenticate(first.key) is not None
    assert await (await services(nats_server)).delete(first.id)
    clock.now += KNOWN_S
    assert await every.authenticate(first.key) is None


async def test_a_service_is_looked_up_once_in_a_while_only(nats_server: NatsServer) -> None:
    every = await services(nats_server)
    first = await every.ensure_first(SETTINGS)
    assert await every.authenticate(first.key) is not None
    await nats_server.stop()
    assert await every.authenticate(first.key) is not None


async def test_without_the_broker_what_was_known_serves_for_a_while(nats_server: NatsServer) -> None:
    clock = Clock()
    every = await services(nats_server, clock)
    first = await every.ensure_first(SETTINGS)
    await every.authenticate(first.key)
    await nats_server.stop()
    clock.now += STALE_S - 1
    assert await every.authenticate(first.key) is not None


async def test_without_the_broker_what_was_known_long_ago_lets_nobody_in(nats_server: NatsServer) -> None:
    clock = Clock()
    every = await services(nats_server, clock)
    first = await every.ensure_first(SETTINGS)
    await every.authenticate(first.key)
    await nats_server.stop()
    clock.now += STALE_S
    with pytest.raises(LogUnavailable):
        await every.authenticate(first.key)


async def test_deleting_what_is_not_there_does_nothing(nats_server: NatsServer) -> None:
    assert not await (await services(nats_server)).delete("nobody")


async def test_an_id_that_is_taken_is_not_given_again(nats_server: NatsServer) -> None:
    every = await services(nats_server)
    assert await every.create("s1", "one")
    assert not await every.create("s1", "two")
    assert await every.authenticate("two") is None


async def test_an_id_that_is_none_is_refused(nats_server: NatsServer) -> None:
    with pytest.raises(InvalidId):
        await (await services(nats_server)).create("first.service", "key")


async def test_a_key_is_in_no_representation(nats_server: NatsServer) -> None:
    every = await services(nats_server)
    first = await every.ensure_first(SETTINGS)
    assert first.key not in repr(await every.get(first.id))


async def test_a_service_is_kept_as_json(nats_server: NatsServer) -> None:
    first = await (await services(nats_server)).ensure_first(SETTINGS)
    bucket = await (await nats_server.connect()).jetstream().key_value("ROOMLEDGER_SERVICES")
    kept = json.loads((await bucket.get(first.id)).value or b"")
    assert kept["id"] == first.id
    assert set(kept) == {"id", "key", "created"}
