"""Which commit a command led to, as the log tells it, so that whoever takes over gives the first answer."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final, TypeVar

from roomledger.domain.decider import Decider
from roomledger.domain.errors import Refusal
from roomledger.runtime.commands import Answer
from roomledger_events.envelope import Commit

State = TypeVar("State")

REMEMBERED: Final = timedelta(minutes=10)
"""For this long the same command gets the same answer."""
MOST: Final = 100_000
"""As many commands are remembered at least, if they are not older than that."""


def first_answer(
    decider: Decider[State, Any],
    state: State,
    command: Any,  # noqa: ANN401  - the decider knows its commands
    asked: str | None,
    commit: Commit,
    now: datetime,
) -> Answer | Refusal | None:
    """Return what a command was answered that led to a commit; None to have it decided anew.

    Args:
        decider: The rules.
        state: What the log has led to since.
        command: What was asked for.
        asked: The command's id.
        commit: The first one that it led to.
        now: The time; what was longer ago than `REMEMBERED` is forgotten.
    """
    caused = [(place, event) for place, event in enumerate(commit.events) if event.causationid == asked]
    if not caused or commit.time < now - REMEMBERED:
        return None
    first = decider.again(state, command, [event for _, event in caused])
    if first is None or first.refusal is not None:
        return None if first is None else first.refusal
    return Answer(first.answer, commit.sequence, caused[-1][0])


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
