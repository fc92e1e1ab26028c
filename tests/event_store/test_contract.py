"""What every event store does, whatever it is made of."""

import asyncio
import json

import msgspec
import pytest

from roomledger.event_store.errors import Conflict, LogReplaced
from roomledger.event_store.store import Bookmark, check
from roomledger_events.envelope import MAX_EVENTS, CommitTooLarge, Unreadable
from roomledger_events.identifiers import InvalidId
from roomledger_events.rooms import RoomDeleted, TextSent
from roomledger_events.subjects import ANY, Boundary, Kind
from tests.event_store.logs import (
    LOAD,
    NODES,
    OTHER,
    ROOM,
    SCHEDULER,
    TEXT,
    TOKENS,
    Follower,
    Log,
    event,
    everything,
    fill,
    first,
    load,
    quit_event,
    sequences_of,
    text,
)

# -- Append


async def test_the_first_commit_has_the_sequence_one(log: Log) -> None:
    assert await log.store.append(ROOM, [event()], 0) == 1


async def test_a_commit_is_read_as_it_was_appended(log: Log) -> None:
    events = (event(), event(TextSent(sender="p1", to="all", message="ä\n😀")), event())
    await log.store.append(ROOM, events, 0)
    [commit] = await everything(log.store.read())
    assert (commit.boundary, commit.sequence, commit.events) == (ROOM, 1, events)


async def test_the_next_commit_expects_the_sequence_of_the_last_one(log: Log) -> None:
    expected = await log.store.append(ROOM, [event()], 0)
    await log.store.append(OTHER, [event()], 0)
    assert await log.store.append(ROOM, [event()], expected) == 3


@pytest.mark.parametrize("expected", [0, 2, 7])
async def test_another_expectation_than_the_last_sequence_is_a_conflict(log: Log, expected: int) -> None:
    await log.store.append(ROOM, [event()], 0)
    await log.store.append(OTHER, [event()], 0)
    with pytest.raises(Conflict) as caught:
        await log.store.append(ROOM, [event()], expected)
    assert (caught.value.boundary, caught.value.expected) == (ROOM, expected)


async def test_a_refused_commit_leaves_nothing_behind(log: Log) -> None:
    await fill(log.store, 1)
    with pytest.raises(Conflict):
        await log.store.append(ROOM, [event()], 0)
    assert len(await everything(log.store.read())) == 1


async def test_the_same_commit_appended_again_is_the_one_that_is_there(log: Log) -> None:
    events = [event(), event()]
    sequence = await log.store.append(ROOM, events, 0)
    assert await log.store.append(ROOM, events, 0) == sequence
    assert len(await everything(log.store.read())) == 1


async def test_the_same_commit_appended_again_is_found_behind_later_ones(log: Log) -> None:
    events = [event()]
    sequence = await log.store.append(ROOM, events, 0)
    await fill(log.store, 3, expected=sequence)
    assert await log.store.append(ROOM, events, 0) == sequence


async def test_the_first_event_with_other_events_is_another_commit(log: Log) -> None:
    one = event()
    await log.store.append(ROOM, [one], 0)
    with pytest.raises(Conflict):
        await log.store.append(ROOM, [one, event()], 0)


async def test_the_same_commit_without_expectation_appended_again_is_the_one_that_is_there(log: Log) -> None:
    events = [event()]
    sequence = await log.store.append(TOKENS, events, None)
    await log.store.append(TOKENS, [event()], None)
    assert await log.store.append(TOKENS, events, None) == sequence
    assert len(await everything(log.store.read())) == 2


async def test_of_many_writers_with_one_expectation_exactly_one_wins(log: Log) -> None:
    expected = 0
    for _ in range(10):
        results = await asyncio.gather(
            *(log.store.append(ROOM, [event()], expected) for _ in range(8)), return_exceptions=True
        )
        won = [result for result in results if isinstance(result, int)]
        assert len(won) == 1
        assert sum(isinstance(result, Conflict) for result in results) == 7
        [expected] = won
    assert sequences_of(await everything(log.store.read([ROOM])))[-1] == expected


async def test_boundaries_do_not_get_into_each_others_way(log: Log) -> None:
    rooms = [Boundary(Kind.ROOM, f"r{number}") for number in range(20)]
    await asyncio.gather(*(fill(log.store, 5, room) for room in rooms))
    assert len(await everything(log.store.read())) == 100


