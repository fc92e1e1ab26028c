"""What a decider is: the rules of one kind of boundary, as a value without I/O.

``decide`` looks at the state and at a command and says what happens; ``evolve`` takes in what happened.  The
state belongs to the one who folds it: `evolve` may change it in place and returns it.  It never refuses, for
what is in the log has happened, and it ignores the types that it does not know.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar

import msgspec

from roomledger.domain.errors import Refusal
from roomledger_events.envelope import Event, Payload

State = TypeVar("State")
Command = TypeVar("Command")


class Context(msgspec.Struct, frozen=True, gc=False):
    """What comes with a command from outside the domain.

    Attributes:
        now: The time of the decision, UTC.
        basis: The last sequence of the log that the state had taken in.
        draw: A random number in [0, 1).
        correlation: What set the whole chain off.
        actor: Who wants it.
    """

    now: datetime
    basis: int = 0
    draw: float = 0.0
    correlation: str = ""
    actor: str = ""


class Fact(msgspec.Struct, frozen=True, gc=False):
    """Something that happens by a decision; its envelope is made by the writer.

    Attributes:
        about: The id of what the event is about.
        data: The event's data.
        correlation: What set the chain off, where it is not the command's (a timer's event belongs to what
            set the timer).
    """

    about: str
    data: Payload
    correlation: str | None = None


class Decision(msgspec.Struct, frozen=True, gc=False):
    """What a command leads to: facts in order, and the answer or the refusal that its caller gets.

    The answer is given only when the facts are in the log.
    """

    facts: Sequence[Fact] = ()
    answer: Any = None
    refusal: Refusal | None = None


@dataclass(frozen=True)
class Decider(Generic[State, Command]):
    """The rules of one kind of boundary.

    Attributes:
        initial: Makes the state of a boundary in which nothing has happened.
        evolve: Takes an event in. Never refuses.
        decide: Says what a command leads to. Changes nothing in the state; raises `Refusal` where a command
            is refused without a trace.
        deadline: The earliest moment at which the state has something to do by itself, or None.
        due: The commands that are due at a moment, in order of their deadlines, bounded in number.
        again: What a command was answered that has led to these events, as far as they tell; None to have it
            decided anew.
    """

    initial: Callable[[], State]
    evolve: Callable[[State, Event], State]
    decide: Callable[[State, Command, Context], Decision]
    deadline: Callable[[State], datetime | None] = lambda _: None
    due: Callable[[State, datetime], Sequence[Command]] = lambda _state, _now: ()
    again: Callable[[State, Command, Sequence[Event]], Decision | None] = lambda *_: None
