import asyncio

import pytest

from roomledger.event_store.errors import LogReplaced, LogUnavailable
from roomledger.event_store.jetstream import JetStreamStore
from roomledger_events.envelope import encode
from roomledger_events.subjects import Boundary, Kind
from tests.event_store.logs import (
    IMPATIENT,
    LOAD,
    OTHER,
    ROOM,
    Follower,
    LogInJetStream,
    event,
    everything,
    fill,
    first,
    load,
    sequences_of,
)
from tests.support.nats import until
from tests.support.proxy import Proxy


async def _consumers(jetstream: LogInJetStream) -> int:
    admin = (await jetstream.admin()).jetstream()
    return len(await admin.consumers_info("ROOMLEDGER"))


async def _no_consumers(jetstream: LogInJetStream) -> None:
    async def none() -> bool:
        return await _consumers(jetstream) == 0

    await until(none)


# -- Consumers are cleared up


async def test_a_read_leaves_no_consumer_behind(jetstream: LogInJetStream) -> None:
    await fill(jetstream.store, 3)
    await everything(jetstream.store.read())
    await _no_consumers(jetstream)


async def test_a_follower_that_stops_in_the_middle_leaves_no_consumer_behind(
    jetstream: LogInJetStream,
) -> None:
    await fill(jetstream.store, 3)
    assert len(await first(2, jetstream.store.follow())) == 2
    await _no_consumers(jetstream)


async def test_a_follower_that_is_cancelled_leaves_no_consumer_behind(jetstream: LogInJetStream) -> None:
    await fill(jetstream.store, 1)
    async with Follower(jetstream.store.follow()) as follower:
        await follower.has(1)
        assert await _consumers(jetstream) == 1
    await _no_consumers(jetstream)


# -- Interruptions


@pytest.mark.parametrize("how", ["stop", "kill"])
async def test_a_follower_goes_on_after_the_server_was_started_again(
    jetstream: LogInJetStream, how: str
) -> None:
    await fill(jetstream.store, 3)
    async with Follower(jetstream.store.follow()) as follower:
        await follower.has(3)
        await getattr(jetstream.server, how)()
        await jetstream.server.start()
        await fill(jetstream.store, 3, expected=3)
        await follower.has(6)
        assert follower.sequences == [1, 2, 3, 4, 5, 6]


async def test_a_follower_goes_on_after_the_server_was_started_again_time_and_again(
    jetstream: LogInJetStream,
) -> None:
    appended: list[int] = []
    done = asyncio.Event()

    async def write(room: Boundary) -> None:
        expected = 0
        events = [event()]
        while not done.is_set():
            try:
                expected = await jetstream.store.append(room, events, expected)
            except LogUnavailable:
                continue
            appended.append(expected)
            events = [event()]

    async with Follower(jetstream.store.follow()) as follower:
        writers = [asyncio.create_task(write(Boundary(Kind.ROOM, f"r{number}"))) for number in range(4)]
        for how in ("kill", "stop", "kill"):
            wanted = len(appended) + 50
            await until(lambda wanted=wanted: len(appended) > wanted)  # type: ignore[misc]  # a bound default
            await getattr(jetstream.server, how)()
            await jetstream.server.start()
        done.set()
        await asyncio.gather(*writers)
        await follower.has(len(appended))
        assert follower.sequences == sorted(appended) == list(range(1, len(appended) + 1))


async def test_a_follower_goes_on_after_the_server_did_not_move_for_a_while(
    jetstream: LogInJetStream,
) -> None:
    await fill(jetstream.store, 2)
    async with Follower(jetstream.store.follow()) as follower:
        await follower.has(2)
        jetstream.server.pause()
        await asyncio.sleep(4 * IMPATIENT.heartbeat_s)
        jetstream.server.resume()
        await fill(jetstream.store, 2, expected=2)
        await follower.has(4)
        assert follower.sequences == [1, 2, 3, 4]


