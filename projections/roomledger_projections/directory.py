"""Where the projections' files are: ``<name>.sqlite`` each, in one directory.

A file of another version is not touched while its successor is folded beside it, in
``<name>.rebuilt.sqlite``.  When that one has caught up its contents take the old one's place.
"""

from contextlib import closing
from pathlib import Path

from roomledger_projections.errors import ProjectionUnwritable
from roomledger_projections.projection import Projection
from roomledger_projections.projection_file import (
    PATIENCE_S,
    ProjectionFile,
    connected,
    named_errors,
    version_of,
)


def live_path(directory: Path, projection: Projection) -> Path:
    """Return where a projection's file is."""
    return directory / f"{projection.name}.sqlite"


def opened(directory: Path, projection: Projection, *, patience: float = PATIENCE_S) -> ProjectionFile:
    """Open a projection's file to fold into: the live one, or if that is of another version one beside it.

    Raises:
        NotAProjection: There is something else in its place.
        ProjectionLocked: Somebody else keeps it locked.
        ProjectionUnwritable: It cannot be opened or written.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ProjectionUnwritable(directory, error.strerror or str(error)) from error
    live = live_path(directory, projection)
    if _is_of_another_version(live, projection, patience):
        return opened_beside(directory, projection, patience=patience)
    _delete(_beside(directory, projection))
    return ProjectionFile(projection, live, patience=patience)


def opened_beside(directory: Path, projection: Projection, *, patience: float = PATIENCE_S) -> ProjectionFile:
    """Open the file in which a projection is rebuilt; one that was left half done is gone on with.

    Raises:
        NotAProjection: There is something else in its place.
        ProjectionLocked: Somebody else keeps it locked.
        ProjectionUnwritable: It cannot be opened or written.
    """
    path = _beside(directory, projection)
    if _is_of_another_version(path, projection, patience):
        _delete(path)
    return ProjectionFile(projection, path, patience=patience)


def swapped_in(directory: Path, rebuilt: ProjectionFile, *, patience: float = PATIENCE_S) -> ProjectionFile:
    """Put what was rebuilt beside in the live file's place, and return the live file, opened.

    Raises:
        ProjectionLocked: Somebody else keeps the live file locked; it is as it was, and so is the other.
        ProjectionUnwritable: It cannot be written; likewise.
    """
    live = live_path(directory, rebuilt.projection)
    if rebuilt.path == live:
        return rebuilt
    rebuilt.copy_to(live, patience=patience)
    file = ProjectionFile(rebuilt.projection, live, patience=patience)
    rebuilt.close()
    _delete(rebuilt.path)
    return file


def _beside(directory: Path, projection: Projection) -> Path:
    return directory / f"{projection.name}.rebuilt.sqlite"


def _is_of_another_version(path: Path, projection: Projection, patience: float) -> bool:
    if not path.exists():
        return False
    with named_errors(path), closing(connected(path, patience)) as db:
        return version_of(db, projection) not in {None, projection.version}


def _delete(path: Path) -> None:
    for file in (path, *(path.with_name(f"{path.name}-{tail}") for tail in ("wal", "shm", "journal"))):
        file.unlink(missing_ok=True)
