import multiprocessing
import threading
import time
import uuid
from itertools import islice

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from roomledger_events.identifiers import Id, InvalidId, check_id, new_id, new_ids, new_secret_id

NO_IDS = {
    "empty": "",
    "dots": "a.b",
    "star": "*",
    "star inside": "a*",
    "greater": ">",
    "blank": "a b",
    "blank at the end": "a ",
    "line feed at the end": "a\n",
    "line feed": "a\nb",
    "tab": "a\t",
    "null": "a\0",
    "slash": "a/b",
    "not ASCII": "é",
    "digits of another script": "٣",
    "65 characters": "a" * 65,
    "10,000 characters": "a" * 10_000,
}


@given(text=st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True))
def test_ids_are_letters_digits_hyphens_and_underscores(text: str):
    assert check_id(text) == text
    assert msgspec.json.decode(msgspec.json.encode(text), type=Id) == text


@pytest.mark.parametrize("text", NO_IDS.values(), ids=NO_IDS)
def test_anything_else_is_none(text: str):
    with pytest.raises(InvalidId, match="is no id: 1 to 64 letters"):
        check_id(text)


@pytest.mark.parametrize("text", NO_IDS.values(), ids=NO_IDS)
def test_anything_else_is_refused_at_the_door_too(text: str):
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(msgspec.json.encode(text), type=Id)


def test_an_error_does_not_repeat_all_of_what_was_given():
    with pytest.raises(InvalidId) as invalid:
        check_id("a" * 10_000)
    assert invalid.value.text == "a" * 80
    assert len(str(invalid.value)) < 200


# -- New ones


def test_new_ids_are_uuids_of_version_7_with_the_time_in_them():
    before = time.time_ns() // 1_000_000
    made = new_id()
    # A burst of ids may run ahead of the clock by some milliseconds.
    after = time.time_ns() // 1_000_000 + 1_000
    parsed = uuid.UUID(made)
    assert str(parsed) == made
    assert parsed.version == 7
    assert parsed.variant == uuid.RFC_4122
    assert before <= parsed.int >> 80 <= after
    assert check_id(made)


def test_new_ids_only_grow():
    made = [new_id() for _ in range(50_000)]
    assert made == sorted(set(made))


def test_new_ids_of_several_threads_are_all_different_and_grow_in_each():
    made: list[list[str]] = [[] for _ in range(4)]

    def make(mine: list[str]) -> None:
        mine.extend(new_id() for _ in range(5_000))

    threads = [threading.Thread(target=make, args=(mine,)) for mine in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({each for mine in made for each in mine}) == 20_000
    assert all(mine == sorted(mine) for mine in made)


def test_the_random_bits_of_new_ids_are_all_of_them():
    tails = [int(new_id()[19:].replace("-", ""), 16) for _ in range(2_000)]
    seen_1 = seen_0 = 0
    for tail in tails:
        seen_1 |= tail
        seen_0 |= ~tail
    random = (1 << 62) - 1
    assert (seen_1 & random, seen_0 & random) == (random, random)
    assert {tail >> 62 for tail in tails} == {0b10}


def test_a_forked_child_makes_other_ids_than_its_parent():
    context = multiprocessing.get_context("fork")
    new_id()  # what was drawn for the next ones is there when it forks
    with context.Pool(1) as pool:
        theirs = pool.apply(_tails)
    assert not set(theirs) & set(_tails())


def _tails() -> list[str]:
    return [new_id()[19:] for _ in range(1_000)]


def test_secret_ids_have_128_bits_and_are_ids():
    made = {new_secret_id() for _ in range(1_000)}
    assert len(made) == 1_000
    assert all(len(bytes.fromhex(each)) == 16 and check_id(each) for each in made)


def test_many_ids_made_at_once_grow_and_are_all_different() -> None:
    ids = list(islice(new_ids(256), 10_000))
    single = new_id()
    assert ids == sorted(set(ids))
    assert ids[-1] < single
    assert all(uuid.UUID(each).version == 7 for each in ids)