async def test_a_guard_that_holds_lets_the_commit_pass(log: Log) -> None:
    expected = await log.store.append(SCHEDULER, [quit_event()], 0)
    assert await log.store.append(LOAD, [load()], None, guard=(SCHEDULER, expected)) == 2


async def test_a_guard_that_has_moved_on_is_a_conflict(log: Log) -> None:
    old = await log.store.append(SCHEDULER, [quit_event()], 0)
    await log.store.append(SCHEDULER, [quit_event()], old)
    with pytest.raises(Conflict) as caught:
        await log.store.append(LOAD, [load()], None, guard=(SCHEDULER, old))
    assert (caught.value.boundary, caught.value.expected) == (SCHEDULER, old)


async def test_nothing_with_an_old_guard_comes_after_what_it_guards(log: Log) -> None:
    expected = 0
    for _ in range(20):
        attempts = [log.store.append(LOAD, [load()], None, guard=(SCHEDULER, expected)) for _ in range(12)]
        attempts.insert(6, log.store.append(SCHEDULER, [quit_event()], expected))
        results = await asyncio.gather(*attempts, return_exceptions=True)
        moved_on = results.pop(6)
        assert isinstance(moved_on, int)
        assert all(result < moved_on for result in results if isinstance(result, int))
        assert all(isinstance(result, int | Conflict) for result in results)
        expected = moved_on


async def test_a_commit_of_the_largest_size_is_stored(log: Log) -> None:
    events = [event(TextSent(sender="p1", to="all", message="x" * 1500)) for _ in range(MAX_EVENTS)]
    await log.store.append(ROOM, events, 0)
    [commit] = await everything(log.store.read())
    assert len(commit.events) == MAX_EVENTS


async def test_more_events_than_a_commit_may_hold_are_refused(log: Log) -> None:
    with pytest.raises(CommitTooLarge):
        await log.store.append(ROOM, [event()] * (MAX_EVENTS + 1), 0)


async def test_more_bytes_than_a_commit_may_hold_are_refused(log: Log) -> None:
    with pytest.raises(CommitTooLarge):
        await log.store.append(ROOM, [event(RoomDeleted(room="x" * 600_000))], 0)


async def test_a_commit_without_events_is_refused(log: Log) -> None:
    with pytest.raises(ValueError, match="at least one event"):
        await log.store.append(ROOM, [], 0)


async def test_a_guarded_boundary_without_expectation_is_refused(log: Log) -> None:
    with pytest.raises(ValueError, match=r"room\.r1"):
        await log.store.append(ROOM, [event()], None)


async def test_an_expiring_boundary_with_an_expectation_is_refused(log: Log) -> None:
    with pytest.raises(ValueError, match=r"load\.portal"):
        await log.store.append(LOAD, [load()], 0)


async def test_a_guard_that_can_expire_itself_is_refused(log: Log) -> None:
    with pytest.raises(ValueError, match=r"text\.r1"):
        await log.store.append(LOAD, [load()], None, guard=(TEXT, 0))


@pytest.mark.parametrize("name", ["*", "", "a.b", "a b", "x" * 65, "r\n"])
async def test_a_name_that_is_no_id_is_refused(log: Log, name: str) -> None:
    with pytest.raises(InvalidId):
        await log.store.append(Boundary(Kind.ROOM, name), [event()], 0)


# -- Read


async def test_an_empty_log_reads_as_nothing(log: Log) -> None:
    assert await everything(log.store.read()) == []


async def test_commits_of_all_boundaries_are_read_in_the_order_of_the_log(log: Log) -> None:
    await log.store.append(ROOM, [event()], 0)
    await log.store.append(TOKENS, [event()], None)
    await log.store.append(SCHEDULER, [quit_event()], 0)
    await log.store.append(TEXT, [text()], None)
    await log.store.append(NODES, [event()], 0)
    commits = await everything(log.store.read())
    assert [commit.boundary for commit in commits] == [ROOM, TOKENS, SCHEDULER, TEXT, NODES]
    assert sequences_of(commits) == [1, 2, 3, 4, 5]


async def test_reading_starts_and_ends_with_the_sequences_that_are_named(log: Log) -> None:
    await fill(log.store, 10)
    assert sequences_of(await everything(log.store.read(start=4, until=7))) == [4, 5, 6, 7]