async def test_a_follower_goes_on_after_what_was_sent_to_it_got_lost(jetstream: LogInJetStream) -> None:
    async with Proxy(jetstream.server.url) as proxy:
        connection = await jetstream.connect(proxy.url)
        store = await JetStreamStore.open(connection, jetstream.layout, patience=IMPATIENT)
        await fill(jetstream.store, 2)
        async with Follower(store.follow()) as follower:
            await follower.has(2)
            for expected in (2, 4, 6):
                proxy.answers_pass = False
                before = proxy.swallowed
                await fill(jetstream.store, 2, expected=expected)
                await until(lambda before=before: proxy.swallowed > before)  # type: ignore[misc]  # a bound default
                proxy.cut()
                proxy.heal()
                await follower.has(expected + 2)
            assert follower.sequences == [1, 2, 3, 4, 5, 6, 7, 8]
        await connection.close()


async def test_a_follower_notices_a_line_that_fell_silent(jetstream: LogInJetStream) -> None:
    async with Proxy(jetstream.server.url) as proxy:
        connection = await jetstream.connect(proxy.url)
        store = await JetStreamStore.open(connection, jetstream.layout, patience=IMPATIENT)
        await fill(jetstream.store, 1)
        async with Follower(store.follow()) as follower:
            await follower.has(1)
            proxy.requests_pass = False
            before = proxy.swallowed
            # The pull request runs on; only what the follower asks for anew is swallowed.
            admin = (await jetstream.admin()).jetstream()
            for consumer in await admin.consumers_info("ROOMLEDGER"):
                await admin.delete_consumer("ROOMLEDGER", consumer.name)
            await until(lambda: proxy.swallowed > before)
            proxy.heal()
            await fill(jetstream.store, 1, expected=1)
            await follower.has(2)
            assert follower.sequences == [1, 2]
        await connection.close()


async def test_a_reader_so_slow_that_its_consumer_has_gone_misses_nothing(jetstream: LogInJetStream) -> None:
    rooms = [Boundary(Kind.ROOM, f"r{number}") for number in range(50)]
    await asyncio.gather(*(fill(jetstream.store, 45, room) for room in rooms))
    admin = (await jetstream.admin()).jetstream()
    seen: list[int] = []
    async for commit in jetstream.store.read():
        seen.append(commit.sequence)
        if commit.sequence in (10, 1_000, 1_001, 2_100):
            for consumer in await admin.consumers_info("ROOMLEDGER"):
                await admin.delete_consumer("ROOMLEDGER", consumer.name)
    assert seen == list(range(1, 2_251))


async def test_a_read_goes_on_after_the_server_was_started_again(jetstream: LogInJetStream) -> None:
    rooms = [Boundary(Kind.ROOM, f"r{number}") for number in range(50)]
    await asyncio.gather(*(fill(jetstream.store, 45, room) for room in rooms))
    seen: list[int] = []
    async for commit in jetstream.store.read():
        seen.append(commit.sequence)
        if commit.sequence == 100:
            await jetstream.server.restart()
    assert seen == list(range(1, 2_251))


async def test_a_read_that_gets_nowhere_says_so_in_time(jetstream: LogInJetStream) -> None:
    await fill(jetstream.store, 1)
    await jetstream.server.stop()
    async with asyncio.timeout(3 * IMPATIENT.limit_s):
        with pytest.raises(LogUnavailable):
            await everything(jetstream.store.read())


async def test_a_position_that_does_not_come_is_told_in_time(jetstream: LogInJetStream) -> None:
    jetstream.server.pause()
    async with asyncio.timeout(2 * IMPATIENT.limit_s):
        with pytest.raises(LogUnavailable, match="ROOMLEDGER"):
            await jetstream.store.position()


async def test_a_follower_ends_when_its_connection_is_closed(jetstream: LogInJetStream) -> None:
    await fill(jetstream.store, 1)
    async with Follower(jetstream.store.follow()) as follower:
        await follower.has(1)
        await jetstream.connection.close()
        with pytest.raises(LogUnavailable, match="closed"):
            await follower.ended()


# -- Another log


