import asyncio

import pytest

from roomledger.domain.errors import Code, Refusal
from roomledger.sdk import listings as listings_module
from roomledger.sdk.listings import Change, Listings, ListingView, ParticipantView


def person(number: int) -> ParticipantView:
    return ParticipantView(id=f"p{number}", user="ada", role="viewer")


class Room:
    """A list of changes that is handed out in pages of ten."""

    def __init__(self, changes: list[Change]) -> None:
        self.changes = changes
        self.fetched: list[tuple[str, int]] = []

    async def fetch(self, name: str, start: int) -> tuple[Change, ...]:
        self.fetched.append((name, start))
        await asyncio.sleep(0)
        return tuple(self.changes[start : start + 10])


def listing(length: int, name: str = "1.0") -> ListingView:
    return ListingView(list=name, length=length)


async def test_a_list_is_fetched_as_far_as_it_is_wanted() -> None:
    room = Room([person(number) for number in range(25)])
    found = await Listings().participants("r1", listing(25), room.fetch)
    assert [each.id for each in found] == [f"p{number}" for number in range(25)]
    assert room.fetched == [("1.0", 0), ("1.0", 10), ("1.0", 20)]


async def test_what_is_known_is_not_fetched_again() -> None:
    room, known = Room([person(number) for number in range(30)]), Listings()
    await known.participants("r1", listing(30), room.fetch)
    room.changes += [person(30), "p3"]
    room.fetched.clear()
    found = await known.participants("r1", listing(32), room.fetch)
    assert room.fetched == [("1.0", 30)]
    assert len(found) == 30
    assert person(3) not in found
    assert found[-1] == person(30)


async def test_an_earlier_moment_is_told_as_it_was() -> None:
    room, known = Room([person(1), person(2), "p1", person(3)]), Listings()
    await known.participants("r1", listing(4), room.fetch)
    assert await known.participants("r1", listing(2), room.fetch) == (person(1), person(2))
    assert await known.participants("r1", listing(4), room.fetch) == (person(2), person(3))


async def test_a_list_that_was_begun_anew_is_fetched_anew() -> None:
    room, known = Room([person(1), person(2)]), Listings()
    await known.participants("r1", listing(2), room.fetch)
    room.changes = [person(2)]
    assert await known.participants("r1", listing(1, "1.1"), room.fetch) == (person(2),)


async def test_many_who_fetch_at_once_get_the_same() -> None:
    room, known = Room([person(number) for number in range(100)]), Listings()
    found = await asyncio.gather(*(known.participants("r1", listing(100), room.fetch) for _ in range(10)))
    assert {len(each) for each in found} == {100}
    assert len(set(found)) == 1


async def test_what_is_refused_is_fetched_at_the_next_time() -> None:
    async def refuse(_: str, __: int) -> tuple[Change, ...]:
        raise Refusal(Code.WRONG_CONTROLLER, "it is elsewhere")

    room, known = Room([person(1)]), Listings()
    with pytest.raises(Refusal):
        await known.participants("r1", listing(1), refuse)
    assert await known.participants("r1", listing(1), room.fetch) == (person(1),)


async def test_the_lists_used_last_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listings_module, "ROOMS_KEPT", 2)
    room, known = Room([person(1)]), Listings()
    for name in ("r1", "r2", "r1", "r3", "r1"):
        await known.participants(name, listing(1), room.fetch)
    assert len(room.fetched) == 3
    await known.participants("r2", listing(1), room.fetch)
    assert len(room.fetched) == 4
