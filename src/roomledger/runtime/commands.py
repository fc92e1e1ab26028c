"""What travels with a command, and what comes back."""

from collections.abc import Callable
from typing import Any, Final

import msgspec

from roomledger.runtime.pending import Pending
from roomledger_events.envelope import Address


class Meta(msgspec.Struct, frozen=True, gc=False):
    """What a command carries beside its arguments.

    Attributes:
        actor: Who wants it.
        command: The command's id; the same id within ten minutes gets the same answer.
        correlation: What set the whole chain off; without it the command itself did.
        causation: The event that led to it; without it the command's id is the cause.
        traceparent: The W3C trace context.
    """

    actor: str
    command: str | None = None
    correlation: str | None = None
    causation: str | None = None
    traceparent: str | None = None


TIMER: Final = Meta(actor="timer")
"""What the commands carry that a state's own deadlines lead to."""


class Query(msgspec.Struct, frozen=True, gc=False):
    """Asks for something that the state knows, in order with the commands.

    Attributes:
        of: What to ask of the state; it must not change it.
    """

    of: Callable[[Any], Any]


class Answer(msgspec.Struct, frozen=True, gc=False):
    """What a command's caller gets when its facts are in the log.

    Attributes:
        value: The decision's answer.
        sequence: The sequence of the commit that it reflects.
        place: Of the last event that it reflects, in this commit.
    """

    value: Any
    sequence: int
    place: int

    @property
    def address(self) -> Address:
        """Where the last event of the decision stands, or of those before it where it led to none."""
        return Address(self.sequence, self.place)


class Waiting(msgspec.Struct, frozen=True):
    """A command in a writer's queue, with the answer that its caller waits for."""

    command: Any
    meta: Meta
    answer: Pending[Answer]
