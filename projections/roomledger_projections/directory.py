"""Where the projections' files are: ``<name>.sqlite`` each, in one directory.

A file of another version is not touched while its successor is folded beside it, in
``<name>.rebuilt.sqlite``.  When that one has caught up its contents take the old one's place.

Whoever rebuilds a file on purpose does so in ``<name>.rebuilding.sqlite``, also while somebody keeps the live
file up with the log.
"""

import fcntl
import os
from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path

from roomledger_projections.connection import PATIENCE_S, connected, named_errors, version_of
from roomledger_projections.errors import NotAProjection, ProjectionLocked, ProjectionUnwritable
from roomledger_projections.projection import Projection
from roomledger_projections.projection_file import ProjectionFile


def live_path(directory: Path, projection: Projection) -> Path:
    """Return where a projection's file is."""
    return directory / f"{projection.name}.sqlite"


def opened(directory: Path, projection: Projection, *, patience: float = PATIENCE_S) -> ProjectionFile:
    """Open a projection's file to load: the live one, or if that is of another version one beside it.

    Once it has been brought up with the log, `swapped_in` returns the live one to go on with.

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
    return ProjectionFile(projection, live, patience=patience, loading=True)


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
    return ProjectionFile(projection, path, patience=patience, loading=True)


def swapped_in(directory: Path, rebuilt: ProjectionFile, *, patience: float = PATIENCE_S) -> ProjectionFile:
    """Return the live file, with all its indexes; what was rebuilt beside it is put in its place before.

    Raises:
        ProjectionLocked: Somebody else keeps the live file locked; it is as it was, and so is the other.
        ProjectionUnwritable: It cannot be written; likewise.
    """
    live = live_path(directory, rebuilt.projection)
    if rebuilt.path == live:
        rebuilt.complete()
        return rebuilt
    rebuilt.copy_to(live, patience=patience)
    file = ProjectionFile(rebuilt.projection, live, patience=patience)
    rebuilt.close()
    _delete(rebuilt.path)
    return file


@contextmanager
def rebuilding(
    directory: Path, projection: Projection, *, replace: bool = False, patience: float = PATIENCE_S
) -> Generator[ProjectionFile]:
    """Open a fresh file in which a projection is rebuilt on purpose; it is gone after the block.

    Args:
        directory: Where the projections are.
        projection: Which one.
        replace: Whether something else in the live file's place is to be replaced, too.
        patience: How long to wait for somebody else's lock, in seconds.

    Raises:
        NotAProjection: There is something else in its place, or one that a newer version keeps.
        ProjectionLocked: Somebody rebuilds already.
        ProjectionUnwritable: It cannot be opened or written.
    """
    path = directory / f"{projection.name}.rebuilding.sqlite"
    if not replace:
        _must_be_this(live_path(directory, projection), projection, patience)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        lock = os.open(directory, os.O_RDONLY)
    except OSError as error:
        raise ProjectionUnwritable(directory, error.strerror or str(error)) from error
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ProjectionLocked(directory, "a projection is being rebuilt already") from None
        _delete(path)
        file = ProjectionFile(projection, path, patience=patience, loading=True, scratch=True)
        try:
            yield file
        finally:
            file.close()
            _delete(path)
    finally:
        os.close(lock)


def replaced(
    directory: Path, rebuilt: ProjectionFile, *, replace: bool = False, patience: float = PATIENCE_S
) -> bool:
    """Put what was rebuilt on purpose in the live file's place, unless the live one has moved on beyond it.

    Args:
        directory: Where the projections are.
        rebuilt: What was rebuilt.
        replace: Whether something that is no such projection is to be removed for it.
        patience: How long to wait for somebody else's lock, in seconds.

    Returns:
        Whether it is there now; otherwise it has to take in more of the log first.

    Raises:
        NotAProjection: There is something else in its place.
        ProjectionLocked: Somebody else keeps the live file locked; it is as it was.
        ProjectionUnwritable: It cannot be written; likewise.
    """
    live = live_path(directory, rebuilt.projection)
    if replace:
        try:
            _must_be_this(live, rebuilt.projection, patience)
        except NotAProjection:
            _delete(live)
    if not rebuilt.copy_to(live, patience=patience):
        return False
    # Opened once as it is used, so that its journal is the one that lets readers and the writer go on.
    ProjectionFile(rebuilt.projection, live, patience=patience).close()
    return True


def _must_be_this(path: Path, projection: Projection, patience: float) -> None:
    """Make sure that a file is this projection, of this version or an older one, or is not there.

    Raises:
        NotAProjection: It is not.
    """
    if not path.exists() or not path.stat().st_size:
        return
    with named_errors(path), closing(connected(path, patience)) as db:
        version = version_of(db, projection)
    if version is None:
        raise NotAProjection(path, "it is something else")
    if version > projection.version:
        raise NotAProjection(path, f"version {version}, newer than this one's {projection.version}")


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
