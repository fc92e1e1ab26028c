import asyncio
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from roomledger.domain.errors import Code, Refusal
from roomledger.domain.signed_token import Claims, read, sign
from roomledger.event_store.errors import LogUnavailable
from roomledger.runtime.errors import TooSoonToRotate
from roomledger.runtime.token_keys import ANNOUNCED, SKEW, TokenKeys
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


# -- Rotation


class Day:
    """The time of day, as far as a test lets it pass."""

    def __init__(self) -> None:
        self.now = datetime(2030, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


class Process:
    """The keys as one process knows them; any number share a broker and the time."""

    def __init__(self, keys: TokenKeys, clock: Clock, day: Day) -> None:
        self.keys = keys
        self._clock = clock
        self._day = day

    @classmethod
    async def start(cls, nats_server: NatsServer, day: Day) -> "Process":
        clock = Clock()
        keys = TokenKeys(await nats_server.connect(), SETTINGS, clock=clock, now=day)
        await keys.load()
        return cls(keys, clock, day)

    async def sign(self) -> str:
        self._clock.now += 1
        await self.keys.refresh()
        return sign(self.keys.signing, CLAIMS)

    async def takes(self, text: str) -> bool:
        self._clock.now += 1
        try:
            await self.keys.verify(*read(text))
        except Refusal:
            return False
        return True


LIFE = timedelta(milliseconds=SETTINGS.token_life_ms)


async def test_a_new_key_is_known_before_it_signs(nats_server: NatsServer) -> None:
    day = Day()
    api, portal = await Process.start(nats_server, day), await Process.start(nats_server, day)
    before = api.keys.signing
    made = await portal.keys.rotate()
    await api.sign()
    assert (api.keys.signing, made.secret in api.keys.valid) == (before, True)
    day.now += ANNOUNCED
    assert api.keys.signing == made.secret


async def test_tokens_that_are_out_stay_good_as_long_as_they_live(nats_server: NatsServer) -> None:
    day = Day()
    api, portal = await Process.start(nats_server, day), await Process.start(nats_server, day)
    await portal.keys.rotate()
    day.now += ANNOUNCED - timedelta(seconds=1)
    last = await api.sign()
    day.now += LIFE
    assert await portal.takes(last)
    day.now += SKEW + timedelta(seconds=1)
    assert not await portal.takes(last)


async def test_a_process_that_only_verifies_lets_a_key_go_that_was_taken_out_of_use(
    nats_server: NatsServer,
) -> None:
    day = Day()
    api, portal = await Process.start(nats_server, day), await Process.start(nats_server, day)
    first = await api.sign()
    assert await portal.takes(first)
    await api.keys.rotate()
    await api.keys.rotate(force=True)
    assert not await portal.takes(first)


async def test_a_key_of_which_tokens_are_out_is_not_given_up_by_the_next_rotation(
    nats_server: NatsServer,
) -> None:
    day = Day()
    api = await Process.start(nats_server, day)
    text = await api.sign()
    await api.keys.rotate()
    with pytest.raises(TooSoonToRotate) as refused:
        await api.keys.rotate()
    assert refused.value.until == day.now + ANNOUNCED + LIFE + SKEW
    assert await api.takes(text)
    day.now = refused.value.until
    await api.keys.rotate()
    assert len(api.keys.valid) == 2


async def test_of_many_that_rotate_at_once_one_does(nats_server: NatsServer) -> None:
    day = Day()
    processes = [await Process.start(nats_server, day) for _ in range(8)]
    made = await asyncio.gather(*(each.keys.rotate() for each in processes), return_exceptions=True)
    assert sum(not isinstance(each, Exception) for each in made) == 1
    assert {type(each) for each in made if isinstance(each, Exception)} == {TooSoonToRotate}


async def test_without_the_broker_the_known_keys_do(nats_server: NatsServer) -> None:
    day = Day()
    api = await Process.start(nats_server, day)
    text = await api.sign()
    await nats_server.stop()
    with pytest.raises(LogUnavailable):
        await api.takes(sign(b"another", CLAIMS))
    assert await api.takes(text)
    assert await api.sign() == text
    await nats_server.start()


async def test_a_key_shows_no_secret(nats_server: NatsServer) -> None:
    keys = await loaded(nats_server)
    assert "secret" not in repr(keys.keys)


async def test_no_good_token_of_a_thousand_is_refused_by_a_rotation_in_their_midst(
    nats_server: NatsServer,
) -> None:
    day = Day()
    apis = [await Process.start(nats_server, day) for _ in range(2)]
    portals = [await Process.start(nats_server, day) for _ in range(4)]
    old = await apis[0].sign()
    await apis[0].keys.rotate()
    day.now += ANNOUNCED + LIFE + SKEW
    before_last = await apis[0].sign()
    assert before_last != old
    for login in range(1000):
        if login == 500:
            await portals[0].keys.rotate()
        text = await apis[login % 2].sign()
        assert await portals[login % 4].takes(text), login
        assert not await portals[login % 4].takes(old), "the key before last is gone"
        # A thousand logins within twenty seconds: the new key begins to sign in the midst of them.
        day.now += timedelta(milliseconds=20)
    assert await apis[0].sign() != before_last
    assert await portals[0].takes(before_last), "its key is the last one but one, and it lives still"
