import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from roomledger.event_store.errors import Conflict, LogFull, LogMismatch, LogUnavailable, ServerTooOld
from roomledger.event_store.jetstream import JetStreamStore
from roomledger.event_store.layout import Layout
from roomledger_events.rooms import RoomDeleted
from roomledger_events.subjects import Boundary, Kind, Subjects
from tests.event_store.logs import (
    IMPATIENT,
    LOAD,
    OTHER,
    ROOM,
    TEXT,
    TOKENS,
    LogInJetStream,
    event,
    everything,
    fill,
    load,
    sequences_of,
    text,
)
from tests.support.nats import NatsServer, until
from tests.support.proxy import Proxy


@asynccontextmanager
async def through_proxy(jetstream: LogInJetStream) -> AsyncIterator[tuple[Proxy, JetStreamStore]]:
    """Open a second store whose way to the server can be made to fail."""
    async with Proxy(jetstream.server.url) as proxy:
        connection = await jetstream.connect(proxy.url)
        try:
            yield proxy, await JetStreamStore.open(connection, jetstream.layout, patience=IMPATIENT)
        finally:
            await connection.close()


async def is_stored(jetstream: LogInJetStream, sequence: int) -> None:
    async def there() -> bool:
        return (await jetstream.store.position()).sequence >= sequence

    await until(there)


# -- An answer that does not come


@pytest.mark.parametrize("boundary", [ROOM, TOKENS])
async def test_a_commit_whose_answer_got_lost_is_stored_once_and_its_sequence_returned(
    jetstream: LogInJetStream, boundary: Boundary
) -> None:
    expected = 0 if boundary is ROOM else None
    async with through_proxy(jetstream) as (proxy, store):
        proxy.answers_pass = False
        appending = asyncio.create_task(store.append(boundary, [event()], expected))
        await is_stored(jetstream, 1)
        proxy.heal()
        proxy.cut()
        assert await appending == 1
    assert len(await everything(jetstream.store.read())) == 1


@pytest.mark.parametrize("boundary", [ROOM, TOKENS])
async def test_a_commit_that_got_lost_itself_is_stored_once_and_its_sequence_returned(
    jetstream: LogInJetStream, boundary: Boundary
) -> None:
    expected = 0 if boundary is ROOM else None
    async with through_proxy(jetstream) as (proxy, store):
        proxy.requests_pass = False
        appending = asyncio.create_task(store.append(boundary, [event()], expected))
        await until(lambda: proxy.swallowed > 0)
        proxy.heal()
        proxy.cut()
        assert await appending == 1
    assert len(await everything(jetstream.store.read())) == 1


async def test_a_commit_whose_answer_got_lost_is_found_behind_that_of_another(
    jetstream: LogInJetStream,
) -> None:
    async with through_proxy(jetstream) as (proxy, store):
        proxy.answers_pass = False
        appending = asyncio.create_task(store.append(ROOM, [event()], 0))
        await is_stored(jetstream, 1)
        await jetstream.store.append(ROOM, [event()], 1)
        proxy.heal()
        proxy.cut()
        assert await appending == 1


async def test_a_commit_that_got_lost_itself_is_a_conflict_when_another_was_faster(
    jetstream: LogInJetStream,
) -> None:
    async with through_proxy(jetstream) as (proxy, store):
        proxy.requests_pass = False
        appending = asyncio.create_task(store.append(ROOM, [event()], 0))
        await until(lambda: proxy.swallowed > 0)
        await jetstream.store.append(ROOM, [event()], 0)
        proxy.heal()
        proxy.cut()
        with pytest.raises(Conflict):
            await appending
    assert len(await everything(jetstream.store.read())) == 1


async def test_a_commit_that_is_refused_although_nobody_came_in_between_is_sent_again(
    jetstream: LogInJetStream,
) -> None:
    # So do servers with several replicas while an earlier attempt is on its way.
    refused: list[bytes] = []

    def let_it_be_refused(request: bytes) -> bytes:
        wrong = request.replace(b"Last-Subject-Sequence: 1", b"Last-Subject-Sequence: 9")
        if wrong != request and len(refused) < 3:
            refused.append(request)
            return wrong
        return request

    await fill(jetstream.store, 1)
    async with through_proxy(jetstream) as (proxy, store):
        proxy.rewrite_requests = let_it_be_refused
        assert await store.append(ROOM, [event()], 1) == 2
    assert len(refused) == 3


