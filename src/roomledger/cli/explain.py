"""The command ``explain``: why a task went to its worker, or was refused."""

import asyncio
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from roomledger import settings
from roomledger.cli.live import AsJson, DataDir, Nats
from roomledger.domain.explanation import Explanation
from roomledger.domain.purpose import PurposeSettings
from roomledger.runtime.access import open_access
from roomledger.runtime.explaining import explained
from roomledger.runtime.purposes import settings_of
from roomledger.settings import Settings
from roomledger_events.envelope import to_json

explain = typer.Typer(help="Say why a decision fell.", no_args_is_help=True)


@explain.callback()
def group() -> None:
    """Say why a decision fell."""


@explain.command("task")
def task(
    purpose: Annotated[str, typer.Argument(help="The task's purpose, such as portal.")],
    task_id: Annotated[str, typer.Argument(metavar="TASK", help="Its id.")],
    *,
    as_json: AsJson = False,
    nats: Nats = None,
    data_dir: DataDir = None,
) -> None:
    """Say why a task went to its worker, or was refused: every worker with the rule that decided."""
    configured = settings.load(nats_url=nats, data_dir=data_dir)
    explanation = asyncio.run(_explained(configured, settings_of(configured, purpose), task_id))
    if as_json:
        typer.echo(to_json(explanation))
    else:
        _show(explanation)


async def _explained(configured: Settings, purpose: PurposeSettings, task_id: str) -> Explanation:
    access = await open_access(configured, name="roomledger explain")
    try:
        return await explained(access.store, purpose, task_id)
    finally:
        await access.close()


def _show(explanation: Explanation) -> None:
    console = Console()
    outcome = explanation.worker or f"nobody: {explanation.reason}"
    console.print(f"[bold]{explanation.task}[/] of {explanation.purpose} went to [bold]{outcome}[/]")
    console.print(
        f"at {explanation.time:%F %T}Z, in commit {explanation.sequence}, by [bold]{explanation.strategy}[/]"
        f" on what the log held up to {explanation.basis}"
    )
    if not explanation.agrees:
        console.print(
            f"[bold red]The same rules choose {explanation.computed or 'nobody'} now:[/] the settings have"
            " changed since, or the record is not what was decided."
        )
    shown = Table("rank", "worker", "load", "reservations on top", "effective load", "refused by")
    for each in sorted(explanation.candidates, key=lambda each: (each.rank or 99, not each.matched)):
        shown.add_row(
            "" if each.rank is None else str(each.rank),
            each.worker,
            "not reported" if each.load is None else f"{each.load:.3f}",
            str(each.reservations),
            "" if each.effective_load is None else f"{each.effective_load:.3f}",
            each.refused_by or "",
        )
    console.print(shown)
