"""What a user has asked a portal and what has become of it, without any I/O."""

from typing import Any, Final, NamedTuple

import msgspec

from roomledger.sdk import portal_messages
from roomledger.sdk.portal_messages import Done, Incoming, LoggedIn, NewTicket, Present, TakenBack

LOGIN: Final = "login"
LOGOUT: Final = "logout"
RELOGIN: Final = "relogin"
REFRESH: Final = "refresh_ticket"
PARTICIPANTS: Final = "participants"
TEXT: Final = "text"

REPLIES: Final[dict[str, Any]] = {
    LOGIN: LoggedIn,
    LOGOUT: Done,
    RELOGIN: TakenBack,
    REFRESH: NewTicket,
    PARTICIPANTS: Present,
    TEXT: Done,
}
"""What each method is answered with."""
REPEATABLE: Final = frozenset({LOGOUT, PARTICIPANTS})
"""What may be asked again without a second effect, if the connection was lost before the answer."""


class Question(NamedTuple):
    """Something asked.

    Attributes:
        asked: What its user knows it by; None if the client itself asks.
        method: What is asked for.
        params: What is said with it.
    """

    asked: Any
    method: str
    params: dict[str, Any]

    def answer(self, message: Incoming) -> Any:  # noqa: ANN401  - by method
        """Return what it is answered with.

        Raises:
            msgspec.DecodeError: It is no answer to this.
        """
        return msgspec.json.decode(message.result, type=REPLIES.get(self.method, Any))


class Questions:
    """The questions of a client.

    Attributes:
        waiting: Those that are asked once there is a connection.
    """

    def __init__(self) -> None:
        self.waiting: list[Question] = []
        self._open: dict[int, Question] = {}
        self._numbers = 0

    def frame(self, question: Question) -> bytes:
        """Return the frame that asks it, and wait for its answer from now on."""
        self._numbers += 1
        self._open[self._numbers] = question
        return portal_messages.call(self._numbers, question.method, question.params)

    def open(self, number: int) -> Question | None:
        """Return what has this number; None if nobody waits for its answer."""
        return self._open.get(number)

    def close(self, number: int) -> None:
        """Take note that it is answered."""
        del self._open[number]

    def is_open(self, method: str) -> bool:
        """Return whether an answer to such a question is waited for."""
        return any(question.method == method for question in self._open.values())

    def forget(self, asked: Any) -> None:  # noqa: ANN401  - the user's own
        """Take note that nobody waits for an answer any more."""
        self.waiting = [question for question in self.waiting if question.asked is not asked]
        self._open = {number: each for number, each in self._open.items() if each.asked is not asked}

    def lost(self) -> list[Question]:
        """Take note that no answer comes; what can be repeated waits, the rest is returned."""
        there, self._open = list(self._open.values()), {}
        self.waiting = [each for each in there if each.method in REPEATABLE] + self.waiting
        return [each for each in there if each.method not in REPEATABLE]

    def all(self) -> list[Question]:
        """Take note that nothing is answered any more, and return everything that was to be."""
        there, self._open, self.waiting = [*self._open.values(), *self.waiting], {}, []
        return there
