"""How far a long piece of work with the log has come."""

from typing import NamedTuple


class Progress(NamedTuple):
    """How far it has come.

    Attributes:
        sequence: The last sequence taken in.
        last: Where it will end at the latest.
        events: How many events were taken in.
    """

    sequence: int
    last: int
    events: int
