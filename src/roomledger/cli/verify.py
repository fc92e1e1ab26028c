"""The command ``verify``: whether the log holds together, and what is known from it is what it says."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import partial

import typer
from nats.aio.client import Client
from rich.console import Console
from rich.table import Table
from rich.text import Text

from roomledger.cli.live import AsJson
from roomledger.cli.log_source import DataDir, LogFile, LogSource, Nats, check_begins, log_source, opened
from roomledger.cli.progress import progress_shown
from roomledger.domain.checking_tasks import Claim
from roomledger.domain.errors import Refusal
from roomledger.domain.findings import Finding
from roomledger.domain.scheduler_digest import digest
from roomledger.event_store.store import EventStore
from roomledger.processes.cluster_manager.snapshots import Snapshots
from roomledger.runtime.access import AUDIT, layout, open_access
from roomledger.runtime.garbage import collect_rarely
from roomledger.runtime.projector import FOLDER
from roomledger.runtime.purposes import settings_of
from roomledger.runtime.verifying import Report, verified
from roomledger.sdk.cluster import Cluster
from roomledger.settings import Settings
from roomledger_events.envelope import to_json

CLOCKS_DIFFER = timedelta(seconds=5)
"""By so much the server's clock may differ from this one."""
SHOWN = 50
"""As many findings are for people; programs get more."""


def verify(
    *,
    as_json: AsJson = False,
    nats: Nats = None,
    data_dir: DataDir = None,
    log_file: LogFile = None,
) -> None:
    """Rebuild everything from the log and compare it with what is live; check what has to hold in the log.

    The exit code is 1 if anything is wrong.
    """
    collect_rarely()
    report = asyncio.run(_report(log_source(nats, data_dir, log_file)))
    if as_json:
        typer.echo(to_json(report))
    else:
        _show(report)
    if report.wrong:
        raise typer.Exit(1)


async def _report(source: LogSource) -> Report:
    configured = source.settings
    settings = partial(settings_of, configured)
    with progress_shown("verify") as on_progress:
        if source.file is not None:
            async with opened(source, name="roomledger verify") as log:
                check_begins(log, whole=True)
                return await verified(log, settings, on_progress=on_progress)
        access = await open_access(configured, name="roomledger verify")
        try:
            claims, notes = await _claims(configured, access.broker, access.store)
            kept = layout(configured)
            lives = timedelta(seconds=min(kept.ttls.values())) - CLOCKS_DIFFER
            report = await verified(
                access.store,
                settings,
                directory=configured.data_dir / FOLDER,
                claims=claims,
                expired_before=lambda: datetime.now(UTC) - lives,
                on_progress=on_progress,
            )
        finally:
            await access.close()
    report.notes[:0] = notes
    return report


async def _claims(configured: Settings, broker: Client, store: EventStore) -> tuple[list[Claim], list[str]]:
    """Return what the active manager and the snapshot say, and why one of them says nothing."""
    if configured.nats_user == AUDIT:
        return [], ["the managers' state is not compared: the auditor may not ask them"]
    notes = []
    claims = []
    try:
        answer = await Cluster(broker, actor="verify").digest()
    except Refusal as refusal:
        notes.append(f"the active manager's state is not compared: {refusal}")
    else:
        for purpose, told in answer.purposes.items():
            claims.append(Claim(f"the manager {answer.manager}", purpose, told.sequence, told.digest))
    bucket = f"{configured.log_name}_SNAPSHOTS"
    kept = await Snapshots(broker, store, bucket=bucket, replicas=configured.log_replicas).kept()
    if not kept:
        notes.append("there is no snapshot to compare")
    for purpose, taken in kept.items():
        claims.append(Claim("the snapshot", purpose, taken.basis, digest(taken.state)))
    return claims, notes


def _show(report: Report) -> None:
    console = Console()
    speed = report.events / report.seconds if report.seconds else 0
    console.print(
        f"{report.events:,} events up to sequence {report.sequence:,} in {report.seconds:.1f} s"
        f" ({speed:,.0f} events/s)"
    )
    console.print(", ".join(f"{count:,} {what}" for what, count in report.figures.items()))
    for note in report.notes:
        console.print(Text(note, style="yellow"))
    if not report.wrong:
        console.print("[bold green]Nothing is wrong.[/]")
        return
    console.print(f"[bold red]{report.wrong:,} findings[/]")
    console.print(_table(report.findings[:SHOWN]))
    if report.wrong > SHOWN:
        console.print(f"and {report.wrong - SHOWN:,} more; `--json` has the first {len(report.findings):,}")


def _table(findings: Sequence[Finding]) -> Table:
    table = Table("check", "at", "about", "what is wrong")
    for each in findings:
        at = f"{each.sequence}.{each.place}" if each.sequence else ""
        table.add_row(each.check, at, Text(each.about), Text(each.message))
    return table
