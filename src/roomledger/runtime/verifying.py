"""Verifying a log, and what is known from it: one pass, in which every check is a fold of its own."""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, aclosing
from datetime import datetime
from itertools import chain
from pathlib import Path
from typing import Final

import msgspec

from roomledger.domain.checking_rooms import RoomCheck
from roomledger.domain.checking_sequences import SequenceCheck
from roomledger.domain.checking_tasks import Claim, TaskCheck
from roomledger.domain.findings import Check, Finding
from roomledger.domain.purpose import PurposeSettings
from roomledger.event_store.store import ReadableLog
from roomledger.runtime.arrivals import batches
from roomledger.runtime.comparing import ComparedProjections
from roomledger.runtime.progress import Progress
from roomledger_events.envelope import Commit

KEPT: Final = 1_000
"""As many findings are kept; all are counted."""


class Report(msgspec.Struct, kw_only=True):
    """What verifying found.

    Attributes:
        sequence: The last sequence that was looked at.
        events: How many events there were.
        seconds: How long it took.
        wrong: How many findings there are.
        findings: The first of them.
        notes: What could not be looked at, and why.
        figures: What was counted on the way.
    """

    sequence: int
    events: int = 0
    seconds: float = 0.0
    wrong: int = 0
    findings: list[Finding] = []
    notes: list[str] = []
    figures: dict[str, int] = {}

    def add(self, finding: Finding) -> None:
        """Count a finding, and keep it if it is one of the first."""
        self.wrong += 1
        if len(self.findings) < KEPT:
            self.findings.append(finding)


async def verified(
    log: ReadableLog,
    settings: Callable[[str], PurposeSettings],
    *,
    directory: Path | None = None,
    claims: Sequence[Claim] = (),
    expired_before: Callable[[], datetime] | None = None,
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> Report:
    """Rebuild everything from a log and compare it with what is there; check what has to hold in it.

    Args:
        log: The log, from its beginning.
        settings: Returns what counted for a purpose where the log does not say it.
        directory: Where the live projections are, which are read and not changed; None for none.
        claims: The states of managers to compare with.
        expired_before: Tells before when what was stored may have expired by now; None where nobody knows.
        on_progress: Told after each batch.

    Raises:
        EventStoreError: The log could not be read.
        ProjectionError: A live projection could not be read.
    """
    began = time.monotonic()
    with ExitStack() as stack:
        projections = stack.enter_context(ComparedProjections())
        notes: list[str] = []
        if directory is not None:
            notes = await asyncio.to_thread(projections.open, directory)
        head = await log.position()
        last = max([head.sequence, *(claim.sequence for claim in claims)])
        report = Report(sequence=last, notes=notes)
        sequences = SequenceCheck(last, expired_before)
        checks: list[Check] = [sequences, TaskCheck(settings, claims), RoomCheck()]
        async with aclosing(batches(log.read(until=last))) as arrived:
            async for batch in arrived:
                # Side by side: SQLite lets others run while it works.
                await asyncio.gather(
                    asyncio.to_thread(_take_in, report, checks, batch),
                    asyncio.to_thread(projections.take_in, batch),
                )
                on_progress(Progress(batch[-1].sequence, last, report.events))
        for finding in chain.from_iterable(check.end() for check in checks):
            report.add(finding)
        for check in checks:
            report.figures |= check.figures()
        for finding in await asyncio.to_thread(
            lambda: list(projections.compared(head.created, sequences.expired))
        ):
            report.add(finding)
        report.figures |= projections.figures()
    report.seconds = time.monotonic() - began
    return report


def _take_in(report: Report, checks: Sequence[Check], batch: list[Commit]) -> None:
    for check in checks:
        take_in = check.take_in
        for commit in batch:
            for finding in take_in(commit):
                report.add(finding)
    report.events += sum(len(commit.events) for commit in batch)
