import asyncio

import msgspec
import pytest

from roomledger.domain.errors import Code, Refusal
from roomledger.domain.signed_token import Claims, read, sign
from roomledger.runtime.token_keys import TokenKeys
from roomledger.settings import Settings
from tests.support.nats import NatsServer

SETTINGS = Settings()
CLAIMS = Claims(token="t", host="h:1", secure=False, room="r", code="c", url="ws://h:1/")


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


async def loaded(nats_server: NatsServer, clock: Clock | None = None) -> TokenKeys:
    keys = TokenKeys(await nats_server.connect(), SETTINGS, clock=clock or Clock())
    await keys.load()
    return keys


async def rotate(nats_server: NatsServer, *secrets: bytes) -> None:
    kept = {"keys": [{"secret": secret, "created": "2030-01-01T00:00:00Z"} for secret in secrets]}
    bucket = await (await nats_server.connect()).jetstream().key_value("ROOMLEDGER_KEYS")
    await bucket.put("token", msgspec.json.encode(kept))


async def test_ten_processes_that_start_at_once_share_one_key(nats_server: NatsServer) -> None:
    brokers = [await nats_server.connect() for _ in range(10)]
    all_keys = [TokenKeys(broker, SETTINGS) for broker in brokers]
    await asyncio.gather(*(keys.load() for keys in all_keys))
    assert len({keys.signing for keys in all_keys}) == 1
    assert all(keys.valid == (keys.signing,) for keys in all_keys)


async def test_a_key_has_256_bits(nats_server: NatsServer) -> None:
    assert len((await loaded(nats_server)).signing) == 32


async def test_the_key_survives_a_restart_of_the_broker(nats_server: NatsServer) -> None:
    before = (await loaded(nats_server)).signing
    await nats_server.restart()
    assert (await loaded(nats_server)).signing == before


async def test_the_key_survives_a_power_cut_at_the_broker(nats_server: NatsServer) -> None:
    before = (await loaded(nats_server)).signing
    await nats_server.kill()
    await nats_server.start()
    assert (await loaded(nats_server)).signing == before


async def test_another_cluster_on_the_same_broker_has_another_key(nats_server: NatsServer) -> None:
    other = TokenKeys(await nats_server.connect(), Settings(cluster="other"))
    await other.load()
    assert other.signing != (await loaded(nats_server)).signing


async def test_a_token_of_one_process_is_good_at_another(nats_server: NatsServer) -> None:
    text = sign((await loaded(nats_server)).signing, CLAIMS)
    await (await loaded(nats_server)).verify(*read(text))


async def test_a_token_of_a_key_that_is_new_here_is_good(nats_server: NatsServer) -> None:
    clock = Clock()
    keys = await loaded(nats_server, clock)
    await rotate(nats_server, b"newest", keys.signing)
    clock.now += 1
    await keys.verify(*read(sign(b"newest", CLAIMS)))
    assert keys.signing == b"newest"


async def test_a_token_of_the_key_before_is_good_while_that_is_kept(nats_server: NatsServer) -> None:
    keys = await loaded(nats_server)
    old = keys.signing
    await rotate(nats_server, b"newest", old)
    await keys.load()
    await keys.verify(*read(sign(old, CLAIMS)))


async def test_a_token_of_a_key_that_is_kept_no_more_is_refused(nats_server: NatsServer) -> None:
    keys = await loaded(nats_server)
    old = keys.signing
    await rotate(nats_server, b"newest")
    await keys.load()
    with pytest.raises(Refusal) as refusal:
        await keys.verify(*read(sign(old, CLAIMS)))
    assert refusal.value.code is Code.INVALID_TOKEN


async def test_bad_signatures_make_the_keys_be_looked_up_once_a_second_at_most(
    nats_server: NatsServer,
) -> None:
    clock = Clock()
    keys = await loaded(nats_server, clock)
    await rotate(nats_server, b"newest")
    clock.now += 0.9
    for _ in range(3):
        with pytest.raises(Refusal):
            await keys.verify(*read(sign(b"newest", CLAIMS)))


async def test_keys_are_not_shown(nats_server: NatsServer) -> None:
    assert repr(await loaded(nats_server)) == "<1 token keys>"


async def test_there_is_no_key_before_it_was_loaded(nats_server: NatsServer) -> None:
    with pytest.raises(RuntimeError):
        _ = TokenKeys(await nats_server.connect(), SETTINGS).signing
