"""What recorded logs lead to: for the test that compares; ``python -m tests.support.histories`` writes it.

Write it anew only where a later version is meant to show something else, and read the difference before you
commit.
"""

import asyncio
import json
from pathlib import Path
from typing import Any

import msgspec

from roomledger.domain.purpose import PurposeSettings
from roomledger.domain.scheduler import SCHEDULER
from roomledger.domain.scheduler_snapshot import freeze
from roomledger.domain.scheduler_state import SchedulerState
from roomledger.event_store.file_log import FileLog
from roomledger.runtime.explaining import explained
from roomledger.runtime.rebuilding import rebuilt
from roomledger_events.subjects import Kind
from roomledger_events.tasks import SchedulingRefused, WorkerReserved
from roomledger_projections import PROJECTIONS
from roomledger_projections.projection_file import ProjectionFile

FOLDER = Path(__file__).parents[1] / "histories"
LOGS = sorted(FOLDER.glob("*.jsonl"))


def expected_path(log: Path) -> Path:
    """Return the file that says what a log leads to."""
    return log.with_suffix(".expected.json")


async def led_to(path: Path) -> dict[str, Any]:
    """Return all that a recorded log leads to, as JSON values."""
    log = FileLog.open(path)
    try:
        with await rebuilt(log) as state:
            found = {"state": state.as_json(), "unreadable": state.unreadable}
        return msgspec.to_builtins(
            found
            | {
                "schedulers": await _folded(log),
                "explained": await _explained(log),
                "projections": await _projected(log),
            }
        )
    finally:
        log.close()


async def _folded(log: FileLog) -> dict[str, Any]:
    states: dict[str, SchedulerState] = {}
    async for commit in log.read():
        kind, purpose = commit.boundary
        if kind in {Kind.SCHEDULER, Kind.LOAD}:
            decider = SCHEDULER(PurposeSettings.default(purpose))
            for event in commit.events:
                states[purpose] = decider.evolve(states.get(purpose) or decider.initial(), event)
    return {purpose: freeze(state) for purpose, state in states.items()}


async def _explained(log: FileLog) -> list[dict[str, Any]]:
    decided = [
        (commit.sequence, commit.boundary.name, event.data.task)
        async for commit in log.read()
        for event in commit.events
        if isinstance(event.data, WorkerReserved | SchedulingRefused)
    ]
    found = []
    for sequence, purpose, task in decided:
        told = await explained(log, PurposeSettings.default(purpose), task, until=sequence)
        found.append({
            "sequence": sequence, "purpose": purpose, "task": task, "worker": told.worker,
            "reason": told.reason, "agrees": told.agrees,
        })  # fmt: skip  # two lines
    return found


async def _projected(log: FileLog) -> dict[str, Any]:
    commits = [commit async for commit in log.read()]
    found: dict[str, Any] = {}
    for projection in PROJECTIONS:
        file = ProjectionFile(projection)
        file.take_in(commits, log.header.created)
        found[projection.name] = {table: file.ask(_rows, table) for table in (*projection.tables, "held")}
        file.close()
    return found


def _rows(db: Any, table: str) -> list[str]:  # noqa: ANN401  - a connection
    """Return the rows of a table, each as a line of JSON, in an order of their own."""
    return sorted(json.dumps(row) for row in db.execute(f'SELECT * FROM "{table}"'))  # noqa: S608  - our own name


def main() -> None:
    """Write what each recorded log leads to."""
    for log in LOGS:
        told = asyncio.run(led_to(log))
        expected_path(log).write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