async def test_a_follower_is_told_that_the_log_was_deleted(jetstream: LogInJetStream) -> None:
    await fill(jetstream.store, 1)
    async with Follower(jetstream.store.follow()) as follower:
        await follower.has(1)
        await (await jetstream.admin()).jetstream().delete_stream("ROOMLEDGER")
        with pytest.raises(LogReplaced, match="no ROOMLEDGER"):
            await follower.ended()


async def test_a_follower_is_told_that_the_log_went_back_and_was_written_anew(
    jetstream: LogInJetStream,
) -> None:
    await fill(jetstream.store, 2)
    await jetstream.back_up()
    await fill(jetstream.store, 2, expected=2)
    async with Proxy(jetstream.server.url) as proxy:
        connection = await jetstream.connect(proxy.url)
        store = await JetStreamStore.open(connection, jetstream.layout, patience=IMPATIENT)
        async with Follower(store.follow()) as follower:
            await follower.has(4)
            proxy.accepts = False
            await jetstream.restore()
            await fill(jetstream.store, 5, expected=2)
            proxy.heal()
            with pytest.raises(LogReplaced, match="another event"):
                await follower.ended()
        await connection.close()


async def test_a_log_is_the_same_after_the_server_was_started_again(jetstream: LogInJetStream) -> None:
    before = await jetstream.store.position()
    await jetstream.server.kill()
    await jetstream.server.start()
    assert await jetstream.store.position() == before


# -- Messages


async def test_gaps_of_expired_commits_do_not_stop_a_follower(jetstream: LogInJetStream) -> None:
    await jetstream.store.append(LOAD, [load()], None)
    await fill(jetstream.store, 1)
    middle = await jetstream.store.append(LOAD, [load()], None)
    await fill(jetstream.store, 1, OTHER)
    await jetstream.expire(1)
    await jetstream.expire(middle)
    async with Follower(jetstream.store.follow()) as follower:
        await follower.has(2)
        await fill(jetstream.store, 1, Boundary(Kind.ROOM, "r3"))
        await follower.has(3)
        assert follower.sequences == [2, 4, 5]


async def test_a_subject_that_is_none_of_this_log_is_passed_over(jetstream: LogInJetStream) -> None:
    admin = (await jetstream.admin()).jetstream()
    for subject in ("ledger.strange.r1", "ledger.room", "ledger.room.r1.more"):
        await admin.publish(subject, encode([event()]))
    await fill(jetstream.store, 1)
    assert sequences_of(await everything(jetstream.store.read())) == [4]


async def test_headers_of_other_programs_do_not_disturb(jetstream: LogInJetStream) -> None:
    admin = (await jetstream.admin()).jetstream()
    await admin.publish("ledger.room.r1", encode([event()]), headers={"Status": "404", "Description": "x"})
    assert sequences_of(await everything(jetstream.store.read())) == [1]


async def test_a_commit_has_the_same_time_however_it_is_read(jetstream: LogInJetStream) -> None:
    await fill(jetstream.store, 20)
    for commit in await everything(jetstream.store.read()):
        [alone] = await everything(jetstream.store.read(start=commit.sequence, until=commit.sequence))
        assert alone == commit


async def test_a_reader_that_takes_little_is_sent_little(jetstream: LogInJetStream) -> None:
    rooms = [Boundary(Kind.ROOM, f"r{number}") for number in range(50)]
    await asyncio.gather(*(fill(jetstream.store, 80, room) for room in rooms))
    before = jetstream.connection.stats["in_msgs"]
    await first(1, jetstream.store.follow())
    assert jetstream.connection.stats["in_msgs"] - before < 2_500


async def test_one_sequence_is_read_with_one_request(jetstream: LogInJetStream) -> None:
    await fill(jetstream.store, 3)
    before = jetstream.connection.stats["out_msgs"]
    await everything(jetstream.store.read(start=2, until=2))
    assert jetstream.connection.stats["out_msgs"] - before == 1


async def test_a_boundary_is_read_to_its_end(jetstream: LogInJetStream) -> None:
    last = (await fill(jetstream.store, 3))[-1]
    await fill(jetstream.store, 1, OTHER)
    await fill(jetstream.store, 1, expected=last)
    assert sequences_of(await everything(jetstream.store.read([ROOM]))) == [1, 2, 3, 5]
