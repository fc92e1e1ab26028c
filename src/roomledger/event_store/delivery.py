"""What a consumer delivers: messages in columns, so that a long log is read without an object for each."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Self

_SHORT: Final = 9
_NUMBERS: Final = 4


class Interrupted(Exception):
    """Reading cannot go on like this; from the last sequence on it can, by another consumer.

    Attributes:
        reason: What happened.
    """

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


@dataclass(slots=True)
class Delivery:
    """Messages of the log, in order; the lists have an entry for each of them.

    Attributes:
        sequences: Their sequences in the log.
        nanoseconds: When the log stored them, since the epoch.
        subjects: What they were appended to.
        bodies: The commits.
        pending: How many more there were that match when the last one was sent.
    """

    sequences: list[int]
    nanoseconds: list[int]
    subjects: list[str]
    bodies: list[bytes]
    pending: int

    def __len__(self) -> int:
        return len(self.sequences)

    @classmethod
    def numbered(cls, replies: str, subjects: list[str], bodies: list[bytes], after: int) -> Self:
        """Return messages with what their reply subjects tell, up to the first place where one is missing.

        Args:
            replies: ``$JS.ACK.<stream>.<consumer>.<n>.<sequence>.<number>.<time>.<pending>`` for each, joined
                by dots; or with a domain and an account before the stream and perhaps more behind (ADR-15).
            subjects: What the messages were appended to.
            bodies: Their bodies.
            after: The number that the consumer gave the message before them, 0 for none.

        Raises:
            Interrupted: They have no such reply subjects.
        """
        count = len(bodies)
        width = (replies.count(".") + 1) // count
        first = 5 if width == _SHORT else 7
        *same, _ = replies.split(".", first)
        parts = replies.replace(".".join((*same, "")), "").split(".")  # what is the same in all of them
        width -= first
        if width < _NUMBERS or len(parts) != width * count:
            raise Interrupted(f"{replies[:200]!r} does not number {count} messages")
        numbers = list(map(int, parts[1::width]))
        if numbers != list(range(after + 1, after + 1 + count)):
            count = next(place for place, number in enumerate(numbers) if number != after + 1 + place)
            del parts[count * width :]
            subjects, bodies = subjects[:count], bodies[:count]
        pending = int(parts[3 - width]) if parts else 0
        return cls(list(map(int, parts[::width])), list(map(int, parts[2::width])), subjects, bodies, pending)

    def only(self, places: Sequence[int]) -> "Delivery":
        """Return the messages that stand at some places, in order."""
        return Delivery(
            [self.sequences[place] for place in places],
            [self.nanoseconds[place] for place in places],
            [self.subjects[place] for place in places],
            [self.bodies[place] for place in places],
            self.pending,
        )

    def until(self, sequence: int) -> "Delivery":
        """Return the messages up to and with a sequence."""
        return self._between(0, bisect_right(self.sequences, sequence))

    def parts(self, most: int) -> Iterator["Delivery"]:
        """Yield all of it in parts of at most so many messages."""
        for begin in range(0, len(self), most):
            yield self._between(begin, begin + most)

    def _between(self, begin: int, end: int) -> "Delivery":
        return Delivery(
            self.sequences[begin:end],
            self.nanoseconds[begin:end],
            self.subjects[begin:end],
            self.bodies[begin:end],
            self.pending,
        )
