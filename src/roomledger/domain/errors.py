"""Why a command is refused.

Refusal
    What a caller gets. Its code is a word of the wire protocol; callers tell the cases apart by it.
    A refusal is an answer, not a fault: the process that gives it is well.
UnknownStrategy (ValueError)
    The settings name a strategy that does not exist; nothing is put in its place.

Which codes there are: `Code`. Those in `RETRYABLE` may go away by waiting.
"""

from enum import StrEnum
from typing import Any, Final


class Code(StrEnum):
    """The codes of refusals, as they stand on the wire."""

    INVALID_ARGUMENT = "invalid_argument"
    NO_SUCH_PURPOSE = "no_such_purpose"
    ALL_IN_FULL_LOAD = "all_in_full_load"
    NO_MATCH = "no_match"
    NO_SUCH_WORKER = "no_such_worker"
    NO_SUCH_TASK = "no_such_task"
    NO_SUCH_ROOM = "no_such_room"
    ROOM_EXISTS = "room_exists"
    ROOM_FULL = "room_full"
    INVALID_ROLE = "invalid_role"
    INVALID_TOKEN = "invalid_token"  # noqa: S105  - a word of the protocol, no secret
    TOKEN_EXPIRED = "token_expired"  # noqa: S105  - as above
    TOKEN_USED = "token_used"  # noqa: S105  - as above
    TOKEN_REVOKED = "token_revoked"  # noqa: S105  - as above
    TICKET_EXPIRED = "ticket_expired"
    INVALID_TICKET = "invalid_ticket"
    SESSION_ENDED = "session_ended"
    NO_SUCH_PARTICIPANT = "no_such_participant"
    NO_NODE = "no_node"
    NO_SUCH_NODE = "no_such_node"
    WRONG_CONTROLLER = "wrong_controller"
    LOG_UNAVAILABLE = "log_unavailable"
    LOG_FULL = "log_full"
    NOT_READY = "not_ready"
    BUSY = "busy"
    INTERNAL = "internal"


RETRYABLE: Final = {
    Code.ALL_IN_FULL_LOAD: 500,
    Code.NO_NODE: 500,
    Code.WRONG_CONTROLLER: 50,
    Code.LOG_UNAVAILABLE: 500,
    Code.NOT_READY: 100,
    Code.BUSY: 100,
}
"""Code → how long to wait before asking again, in milliseconds."""


class Refusal(Exception):
    """A command was refused.

    Attributes:
        code: Which case it is.
        message: What is wrong, for people.
        detail: Figures that go with it, JSON values.
    """

    def __init__(self, code: Code, message: str, **detail: Any) -> None:  # noqa: ANN401  - JSON values
        self.code = code
        self.message = message
        self.detail = detail
        super().__init__(code, message)

    def __str__(self) -> str:
        return self.message

    @property
    def retry_after_ms(self) -> int | None:
        """How long to wait before asking again; None where waiting cannot mend it."""
        return RETRYABLE.get(self.code)


class UnknownStrategy(ValueError):
    """There is no strategy of this name.

    Attributes:
        name: What the settings say.
        known: The names that there are.
    """

    def __init__(self, name: str, known: tuple[str, ...]) -> None:
        self.name = name
        self.known = known
        super().__init__(name, known)

    def __str__(self) -> str:
        return f"there is no strategy {self.name!r}; there are {', '.join(self.known)}"