async def test_a_commit_that_is_always_refused_although_nobody_came_in_between_ends_in_time(
    jetstream: LogInJetStream,
) -> None:
    async with through_proxy(jetstream) as (proxy, store):
        proxy.rewrite_requests = lambda request: request.replace(b"Sequence: 0", b"Sequence: 9")
        with pytest.raises(LogUnavailable) as caught:
            await store.append(ROOM, [event()], 0)
        assert caught.value.unknown_outcome


async def test_when_no_answer_comes_in_time_the_outcome_is_told_to_be_unknown(
    jetstream: LogInJetStream,
) -> None:
    async with through_proxy(jetstream) as (proxy, store):
        proxy.answers_pass = False
        with pytest.raises(LogUnavailable) as caught:
            await store.append(ROOM, [event()], 0)
        assert caught.value.unknown_outcome


async def test_a_commit_of_unknown_outcome_can_be_appended_again_much_later(
    jetstream: LogInJetStream,
) -> None:
    events = [event(), event()]
    async with through_proxy(jetstream) as (proxy, store):
        proxy.answers_pass = False
        with pytest.raises(LogUnavailable):
            await store.append(ROOM, events, 0)
        proxy.heal()
        proxy.cut()
        assert await store.append(ROOM, events, 0) == 1
    assert len(await everything(jetstream.store.read())) == 1


async def test_a_commit_that_could_not_be_sent_at_all_is_told_not_to_be_stored(
    jetstream: LogInJetStream,
) -> None:
    await jetstream.server.stop()
    await until(lambda: not jetstream.connection.up.is_set())
    with pytest.raises(LogUnavailable) as caught:
        await jetstream.store.append(ROOM, [event()], 0)
    assert not caught.value.unknown_outcome


async def test_over_a_line_that_breaks_again_and_again_every_commit_is_stored_once_in_order(
    jetstream: LogInJetStream,
) -> None:
    rooms = [Boundary(Kind.ROOM, f"r{number}") for number in range(8)]
    appended: dict[Boundary, list[tuple[int, str]]] = {room: [] for room in rooms}
    async with through_proxy(jetstream) as (proxy, store):
        done = asyncio.Event()

        async def write(room: Boundary) -> None:
            expected = 0
            while not done.is_set():
                one = event()
                expected = await store.append(room, [one], expected)
                appended[room].append((expected, one.id))

        async def break_it() -> None:
            chance = random.Random(1)  # noqa: S311  - nothing to guess here
            for turn in range(12):
                before = sum(map(len, appended.values()))
                await until(lambda before=before: sum(map(len, appended.values())) > before + 20)  # type: ignore[misc]  # a bound default
                vanishing = "answers_pass" if turn % 2 else "requests_pass"
                setattr(proxy, vanishing, False)
                await asyncio.sleep(chance.uniform(0, 0.02))
                proxy.cut()
                proxy.heal()
            done.set()

        await asyncio.gather(break_it(), *map(write, rooms))
    for room in rooms:
        stored = await everything(jetstream.store.read([room]))
        assert [(commit.sequence, commit.events[0].id) for commit in stored] == appended[room]


# -- A server that is gone for a while


@pytest.mark.parametrize("how", ["stop", "kill"])
async def test_an_append_outlasts_a_server_that_is_started_again(jetstream: LogInJetStream, how: str) -> None:
    await fill(jetstream.store, 1)
    await getattr(jetstream.server, how)()
    appending = asyncio.create_task(jetstream.store.append(ROOM, [event()], 1))
    await jetstream.server.start()
    assert await appending == 2


async def test_what_was_acknowledged_is_there_after_the_server_was_killed(jetstream: LogInJetStream) -> None:
    acknowledged: list[str] = []

    async def write(room: Boundary) -> None:
        expected = 0
        while True:
            one = event()
            try:
                expected = await jetstream.store.append(room, [one], expected)
            except LogUnavailable:
                return
            acknowledged.append(one.id)

    writers = [asyncio.create_task(write(Boundary(Kind.ROOM, f"r{number}"))) for number in range(8)]
    await until(lambda: len(acknowledged) > 100)
    await jetstream.server.kill()
    await asyncio.gather(*writers)
    await jetstream.server.start()
    stored = {each.id for commit in await everything(jetstream.store.read()) for each in commit.events}
    assert stored >= set(acknowledged)


