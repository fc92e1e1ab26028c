"""The commands that wait for a writer, and what their callers are told."""

from collections import deque
from typing import Any, Final

from roomledger.domain.errors import Code, Refusal
from roomledger.runtime.answered import Answered
from roomledger.runtime.batch import Batch
from roomledger.runtime.commands import TIMER, Answer, Meta, Waiting
from roomledger.runtime.pending import Pending
from roomledger_events.subjects import Boundary

QUEUE_LIMIT: Final = 20_000
"""Commands that may wait for one boundary; further ones are refused as busy."""


class Intake:
    """A bounded queue of commands, and the answers of those that may be asked for again.

    Args:
        boundary: What they are about, for people.

    Attributes:
        queue: Those that wait, in order.
        answered: The answers by command id, given or still to come.
        closed: Why no further ones are taken in; None while they are.
    """

    def __init__(self, boundary: Boundary) -> None:
        self.queue: deque[Waiting] = deque()
        self.answered = Answered()
        self.closed: Refusal | None = Refusal(Code.NOT_READY, f"{boundary} is not being decided here")
        self._boundary = boundary

    def admit(self, command: Any, meta: Meta) -> Waiting:  # noqa: ANN401  - the decider knows its commands
        """Return a command with the answer that its caller waits for, which may be a refusal already."""
        waiting = Waiting(command, meta, Pending[Answer]())
        if self.closed is not None:
            waiting.answer.set_exception(self.closed)
        elif len(self.queue) >= QUEUE_LIMIT:
            busy = f"{len(self.queue)} commands wait for {self._boundary}"
            waiting.answer.set_exception(Refusal(Code.BUSY, busy))
        else:
            self.answered.remember(meta.command, waiting.answer)
        return waiting

    def put_first(self, command: Any) -> None:  # noqa: ANN401  - as above
        """Let a command of the state's own deadlines be the next one."""
        self.queue.appendleft(Waiting(command, TIMER, Pending()))

    def put_back(self, batch: Batch) -> None:
        """Let commands be decided anew, before all others."""
        self.queue.extendleft(each.waiting for each in reversed(batch.decided))

    def refuse(self, waiting: Waiting, refusal: Refusal) -> None:
        """Refuse a command; where to ask again may help it is decided anew then."""
        if refusal.retry_after_ms is not None:
            self.answered.forget(waiting.meta.command)
        if not waiting.answer.done():
            waiting.answer.set_exception(refusal)

    def refuse_decided(self, batch: Batch, refusal: Refusal) -> None:
        """Refuse commands that were decided, but whose commit is not known to be stored."""
        for each in batch.decided:
            self.refuse(each.waiting, refusal)

    def refuse_queue(self, refusal: Refusal) -> None:
        """Refuse all that wait."""
        while self.queue:
            self.refuse(self.queue.popleft(), refusal)
