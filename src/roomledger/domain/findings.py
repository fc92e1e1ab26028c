"""What is wrong with a log, and the checks that find it: each a fold of its own over all commits."""

from collections.abc import Iterable
from typing import Protocol

import msgspec

from roomledger_events.envelope import Commit


class Finding(msgspec.Struct, frozen=True, gc=False):
    """Something that cannot be, or that is not what it should be.

    Attributes:
        check: Which check found it.
        sequence: The commit at which it shows; 0 where it is not about one.
        place: Where in the commit.
        about: What it is about, such as a task, a room or a table.
        message: What is wrong, in a sentence.
    """

    check: str
    sequence: int
    place: int
    about: str
    message: str


class Check(Protocol):
    """A fold over all commits of a log that finds what is wrong."""

    def take_in(self, commit: Commit) -> Iterable[Finding]:
        """Take the next commit in and return what is wrong with it."""

    def end(self) -> Iterable[Finding]:
        """Return what shows only when all have been taken in."""

    def figures(self) -> dict[str, int]:
        """Return what was counted on the way."""