async def test_an_append_outlasts_a_server_that_does_not_move_for_longer_than_an_attempt(
    jetstream: LogInJetStream,
) -> None:
    jetstream.server.pause()
    appending = asyncio.create_task(jetstream.store.append(ROOM, [event()], 0))
    await asyncio.sleep(3 * IMPATIENT.attempt_s)
    jetstream.server.resume()
    assert await appending == 1
    assert len(await everything(jetstream.store.read())) == 1


# -- What is stored


async def test_load_reports_and_text_messages_expire(jetstream: LogInJetStream) -> None:
    await jetstream.store.append(LOAD, [load()], None)
    await jetstream.store.append(TEXT, [text()], None)
    await fill(jetstream.store, 1)

    async def is_alone() -> bool:
        return sequences_of(await everything(jetstream.store.read())) == [3]

    await until(is_alone)


async def test_what_is_stored_is_republished_to_the_feed_and_what_is_refused_is_not(
    jetstream: LogInJetStream,
) -> None:
    admin = await jetstream.admin()
    feed = await admin.subscribe("feed.>")
    await admin.flush()
    await fill(jetstream.store, 1)
    with pytest.raises(Conflict):
        await jetstream.store.append(ROOM, [event()], 0)
    await fill(jetstream.store, 1, OTHER)
    messages = [await feed.next_msg(), await feed.next_msg()]
    assert [message.subject for message in messages] == ["feed.room.r1", "feed.room.r2"]


async def test_a_full_log_says_so_and_stores_nothing(jetstream: LogInJetStream) -> None:
    expected, store = await _full(jetstream)
    with pytest.raises(LogFull, match="maximum bytes exceeded"):
        await store.append(ROOM, [event(RoomDeleted(room="x" * 400_000))], expected)
    assert (await store.position()).sequence == expected


async def test_a_full_log_can_still_be_read(jetstream: LogInJetStream) -> None:
    expected, store = await _full(jetstream)
    assert len(await everything(store.read())) == expected


async def test_a_full_log_goes_on_when_its_limit_is_raised(jetstream: LogInJetStream) -> None:
    expected, store = await _full(jetstream)
    admin = (await jetstream.admin()).jetstream()
    config = (await admin.stream_info("SMALL")).config
    await admin.update_stream(config.evolve(max_bytes=16 * 1024 * 1024))
    assert await store.append(ROOM, [event()], expected) == expected + 1


async def _full(jetstream: LogInJetStream) -> tuple[int, JetStreamStore]:
    """Return a log that takes no further commit of this size, and its last sequence."""
    layout = Layout(name="SMALL", subjects=Subjects("small", "small_feed"), max_bytes=1024 * 1024)
    admin = await jetstream.connect(user="admin")
    store = await JetStreamStore.open(admin, layout, patience=IMPATIENT)
    expected = 0
    try:
        while True:
            expected = await store.append(ROOM, [event(RoomDeleted(room="x" * 400_000))], expected)
    except LogFull:
        return expected, store


async def test_a_log_that_was_sealed_says_what_is_wrong(jetstream: LogInJetStream) -> None:
    admin = (await jetstream.admin()).jetstream()
    config = (await admin.stream_info("ROOMLEDGER")).config
    await admin.update_stream(config.evolve(sealed=True))
    with pytest.raises(LogMismatch, match="sealed"):
        await jetstream.store.append(ROOM, [event()], 0)


async def test_a_log_that_was_deleted_is_unavailable(jetstream: LogInJetStream) -> None:
    await (await jetstream.admin()).jetstream().delete_stream("ROOMLEDGER")
    with pytest.raises(LogUnavailable, match="nobody keeps it"):
        await jetstream.store.append(ROOM, [event()], 0)


async def test_a_closed_connection_is_told_at_once(jetstream: LogInJetStream) -> None:
    await jetstream.connection.close()
    with pytest.raises(LogUnavailable, match="closed"):
        await jetstream.store.append(ROOM, [event()], 0)


# -- Opening


