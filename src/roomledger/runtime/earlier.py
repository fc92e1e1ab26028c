"""Which commit a command led to, as the log tells it, so that whoever takes over gives the first answer."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from roomledger_events.envelope import Commit

REMEMBERED: Final = timedelta(minutes=10)
"""For this long the same command gets the same answer."""
MOST: Final = 100_000
"""As many commands are remembered at least, if they are not older than that."""


class Earlier:
    """The commits that commands led to, by command id.

    Two halves, of which the older one is given up when the newer one is full or old: so what is remembered is
    bounded, and nothing has to be looked through.
    """

    def __init__(self, known: Mapping[str, int] | None = None) -> None:
        self._older: dict[str, int] = dict(known or {})
        self._newer: dict[str, int] = {}
        self._full: datetime | None = None

    def note(self, commit: Commit) -> None:
        """Take a commit in."""
        if self._full is None:
            self._full = commit.time + REMEMBERED
        elif commit.time >= self._full or len(self._newer) >= MOST:
            self._older, self._newer, self._full = self._newer, {}, commit.time + REMEMBERED
        for event in commit.events:
            if event.causationid is not None:
                self._newer.setdefault(event.causationid, commit.sequence)

    def get(self, command: str | None) -> int | None:
        """Return the sequence of the first commit that a command led to; None for one that is not known."""
        if command is None:
            return None
        found = self._older.get(command)
        return self._newer.get(command) if found is None else found

    def known(self) -> dict[str, int]:
        """Return all that is known, in plain values."""
        return self._newer | self._older
