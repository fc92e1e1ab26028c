"""The embedded nats-server: a child process with `nats.conf` and a data directory.

It has a session of its own, so that Ctrl-C at the terminal reaches roomledger only, which then stops it in
its turn. It must not outlive a roomledger that was killed either, or the next start would meet it on the
same port and files. On Linux the kernel sees to that: before the child becomes nats-server it asks to be
killed with its parent (prctl, PR_SET_PDEATHSIG). It asks in a Python of its own that is then replaced,
because code between fork and exec may deadlock when the parent has threads. Everywhere, the child holds a
lock on a file of the data directory; the next start takes that lock first, and ends an orphan that still
holds it.

To the kernel the parent is the *thread* that started the child: start it in the main thread's event loop.
"""

import asyncio
import contextlib
import fcntl
import json
import os
import re
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import structlog

from roomledger.runtime.data_directory import OWNER_ONLY_FILE, DataDirectory
from roomledger.runtime.errors import (
    DataDirectoryUnusable,
    NatsPortInUse,
    NatsServerDied,
    NatsServerNotStarted,
)
from roomledger.runtime.nats_binary import check_version, find_nats_conf, find_nats_server
from roomledger.runtime.nats_conf import Names, nats_conf
from roomledger.runtime.nats_credentials import make_credentials, password_variable

STORE_VARIABLE = "NATS_STORE_DIR"
LOG_FILE = "nats-server.log"
CHILD_LOCK_FILE = "nats-server.lock"
URL_FILE = "nats-url"
CONF_FILE = "nats.conf"
LOG_LIMIT = 16 * 1024 * 1024
"""A log file that is larger is set aside at the next start."""
PROCESSORS_VARIABLE = "GOMAXPROCS"
FEW_CORES = 2
"""On so few it gets one: on more, Go's scheduler looks for work in turns on cores that the others need."""

log = structlog.get_logger(__name__)

START_SECONDS = 120.0
STOP_SECONDS = 10.0
ORPHAN_SECONDS = 5.0
POLL_SECONDS = 0.005

_DIES_WITH_PARENT = """\
import ctypes, os, signal, sys
parent, program = int(sys.argv[1]), sys.argv[2:]
PR_SET_PDEATHSIG = 1
if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0):
    sys.exit("prctl: " + os.strerror(ctypes.get_errno()))
if os.getppid() != parent:
    sys.exit("the parent has gone already")
os.execv(program[0], program)
"""


