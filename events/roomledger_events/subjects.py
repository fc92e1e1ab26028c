"""The grammar of subjects, in both directions.

A consistency boundary is written to one literal subject, ``<ledger>.<kind>.<name>``, and is republished once
it is stored as ``<feed>.<kind>.<name>``.
"""

from enum import StrEnum
from typing import Final, NamedTuple

from roomledger_events.identifiers import check_id

ANY: Final = "*"


class Kind(StrEnum):
    """What a boundary is: the second token of its subject."""

    SCHEDULER = "scheduler"
    LOAD = "load"
    ROOM = "room"
    TEXT = "text"
    TOKEN = "token"  # noqa: S105  - a word of the grammar, no secret
    NODES = "nodes"


GUARDED: Final = frozenset({Kind.SCHEDULER, Kind.ROOM, Kind.NODES})
"""Kinds whose commits carry the expected last sequence of their subject."""

EXPIRING: Final = frozenset({Kind.LOAD, Kind.TEXT})
"""Kinds whose messages carry a time to live; such a subject must never carry expectations."""


class NotASubject(ValueError):
    """A subject that is not of the log.

    Attributes:
        subject: The text that was to be read.
    """

    def __init__(self, subject: str) -> None:
        self.subject = subject
        super().__init__(subject)

    def __str__(self) -> str:
        return f"{self.subject!r} is no subject of this log"


class Boundary(NamedTuple):
    """One consistency boundary: a kind and a name (a purpose, a room's id or a worker's id).

    A name of ``*`` makes it a pattern for all boundaries of its kind; it can be read but not appended to.
    """

    kind: Kind
    name: str

    def __str__(self) -> str:
        return f"{self.kind}.{self.name}"


class Subjects(NamedTuple):
    """The two prefixes of a cluster; several clusters with different ones can share a server."""

    ledger: str = "ledger"
    feed: str = "feed"

    def of(self, boundary: Boundary) -> str:
        """Return the literal subject that a boundary's commits are appended to.

        Raises:
            InvalidId: The boundary's name cannot go into a subject.
        """
        return f"{self.ledger}.{boundary.kind}.{check_id(boundary.name)}"

    def pattern(self, boundary: Boundary, *, live: bool = False) -> str:
        """Return the subject to read a boundary or a pattern of boundaries by, in the log or in the feed.

        Raises:
            InvalidId: The boundary's name is neither ``*`` nor an id.
        """
        name = ANY if boundary.name == ANY else check_id(boundary.name)
        return f"{self.feed if live else self.ledger}.{boundary.kind}.{name}"

    def all(self, *, live: bool = False) -> str:
        """Return the subject that matches every boundary, in the log or in the feed."""
        return f"{self.feed if live else self.ledger}.>"

    def parse(self, subject: str) -> Boundary:
        """Return the boundary that a subject of the log or of the feed belongs to.

        Raises:
            NotASubject: It is of neither, or its kind or its name is none.
        """
        prefix, _, rest = subject.rpartition(".")
        prefix, _, kind = prefix.rpartition(".")
        if prefix not in {self.ledger, self.feed}:
            raise NotASubject(subject)
        try:
            return Boundary(Kind(kind), check_id(rest))
        except ValueError as error:
            raise NotASubject(subject) from error
