"""What can go wrong with a projection's file.

ProjectionError
├── NotAProjection         the file is not this projection: no SQLite, damaged, or somebody else's tables
├── ProjectionLocked       somebody else holds the file locked
└── ProjectionUnwritable   the file cannot be opened or written

None of them harms the log: a projection is a cache, and its file may be deleted at any time.
"""

from pathlib import Path


class ProjectionError(Exception):
    """What all errors of a projection's file have in common.

    Attributes:
        path: The file.
        reason: How it shows.
    """

    def __init__(self, path: Path, reason: str) -> None:
        self.path = path
        self.reason = reason
        super().__init__(path, reason)


class NotAProjection(ProjectionError):
    """The file is not this projection; it is left as it is."""

    def __str__(self) -> str:
        return (
            f"{self.path} is not a projection of this log ({self.reason}): delete or move it, and it is "
            "rebuilt from the log"
        )


class ProjectionLocked(ProjectionError):
    """Somebody else holds the file locked."""

    def __str__(self) -> str:
        return f"{self.path} is locked by another program ({self.reason}): close what has it open for writing"


class ProjectionUnwritable(ProjectionError):
    """The file cannot be opened or written."""

    def __str__(self) -> str:
        return f"{self.path} cannot be written ({self.reason}): check its folder's rights and free space"