async def test_in_stretches_the_same_commits_are_read(log: Log) -> None:
    await fill(log.store, 600)
    await log.store.append(TOKENS, [event()], None)
    await log.put(ROOM, b"{")
    for only, start, until in (((), 1, None), ((), 4, 300), ((ROOM,), 590, None), ((TOKENS,), 1, 600)):
        stretches = [stretch async for stretch in log.store.stretches(only, start=start, until=until)]
        assert all(stretches)
        read = await everything(log.store.read(only, start=start, until=until))
        assert [commit for stretch in stretches for commit in stretch] == read


async def test_a_filter_lets_one_boundary_pass(log: Log) -> None:
    await fill(log.store, 2)
    await fill(log.store, 3, OTHER)
    assert sequences_of(await everything(log.store.read([OTHER]))) == [3, 4, 5]


async def test_a_filter_lets_a_kind_and_a_boundary_pass_in_order(log: Log) -> None:
    await fill(log.store, 1)
    await log.store.append(TOKENS, [event()], None)
    await fill(log.store, 1, OTHER)
    await log.store.append(SCHEDULER, [quit_event()], 0)
    await log.store.append(TOKENS, [event()], None)
    only = [Boundary(Kind.ROOM, ANY), TOKENS]
    assert sequences_of(await everything(log.store.read(only))) == [1, 2, 3, 5]


async def test_a_filter_may_name_something_twice(log: Log) -> None:
    await fill(log.store, 2)
    only = [ROOM, Boundary(Kind.ROOM, ANY), ROOM]
    assert sequences_of(await everything(log.store.read(only))) == [1, 2]


async def test_a_filter_that_nothing_matches_reads_as_nothing(log: Log) -> None:
    await fill(log.store, 3)
    assert await everything(log.store.read([OTHER])) == []


async def test_reading_ends_when_the_last_match_lies_before_the_end(log: Log) -> None:
    await fill(log.store, 2)
    await fill(log.store, 3, OTHER)
    assert sequences_of(await everything(log.store.read([ROOM], until=4))) == [1, 2]


async def test_reading_ends_before_a_match_that_lies_behind_the_end(log: Log) -> None:
    last = (await fill(log.store, 1))[-1]
    await fill(log.store, 3, OTHER)
    await fill(log.store, 1, expected=last)
    assert sequences_of(await everything(log.store.read([ROOM], until=4))) == [1]


async def test_reading_from_beyond_the_end_yields_nothing(log: Log) -> None:
    await fill(log.store, 2)
    assert await everything(log.store.read(start=3)) == []
    assert await everything(log.store.read(start=30, until=40)) == []


async def test_reading_until_before_the_start_yields_nothing(log: Log) -> None:
    await fill(log.store, 3)
    assert await everything(log.store.read(start=3, until=2)) == []


async def test_one_sequence_can_be_read(log: Log) -> None:
    await fill(log.store, 3)
    [commit] = await everything(log.store.read(start=2, until=2))
    assert commit == (await everything(log.store.read()))[1]


async def test_one_sequence_of_another_boundary_than_the_filters_yields_nothing(log: Log) -> None:
    await fill(log.store, 3)
    assert await everything(log.store.read([OTHER], start=2, until=2)) == []


async def test_what_is_appended_while_it_is_read_does_not_prolong_it(log: Log) -> None:
    last = (await fill(log.store, 3))[-1]
    seen = []
    async for commit in log.store.read():
        seen.append(commit.sequence)
        last = await log.store.append(ROOM, [event()], last)
    assert seen == [1, 2, 3]


async def test_all_that_was_acknowledged_before_is_read(log: Log) -> None:
    expected = 0
    for _ in range(30):
        expected = await log.store.append(ROOM, [event()], expected)
        assert (await everything(log.store.read([ROOM])))[-1].sequence == expected


async def test_more_than_one_batch_is_read_in_full(log: Log) -> None:
    sequences = await _many(log, 2_500)
    assert sequences_of(await everything(log.store.read())) == sequences


async def test_large_commits_are_read_in_full(log: Log) -> None:
    large = [event(RoomDeleted(room="x" * 400_000))]
    expected = 0
    for _ in range(24):
        expected = await log.store.append(ROOM, [*large, event()], expected)
    assert len(await everything(log.store.read())) == 24


