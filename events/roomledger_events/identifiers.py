"""Identifiers: of events, of what events are about, and what may stand in a subject."""

import os
import re
import threading
import time
from collections.abc import Iterator
from typing import Annotated, Final

import msgspec

ID_PATTERN: Final = r"^[A-Za-z0-9_-]{1,64}$(?!\n)"
"""What an id in a subject looks like (the tail refuses a trailing line feed, which ``$`` allows)."""

Id = Annotated[
    str,
    msgspec.Meta(
        pattern=ID_PATTERN,
        description="1 to 64 letters, digits, hyphens and underscores",
        examples=["room-1"],
    ),
]

_matches = re.compile(ID_PATTERN).match
_COUNTER_BITS: Final = 12
_COUNTER_MAX: Final = (1 << _COUNTER_BITS) - 1
_COUNTS: Final = [f"{count:03x}" for count in range(_COUNTER_MAX + 1)]
_DRAWN: Final = 512
_VARIANTS: Final = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}
"""A random digit → one that tells the variant of RFC 9562 in its upper two bits."""


class InvalidId(ValueError):
    """An id that may not go into a subject.

    Attributes:
        text: What was given, cut to 80 characters.
    """

    def __init__(self, text: str) -> None:
        self.text = text[:80]
        super().__init__(text)

    def __str__(self) -> str:
        return f"{self.text!r} is no id: 1 to 64 letters, digits, hyphens and underscores"


def check_id(text: str) -> str:
    """Return the id unchanged.

    Raises:
        InvalidId: It does not match `ID_PATTERN`.
    """
    if _matches(text) is None:
        raise InvalidId(text)
    return text


class _Uuid7Source:
    """Makes UUIDs of version 7 that grow within this process (RFC 9562, sections 5.7 and 6.2, method 1)."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._milliseconds = 0
        self._head = ""
        self._counter = 0
        self._tails: list[str] = []
        os.register_at_fork(after_in_child=self._forget)

    def __call__(self) -> str:
        return self.several(1)[0]

    def several(self, count: int) -> list[str]:
        """Return so many, at most 256, for less than each alone would cost."""
        now = time.time_ns() // 1_000_000
        with self._lock:
            tails = self._tails
            if len(tails) < count:
                self._tails = tails = _tails()
            if now > self._milliseconds:
                # The upper half is left free, so that a busy millisecond has room to count.
                self._begin(now, int.from_bytes(os.urandom(2), "big") & (_COUNTER_MAX >> 1))
            elif self._counter + count > _COUNTER_MAX:
                self._begin(self._milliseconds + 1, 0)
            first = self._counter + 1
            self._counter += count
            head = self._head
            ids = [f"{head}{_COUNTS[first + place]}{tail}" for place, tail in enumerate(tails[-count:])]
            del tails[-count:]
            return ids

    def _begin(self, milliseconds: int, counter: int) -> None:
        text = f"{milliseconds:012x}"
        self._milliseconds, self._counter = milliseconds, counter
        self._head = f"{text[:8]}-{text[8:]}-7"

    def _forget(self) -> None:
        """Draw anew in a forked child: else it and its parent would use the same random bits."""
        self._lock = threading.Lock()
        self._tails = []


def _tails() -> list[str]:
    """Draw for many ids at once: to ask the system costs more than all the rest."""
    random = os.urandom(8 * _DRAWN).hex()
    return [
        f"-{_VARIANTS[random[at]]}{random[at + 1 : at + 4]}-{random[at + 4 : at + 16]}"
        for at in range(0, len(random), 16)
    ]


new_id: Final = _Uuid7Source()
"""Make an id for an event, a command, a token or a participant: a UUID of version 7, as text."""


def new_ids(at_once: int) -> Iterator[str]:
    """Yield such ids without end; so many at once, at most 256, are made when the first of them is taken."""
    while True:
        yield from new_id.several(at_once)


def new_secret_id() -> str:
    """Make an id whose 128 random bits nobody can guess: for token codes."""
    return os.urandom(16).hex()
