"""Commands that were decided one after another, and the commit of their events."""

import msgspec

from roomledger.domain.decider import Decision
from roomledger.runtime.commands import Waiting
from roomledger_events.envelope import Draft


class Decided(msgspec.Struct, frozen=True):
    """A command that was decided.

    Attributes:
        waiting: The command, with the answer that its caller waits for.
        decision: What it led to.
        place: Of the decision's last event in the commit, -1 for before them all.
    """

    waiting: Waiting
    decision: Decision
    place: int


class Batch:
    """What becomes one commit.

    Attributes:
        decided: The commands, in the order in which they were decided.
        events: Their events.
    """

    __slots__ = ("decided", "events")

    def __init__(self) -> None:
        self.decided: list[Decided] = []
        self.events = Draft()