async def test_a_name_that_is_no_id_cannot_be_read(log: Log) -> None:
    with pytest.raises(InvalidId):
        await everything(log.store.read([Boundary(Kind.ROOM, "a.b")]))


@pytest.mark.parametrize("body", [b"", b"\xff\xfe", b"{", b"[]", b'[{"type": "Strange"}]', b'"x"', b"[1]"])
async def test_a_message_that_cannot_be_read_stops_no_reader(log: Log, body: bytes) -> None:
    await fill(log.store, 1)
    await log.put(OTHER, body)
    await fill(log.store, 1, Boundary(Kind.ROOM, "r3"))
    commits = await everything(log.store.read())
    assert sequences_of(commits) == [1, 2, 3]
    assert all(isinstance(each.data, Unreadable) for each in commits[1].events)


async def test_an_event_of_an_unknown_type_keeps_its_place_in_the_commit(log: Log) -> None:
    wire = json.loads(_body_of([event(), event(), event()]))
    wire[1]["type"] = "NotYetInvented"
    await log.put(ROOM, json.dumps(wire).encode())
    [commit] = await everything(log.store.read())
    assert [type(each.data) for each in commit.events] == [RoomDeleted, Unreadable, RoomDeleted]


async def test_an_expired_commit_is_passed_over(log: Log) -> None:
    await fill(log.store, 1)
    sequence = await log.store.append(LOAD, [load()], None)
    await fill(log.store, 1, OTHER)
    await log.expire(sequence)
    assert sequences_of(await everything(log.store.read())) == [1, 3]


async def test_when_all_that_matched_has_expired_reading_ends(log: Log) -> None:
    sequence = await log.store.append(LOAD, [load()], None)
    await fill(log.store, 1)
    await log.expire(sequence)
    assert await everything(log.store.read([LOAD])) == []


# -- Follow


async def test_following_yields_what_is_there_and_what_comes(log: Log) -> None:
    [last] = await fill(log.store, 1)
    following = asyncio.create_task(first(3, log.store.follow()))
    await fill(log.store, 2, expected=last)
    assert sequences_of(await following) == [1, 2, 3]


async def test_following_starts_in_the_middle(log: Log) -> None:
    await fill(log.store, 5)
    assert sequences_of(await first(2, log.store.follow(start=4))) == [4, 5]


async def test_following_starts_at_the_end(log: Log) -> None:
    last = (await fill(log.store, 3))[-1]
    following = asyncio.create_task(first(1, log.store.follow(start=4)))
    await fill(log.store, 1, expected=last)
    assert sequences_of(await following) == [4]


async def test_following_an_empty_log_yields_its_first_commit(log: Log) -> None:
    following = asyncio.create_task(first(1, log.store.follow()))
    await fill(log.store, 1)
    assert sequences_of(await following) == [1]


async def test_following_with_a_filter_passes_over_the_others(log: Log) -> None:
    following = asyncio.create_task(first(3, log.store.follow([OTHER, Boundary(Kind.TOKEN, ANY)])))
    await fill(log.store, 2)
    await log.store.append(TOKENS, [event()], None)
    await fill(log.store, 2, OTHER)
    assert sequences_of(await following) == [3, 4, 5]


async def test_following_from_beyond_the_end_is_another_log(log: Log) -> None:
    await fill(log.store, 2)
    with pytest.raises(LogReplaced):
        await first(1, log.store.follow(start=4))


async def test_a_slow_follower_of_thousands_misses_nothing_and_has_nothing_twice(log: Log) -> None:
    sequences = await _many(log, 2_600)
    seen: list[int] = []

    async def follow_slowly() -> None:
        async for commit in log.store.follow():
            seen.append(commit.sequence)
            if commit.sequence % 100 == 0:
                await asyncio.sleep(0.01)
            if commit.sequence == 5_200:
                return

    following = asyncio.create_task(follow_slowly())
    sequences += await _many(log, 2_600)
    async with asyncio.timeout(30):
        await following
    assert seen == sequences


async def test_many_followers_each_get_everything(log: Log) -> None:
    followers = [asyncio.create_task(first(20, log.store.follow())) for _ in range(10)]
    sequences = await fill(log.store, 20)
    for commits in await asyncio.gather(*followers):
        assert sequences_of(commits) == sequences


# -- Position and bookmark


