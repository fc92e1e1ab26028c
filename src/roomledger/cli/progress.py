"""How far a long piece of work has come, for people at a terminal."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from roomledger.event_store.file_log import FileLog
from roomledger.runtime import progress as how_far

SHOWN_AFTER_S: Final = 1.0
"""Whatever takes longer than this shows how far it has come."""


@contextmanager
def progress_shown(what: str) -> Iterator[Callable[[how_far.Progress], None]]:
    """Show a bar with events/s and the time left, on a terminal, when it takes long enough to ask oneself.

    Args:
        what: The work, in a word.
    """
    bar = Progress(
        TextColumn("{task.description}"),
        TextColumn("{task.completed:,.0f} of {task.total:,.0f}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[speed]}"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    begun = time.monotonic()
    task = bar.add_task(what, total=None, speed="")
    with ExitStack() as stack:

        def show(progress: how_far.Progress) -> None:
            passed = time.monotonic() - begun
            if passed < SHOWN_AFTER_S or not sys.stderr.isatty():
                return
            speed = f"{progress.events / passed:,.0f} events/s" if progress.events else ""
            bar.update(task, completed=progress.sequence, total=progress.last, speed=speed)
            if not bar.live.is_started:
                stack.enter_context(bar)

        yield show


def opened_file(path: Path) -> FileLog:
    """Open an exported log; a long one shows how far it has been looked at.

    Raises:
        ExportUnusable: It cannot be used.
        OSError: It cannot be read.
    """
    with progress_shown("check") as on_progress:
        return FileLog.open(path, lambda at, last: on_progress(how_far.Progress(at, last, 0)))
