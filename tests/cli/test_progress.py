import os
import pty
import sys

import pytest

from roomledger.cli import progress
from roomledger.runtime.progress import Progress


def test_long_work_shows_how_far_it_has_come_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    master, slave = pty.openpty()
    with os.fdopen(slave, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        monkeypatch.setattr(progress, "SHOWN_AFTER_S", 0)
        monkeypatch.setenv("TERM", "xterm")
        with progress.progress_shown("replay") as show:
            show(Progress(sequence=5, last=10, events=7))
        terminal.flush()
        shown = os.read(master, 10_000).decode()
    os.close(master)
    assert "5 of 10" in shown
    assert "events/s" in shown


def test_nothing_is_shown_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.progress_shown("replay") as show:
        show(Progress(sequence=5, last=10, events=7))
    assert capsys.readouterr() == ("", "")
