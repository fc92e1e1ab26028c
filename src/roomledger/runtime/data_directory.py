"""The place where a process keeps its files, and that it has for itself.

Two processes on one directory would write over each other's databases, and two nats-servers on one store
would corrupt it. So whoever works with a directory holds a lock on a file in it. The kernel lets go of the
lock when the process ends, however it ends; nothing has to be cleaned up after a crash.
"""

import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Self

from roomledger.runtime.errors import DataDirectoryInUse, DataDirectoryUnusable

LOCK_FILE = "roomledger.lock"
OWNER_ONLY_DIRECTORY = 0o700
OWNER_ONLY_FILE = 0o600


class DataDirectory:
    """A directory for one process, from `lock` to `release`, or as a context manager.

    It is created if it is missing, readable by the owner only, because it holds keys and passwords.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self._lock: int | None = None

    def lock(self) -> None:
        """Create the directory if need be and take it.

        Raises:
            DataDirectoryInUse: Another process has it.
            DataDirectoryUnusable: It cannot be created or written.
        """
        if self._lock is not None:
            return
        try:
            self.path.mkdir(mode=OWNER_ONLY_DIRECTORY, parents=True, exist_ok=True)
            lock = os.open(self.path / LOCK_FILE, os.O_RDWR | os.O_CREAT, OWNER_ONLY_FILE)
        except OSError as error:
            raise DataDirectoryUnusable(self.path, _reason(error)) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.path.chmod(OWNER_ONLY_DIRECTORY)
            os.ftruncate(lock, 0)
            os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
        except BlockingIOError:
            holder = os.pread(lock, 32, 0).decode(errors="replace").strip()
            os.close(lock)
            raise DataDirectoryInUse(self.path, int(holder) if holder.isdigit() else None) from None
        except OSError as error:
            os.close(lock)
            raise DataDirectoryUnusable(self.path, _reason(error)) from error
        self._lock = lock

    def release(self) -> None:
        """Let go of the directory; harmless when it is not held."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def __enter__(self) -> Self:
        self.lock()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def read(self, name: str) -> str | None:
        """Return a small file's text, None if there is no such file.

        Raises:
            DataDirectoryUnusable: It is there and cannot be read.
        """
        try:
            return (self.path / name).read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise DataDirectoryUnusable(self.path, f"{name}: {_reason(error)}") from error

    def write(self, name: str, text: str) -> None:
        """Write a small file, for the owner's eyes only; a crash leaves the old one or the new one.

        Raises:
            DataDirectoryUnusable: It cannot be written.
        """
        new = self.path / f".{name}.new"
        try:
            new.unlink(missing_ok=True)
            descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, OWNER_ONLY_FILE)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(descriptor)
            new.replace(self.path / name)
            self._sync()
        except OSError as error:
            raise DataDirectoryUnusable(self.path, f"{name}: {_reason(error)}") from error

    def remove(self, name: str) -> None:
        """Remove a file if it is there.

        Raises:
            DataDirectoryUnusable: It cannot be removed.
        """
        try:
            (self.path / name).unlink(missing_ok=True)
        except OSError as error:
            raise DataDirectoryUnusable(self.path, f"{name}: {_reason(error)}") from error

    def _sync(self) -> None:
        # The new name of a file is on the disk once its directory is.
        directory = os.open(self.path, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


def _reason(error: OSError | UnicodeDecodeError) -> str:
    return (error.strerror or str(error)).lower() if isinstance(error, OSError) else "it is not text"
