"""A node as a process of its own: rooms use all cores, and a crash takes no other node's rooms along.

It has a session of its own, so that Ctrl-C at the terminal reaches the worker only, and is told by its
standard input what to be.  It must not outlive its worker: its standard input ends with the worker, and on
Linux the kernel kills it at the same moment.
"""

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
from typing import Final, Protocol

import msgspec
import structlog
from pydantic import SecretStr

from roomledger.processes.conference.node import Node
from roomledger.settings import Settings

STOP_S: Final = 5.0
"""How long a node may take to end that was asked to."""
_PROGRAM: Final = "roomledger.cli.node"
_PR_SET_PDEATHSIG: Final = 1

log = structlog.get_logger(__name__)


class RunningNode(Protocol):
    """A node that was started."""

    @property
    def pid(self) -> int | None:
        """Its process."""
        ...

    async def start(self) -> None:
        """Start it; it beats when it is ready."""
        ...

    async def stop(self) -> None:
        """End it in good order."""
        ...

    def kill(self) -> None:
        """End it at once."""
        ...

    async def ended(self) -> str:
        """Wait until it has ended, and return how."""
        ...


class NodeOrder(msgspec.Struct, frozen=True, kw_only=True):
    """What a node's process is told to be.

    Attributes:
        node: Its id.
        worker: The worker's.
        parent: The worker's process.
        settings: As they are to be.
    """

    node: str
    worker: str
    parent: int
    settings: dict[str, object]


class NodeProcess:
    """A node as a child of this process.

    Args:
        settings: The worker's; the node gets the same.
        node: Its id.
        worker: The worker's.
    """

    def __init__(self, settings: Settings, node: str, worker: str) -> None:
        self._order = NodeOrder(node=node, worker=worker, parent=os.getpid(), settings=_values(settings))
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int | None:
        """Its process."""
        return None if self._process is None else self._process.pid

    async def start(self) -> None:
        """Start it.

        Raises:
            OSError: The system cannot start another process.
        """
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            _PROGRAM,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            start_new_session=True,
        )
        assert self._process.stdin is not None  # noqa: S101  - it was asked for above
        self._process.stdin.write(msgspec.json.encode(self._order) + b"\n")

    async def stop(self) -> None:
        """Ask it to end, and see to it that it does."""
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()
        try:
            async with asyncio.timeout(STOP_S):
                await self._process.wait()
        except TimeoutError:
            log.warning("a node does not end: killing it", node=self._order.node)
            self.kill()
            await self._process.wait()

    def kill(self) -> None:
        """Kill it."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()

    async def ended(self) -> str:
        """Wait until it has ended, and return how."""
        assert self._process is not None  # noqa: S101  - one waits for what was started
        status = await self._process.wait()
        if self._process.stdin is not None:
            self._process.stdin.close()
        return f"signal {-status}" if status < 0 else f"exit status {status}"


class NodeWithin:
    """A node in this very process, for those who want it small; it ends only with its worker."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._stopped = asyncio.Event()

    @property
    def pid(self) -> int | None:
        """The process of the worker."""
        return os.getpid()

    async def start(self) -> None:
        """Start it."""
        await self._node.start()

    async def stop(self) -> None:
        """End it."""
        await self._node.stop()
        self._stopped.set()

    def kill(self) -> None:
        """Leave it: whoever could do this is the process itself."""

    async def ended(self) -> str:
        """Wait until it was stopped."""
        await self._stopped.wait()
        return "stopped"


def die_with(parent: int) -> None:
    """Have the kernel kill this process when its parent ends.

    Args:
        parent: The parent's process id, as the parent told it.

    Raises:
        SystemExit: It has ended already.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            raise SystemExit("the worker of this node has gone already")


def _values(settings: Settings) -> dict[str, object]:
    """Return the settings with their secrets, for a pipe that nobody else reads."""
    values: dict[str, object] = settings.model_dump(mode="json")
    for name in values:
        secret = getattr(settings, name)
        if isinstance(secret, SecretStr):
            values[name] = secret.get_secret_value()
    return values
