"""What can go wrong in a running process.

RuntimeFailure
└── Deposed             somebody else decides for the boundary now
"""

from roomledger_events.subjects import Boundary


class RuntimeFailure(Exception):
    """What all errors of running processes have in common."""


class Deposed(RuntimeFailure):
    """Somebody else became the writer of a boundary; this one has stopped deciding.

    Attributes:
        boundary: Which one.
    """

    def __init__(self, boundary: Boundary) -> None:
        self.boundary = boundary
        super().__init__(boundary)

    def __str__(self) -> str:
        return f"another one decides for {self.boundary} now"