async def test_a_missing_log_is_created_as_it_has_to_be(jetstream: LogInJetStream) -> None:
    config = (await (await jetstream.admin()).jetstream().stream_info("ROOMLEDGER")).config
    assert jetstream.layout.differences(config.as_dict() | {"allow_msg_ttl": True}) == []


async def test_a_log_that_is_there_is_opened_with_what_it_holds(jetstream: LogInJetStream) -> None:
    await fill(jetstream.store, 2)
    store = await jetstream.reopen()
    assert (await store.position()).sequence == 2


async def test_many_processes_can_open_a_missing_log_at_once(
    nats_server: NatsServer, jetstream: LogInJetStream
) -> None:
    await (await nats_server.connect("admin")).jetstream().delete_stream("ROOMLEDGER")
    stores = await asyncio.gather(*(jetstream.reopen() for _ in range(8)))
    assert len({(await store.position()).created for store in stores}) == 1


async def test_a_log_that_differs_is_refused_with_each_difference(jetstream: LogInJetStream) -> None:
    admin = (await jetstream.admin()).jetstream()
    await admin.add_stream(name="OTHER", subjects=["other.>"], max_age=3600, discard="old")
    layout = Layout(name="OTHER", subjects=Subjects("other", "other_feed"))
    with pytest.raises(LogMismatch) as caught:
        await JetStreamStore.open(jetstream.connection, layout, patience=IMPATIENT)
    told = str(caught.value)
    for field in (
        "republish",
        "discard",
        "deny_delete",
        "deny_purge",
        "allow_msg_ttl",
        "max_age",
        "max_bytes",
    ):
        assert field in told
    assert "storage" not in told


async def test_a_log_that_differs_is_left_as_it_is(jetstream: LogInJetStream) -> None:
    admin = (await jetstream.admin()).jetstream()
    await admin.add_stream(name="OTHER", subjects=["other.>"])
    before = (await admin.stream_info("OTHER")).config
    with pytest.raises(LogMismatch):
        await JetStreamStore.open(jetstream.connection, Layout(name="OTHER"), patience=IMPATIENT)
    assert (await admin.stream_info("OTHER")).config == before


async def test_a_log_that_the_server_has_no_room_for_is_told_with_its_size(nats_server: NatsServer) -> None:
    log = LogInJetStream(nats_server, nats_server.directory.path)
    with pytest.raises(LogMismatch, match="max_bytes 1125899906842624"):
        await log.open(Layout(max_bytes=1024**5))
    await log.close()


async def test_more_replicas_than_there_are_servers_are_told(nats_server: NatsServer) -> None:
    log = LogInJetStream(nats_server, nats_server.directory.path)
    with pytest.raises(LogMismatch, match="3 replicas"):
        await log.open(Layout(replicas=3))
    await log.close()


async def test_a_log_whose_subjects_another_one_has_is_told(jetstream: LogInJetStream) -> None:
    with pytest.raises(LogMismatch, match="overlap"):
        await JetStreamStore.open(jetstream.connection, Layout(name="SECOND"), patience=IMPATIENT)


async def test_the_auditor_opens_a_log_and_reads_it(jetstream: LogInJetStream) -> None:
    await fill(jetstream.store, 3)
    store = await JetStreamStore.open(
        await jetstream.connect(user="audit"), jetstream.layout, patience=IMPATIENT, create=False
    )
    assert sequences_of(await everything(store.read())) == [1, 2, 3]


async def test_the_auditor_creates_no_log(jetstream: LogInJetStream) -> None:
    await (await jetstream.admin()).jetstream().delete_stream("ROOMLEDGER")
    with pytest.raises(LogUnavailable, match="no such log"):
        await JetStreamStore.open(
            await jetstream.connect(user="audit"), jetstream.layout, patience=IMPATIENT, create=False
        )


async def test_a_server_that_is_too_old_is_refused(jetstream: LogInJetStream) -> None:
    def older(answer: bytes) -> bytes:
        return answer.replace(b'"version":"2.1', b'"version":"1.1')

    async with Proxy(jetstream.server.url) as proxy:
        proxy.rewrite_answers = older
        connection = await jetstream.connect(proxy.url)
        with pytest.raises(ServerTooOld, match=r"1\.1.*too old: 2\.12 or newer"):
            await JetStreamStore.open(connection, jetstream.layout, patience=IMPATIENT)
        await connection.close()
