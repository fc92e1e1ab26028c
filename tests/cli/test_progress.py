import os
import pty
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from roomledger.cli import progress
from roomledger.event_store import file_log
from roomledger.runtime.progress import Progress
from tests.support.commits import ROOM, created, log_of
from tests.support.exported import exported


def shown_by(work: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> str:
    """Return what is shown of some work on a terminal, where everything is shown at once."""
    master, slave = pty.openpty()
    with os.fdopen(slave, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        monkeypatch.setattr(progress, "SHOWN_AFTER_S", 0)
        monkeypatch.setenv("TERM", "xterm")
        work()
        terminal.write("that was all")
        terminal.flush()
        shown = os.read(master, 10_000).decode()
    os.close(master)
    return shown


def test_long_work_shows_how_far_it_has_come_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    def work() -> None:
        with progress.progress_shown("replay") as show:
            show(Progress(sequence=5, last=10, events=7))

    shown = shown_by(work, monkeypatch)
    assert "5 of 10" in shown
    assert "events/s" in shown


def test_a_long_file_shows_how_far_it_has_been_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = exported(tmp_path / "log", log_of(*[(ROOM, created())] * 3))
    monkeypatch.setattr(file_log, "TOLD_AFTER", 2)
    shown = shown_by(lambda: progress.opened_file(path).close(), monkeypatch)
    assert "check 2 of 3" in shown
    assert "events/s" not in shown


def test_nothing_is_shown_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.progress_shown("replay") as show:
        show(Progress(sequence=5, last=10, events=7))
    assert capsys.readouterr() == ("", "")
