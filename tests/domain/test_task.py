"""What a task is doing."""

import pytest

from roomledger.domain.task import Phase, Task
from tests.support.deciders import START


@pytest.mark.parametrize(
    ("phase", "running"), [(Phase.RESERVED, False), (Phase.RUNNING, True), (Phase.LAID_DOWN, False)]
)
def test_only_a_running_task_runs(phase: Phase, running: bool) -> None:  # noqa: FBT001  - a parameter
    assert Task("t1", "w1", phase, 1_000, START, "token-1").running is running
