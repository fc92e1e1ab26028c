"""Answers to commands that carried an id: the same id within ten minutes gets the same answer."""

from collections.abc import Callable
from time import monotonic
from typing import Any, Final

from roomledger.runtime.pending import Pending

REMEMBERED_S: Final = 600.0
REMEMBERED_MOST: Final = 200_000


class Answered:
    """Remembers the answers of one boundary by command id, for ten minutes, the newest 200,000 at most."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        # In the order of their time, because one that is remembered anew goes to the end.
        self._by_command: dict[str, tuple[float, Pending[Any]]] = {}

    def get(self, command: str | None) -> Pending[Any] | None:
        """Return the answer to a command, given or still to come; None for one that is not known."""
        known = None if command is None else self._by_command.get(command)
        return None if known is None else known[1]

    def remember(self, command: str | None, answer: Pending[Any]) -> None:
        """Keep the answer to a command that has an id."""
        if command is None:
            return
        now = self._clock()
        while self._by_command:
            oldest = next(iter(self._by_command))
            if self._by_command[oldest][0] > now and len(self._by_command) < REMEMBERED_MOST:
                break
            del self._by_command[oldest]
        self._by_command.pop(command, None)
        self._by_command[command] = (now + REMEMBERED_S, answer)

    def sequences(self) -> dict[str, int]:
        """Return the commit that each given answer reflects."""
        return {
            command: answer.result().sequence
            for command, (_, answer) in self._by_command.items()
            if answer.done() and not answer.cancelled() and answer.exception() is None
        }

    def forget(self, command: str | None) -> None:
        """Drop the answer to a command that may be tried again."""
        if command is not None:
            self._by_command.pop(command, None)