class EmbeddedNats:
    """A nats-server that this process starts, watches and stops; `start` and `stop`, or a context manager.

    Args:
        directory: A data directory that is locked by this process, and stays so while the server runs.
        port: Where it listens on the loopback interface; 0 takes any free port.
        environ: Where passwords and the binary's name are looked up; by default this process's environment.
        names: What the cluster calls its log and the subjects.
    """

    def __init__(
        self,
        directory: DataDirectory,
        port: int = 4222,
        *,
        environ: Mapping[str, str] | None = None,
        names: Names = Names(),  # noqa: B008  - immutable
    ) -> None:
        self._directory = directory
        self._names = names
        self._port = port
        self._environ = os.environ if environ is None else environ
        self._process: asyncio.subprocess.Process | None = None
        self._watch: asyncio.Task[None] | None = None
        self._url: str | None = None
        self._stopping = False
        self._death: asyncio.Queue[NatsServerDied] = asyncio.Queue()
        self.credentials: dict[str, str] = {}
        """The passwords by user: ``service``, ``audit``, ``admin``."""
        self.log = directory.path / LOG_FILE
        """Its log file."""

    @property
    def url(self) -> str:
        """Where clients connect to; without credentials.

        Raises:
            RuntimeError: It has not been started.
        """
        if self._url is None:
            message = "nats-server has not been started"
            raise RuntimeError(message)
        return self._url

    @property
    def pid(self) -> int | None:
        """Its process id; None while it does not run."""
        return None if self._process is None or self._process.returncode is not None else self._process.pid

    async def start(self) -> None:
        """Start the server; returns when clients can connect.

        Raises:
            NatsServerNotFound: There is no nats-server.
            NatsServerTooOld: The nats-server is older than 2.12.
            NatsPortInUse: Somebody listens on the port already.
            NatsServerNotStarted: It ended at once or was not ready in time; tells its last words.
            DataDirectoryUnusable: The data directory cannot be read or written.
        """
        binary = find_nats_server(self._environ)
        await check_version(binary)
        self.credentials = make_credentials(self._directory, self._environ)
        for stale in self._directory.path.glob("*.ports"):
            self._directory.remove(stale.name)
        lock = await self._take_child_lock()
        try:
            told_before = self._rotate_log()
            self._stopping = False
            self._process = await self._spawn(binary, lock)
        finally:
            # The child has the lock through its own descriptor now, and keeps it until it ends.
            os.close(lock)
        try:
            self._url = await self._ready(self._process, told_before)
            self._directory.write(URL_FILE, self._url + "\n")
        except BaseException:
            await self.stop()
            raise
        self._watch = asyncio.create_task(self._notice_death(self._process))

    async def stop(self) -> None:
        """Stop the server; returns when it has gone. Harmless when it does not run."""
        process, self._stopping = self._process, True
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), STOP_SECONDS)
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
        if self._watch is not None:
            await self._watch
        self._process = self._watch = None
        self._directory.remove(URL_FILE)

    async def died(self) -> NatsServerDied:
        """Wait until the server ends although nobody stopped it, and return what happened."""
        return await self._death.get()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def _take_child_lock(self) -> int:
        """Return a descriptor with the lock that a running nats-server holds here; end an orphan."""
        path = self._directory.path / CHILD_LOCK_FILE
        try:
            lock = os.open(path, os.O_RDWR | os.O_CREAT, OWNER_ONLY_FILE)
        except OSError as error:
            raise DataDirectoryUnusable(
                self._directory.path, f"{CHILD_LOCK_FILE}: {error.strerror}"
            ) from error
        loop = asyncio.get_running_loop()
        begun = loop.time()
        signals = [(ORPHAN_SECONDS / 2, signal.SIGKILL), (ORPHAN_SECONDS / 4, signal.SIGTERM)]
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                waited = loop.time() - begun
                if signals and waited > signals[-1][0]:
                    # Whoever holds the lock is the process that the file names: it got it at its birth.
                    self._signal_orphan(lock, signals.pop()[1])
                if waited > ORPHAN_SECONDS:
                    os.close(lock)
                    reason = "the nats-server of an earlier roomledger still runs on it and cannot be ended"
                    raise DataDirectoryUnusable(self._directory.path, reason) from None
                await asyncio.sleep(POLL_SECONDS)
            except BaseException:
                os.close(lock)
                raise
            else:
                return lock

    def _signal_orphan(self, lock: int, number: signal.Signals) -> None:
        pid = os.pread(lock, 32, 0).decode(errors="replace").strip()
        if pid.isdigit():
            log.warning("ending the nats-server of an earlier roomledger", pid=int(pid), signal=number.name)
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(int(pid), number)

    def _rotate_log(self) -> int:
        """Return how long the log file is before this start."""
        try:
            size = self.log.stat().st_size if self.log.exists() else 0
            if size > LOG_LIMIT:
                self.log.replace(self.log.with_suffix(".log.1"))
                size = 0
        except OSError as error:
            raise DataDirectoryUnusable(self._directory.path, f"{LOG_FILE}: {error.strerror}") from error
        return size

    def _conf(self) -> Path:
        if self._names == Names():
            return find_nats_conf()
        told = "# Written anew at each start: nats.conf with the names of this cluster.\n"
        self._directory.write(CONF_FILE, told + nats_conf(self._names))
        return self._directory.path / CONF_FILE

    async def _spawn(self, binary: Path, lock: int) -> asyncio.subprocess.Process:
        program = [
            str(binary),
            *("--config", str(self._conf())),
            *("--port", str(self._port or -1)),
            *("--ports_file_dir", str(self._directory.path)),
        ]
        if sys.platform == "linux":
            program = [sys.executable, "-I", "-S", "-c", _DIES_WITH_PARENT, str(os.getpid()), *program]
        try:
            output = os.open(self.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, OWNER_ONLY_FILE)
        except OSError as error:
            raise DataDirectoryUnusable(self._directory.path, f"{LOG_FILE}: {error.strerror}") from error
        try:
            process = await asyncio.create_subprocess_exec(
                *program,
                stdin=asyncio.subprocess.DEVNULL,
                # All it says goes to one file, also what its own log would not have: why it crashed.
                stdout=output,
                stderr=output,
                env=self._child_environment(),
                start_new_session=True,
                pass_fds=[lock],
            )
        except OSError as error:
            raise NatsServerNotStarted(str(error), self.log) from error
        finally:
            os.close(output)
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{process.pid}\n".encode(), 0)
        return process

    def _child_environment(self) -> dict[str, str]:
        own = {name: value for name, value in self._environ.items() if not name.startswith("ROOMLEDGER_")}
        if (os.cpu_count() or 1) <= FEW_CORES:
            own.setdefault(PROCESSORS_VARIABLE, "1")
        own[STORE_VARIABLE] = quoted(str(self._directory.path))
        return own | {
            password_variable(user): quoted(password) for user, password in self.credentials.items()
        }

    async def _ready(self, process: asyncio.subprocess.Process, told_before: int) -> str:
        """Return the url once clients can connect, which is when nats-server writes down its ports."""
        try:
            async with asyncio.timeout(START_SECONDS):
                while process.returncode is None:
                    for file in self._directory.path.glob(f"*_{process.pid}.ports"):
                        with contextlib.suppress(ValueError, LookupError):  # it may be half written yet
                            return str(json.loads(file.read_bytes())["nats"][0])
                    await asyncio.sleep(POLL_SECONDS)
        except TimeoutError:
            reason = f"it was not ready within {START_SECONDS:.0f} s"
            raise NatsServerNotStarted(reason, self.log) from None
        words = self.log.read_bytes()[told_before:].decode(errors="replace")
        if "address already in use" in words:
            raise NatsPortInUse(self._port)
        raise NatsServerNotStarted(last_words(words) or f"exit status {process.returncode}", self.log)

    async def _notice_death(self, process: asyncio.subprocess.Process) -> None:
        status = await process.wait()
        if not self._stopping:
            death = NatsServerDied(status, self.log)
            log.error("nats-server died", status=status, log_file=str(self.log))
            self._death.put_nowait(death)


def quoted(value: str) -> str:
    """Write a value as text for nats.conf, which would take ``4711`` for a number."""
    escapes = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"}
    return '"' + "".join(escapes.get(character, character) for character in value) + '"'


def last_words(told: str) -> str:
    """Return what a nats-server said last, a fatal line if there is one, without time and process id."""
    lines = [line for line in told.splitlines() if line.strip()]
    fatal = [line for line in lines if "[FTL]" in line] or [line for line in lines if "[ERR]" in line]
    line = (fatal or lines or [""])[-1]
    return re.sub(r"^(\[\d+\] \S+ \S+ \[[A-Z]{3}\] |nats-server: )", "", line).strip()
