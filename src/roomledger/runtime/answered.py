"""Answers to commands that carried an id: the same id within ten minutes gets the same answer."""

import asyncio
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import Any, Final

REMEMBERED_S: Final = 600.0
REMEMBERED_MOST: Final = 200_000


class Answered:
    """Remembers the answers of one boundary by command id, for ten minutes, the newest 200,000 at most."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._by_command: dict[str, asyncio.Future[Any]] = {}
        self._order: deque[tuple[float, str]] = deque()

    def get(self, command: str | None) -> "asyncio.Future[Any] | None":
        """Return the answer to a command, given or still to come; None for one that is not known."""
        return None if command is None else self._by_command.get(command)

    def remember(self, command: str | None, answer: "asyncio.Future[Any]") -> None:
        """Keep the answer to a command that has an id."""
        if command is None:
            return
        now = self._clock()
        while self._order and (self._order[0][0] < now or len(self._order) >= REMEMBERED_MOST):
            self._by_command.pop(self._order.popleft()[1], None)
        self._by_command[command] = answer
        self._order.append((now + REMEMBERED_S, command))

    def forget(self, command: str | None) -> None:
        """Drop the answer to a command that may be tried again."""
        if command is not None:
            self._by_command.pop(command, None)