async def test_the_position_is_the_last_sequence(log: Log) -> None:
    assert (await log.store.position()).sequence == 0
    await fill(log.store, 3)
    assert (await log.store.position()).sequence == 3


async def test_the_position_names_when_the_log_was_created(log: Log) -> None:
    before = await log.store.position()
    await fill(log.store, 1)
    assert (await (await log.reopen()).position()).created == before.created


async def _bookmark(log: Log, sequence: int) -> Bookmark:
    [commit] = await everything(log.store.read(start=sequence, until=sequence))
    return Bookmark.at(await log.store.position(), commit)


async def test_a_bookmark_in_this_log_is_good(log: Log) -> None:
    await fill(log.store, 3)
    assert (await check(log.store, await _bookmark(log, 2))).sequence == 3


async def test_a_bookmark_before_the_first_commit_is_good(log: Log) -> None:
    bookmark = Bookmark.at(await log.store.position(), None)
    await fill(log.store, 1)
    assert (await check(log.store, bookmark)).sequence == 1


async def test_a_bookmark_at_a_commit_that_cannot_be_read_is_good(log: Log) -> None:
    for body in (b"[]", b"?"):
        sequence = await log.put(ROOM, body)
        assert (await check(log.store, await _bookmark(log, sequence))).sequence == sequence


async def test_a_bookmark_at_a_commit_that_has_expired_is_good(log: Log) -> None:
    sequence = await log.store.append(LOAD, [load()], None)
    bookmark = await _bookmark(log, sequence)
    await log.expire(sequence)
    assert (await check(log.store, bookmark)).sequence == sequence


async def test_a_bookmark_in_a_log_that_was_replaced_is_refused(log: Log) -> None:
    await fill(log.store, 3)
    bookmark = await _bookmark(log, 2)
    await log.replace()
    store = await log.reopen()
    await fill(store, 3)
    with pytest.raises(LogReplaced, match="created"):
        await check(store, bookmark)


async def test_a_bookmark_in_a_log_that_went_back_is_refused(log: Log) -> None:
    await fill(log.store, 2)
    await log.back_up()
    await fill(log.store, 2, expected=2)
    bookmark = await _bookmark(log, 4)
    await log.restore()
    with pytest.raises(LogReplaced, match="ends at sequence 2"):
        await check(log.store, bookmark)


async def test_a_bookmark_in_a_log_that_went_back_and_was_written_anew_is_refused(log: Log) -> None:
    await fill(log.store, 2)
    await log.back_up()
    await fill(log.store, 2, expected=2)
    bookmark = await _bookmark(log, 4)
    await log.restore()
    await fill(log.store, 5, expected=2)
    with pytest.raises(LogReplaced, match="another event"):
        await check(log.store, bookmark)


async def test_a_follower_is_told_that_the_log_was_replaced(log: Log) -> None:
    await fill(log.store, 3)
    async with Follower(log.store.follow()) as follower:
        await follower.has(3)
        await log.replace()
        with pytest.raises(LogReplaced):
            await follower.ended()


async def test_a_follower_is_told_that_the_log_went_back(log: Log) -> None:
    await fill(log.store, 2)
    await log.back_up()
    await fill(log.store, 2, expected=2)
    async with Follower(log.store.follow()) as follower:
        await follower.has(4)
        await log.restore()
        with pytest.raises(LogReplaced):
            await follower.ended()


async def test_a_log_that_was_replaced_is_not_read_on_by_a_store_that_knew_the_other(log: Log) -> None:
    await fill(log.store, 1)
    await log.replace()
    with pytest.raises(LogReplaced):
        await everything(log.store.read())


async def _many(log: Log, count: int) -> list[int]:
    """Append commits to many boundaries at once, and return their sequences in order."""
    appended: list[int] = []
    start = (await log.store.position()).sequence
    tokens = [Boundary(Kind.TOKEN, f"t{number}") for number in range(50)]

    async def append(boundary: Boundary, commits: int) -> None:
        for _ in range(commits):
            appended.append(await log.store.append(boundary, [event()], None))  # noqa: PERF401  - in turn

    await asyncio.gather(*(append(boundary, count // len(tokens)) for boundary in tokens))
    assert sorted(appended) == list(range(start + 1, start + count + 1))
    return sorted(appended)


def _body_of(events: list[object]) -> bytes:
    return msgspec.json.encode(events)
