"""The command ``explain``: why a task went to its worker or was refused, and where a token led."""

import asyncio
from collections.abc import Sequence
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from roomledger.cli.live import AsJson
from roomledger.cli.log_source import DataDir, LogFile, LogSource, Nats, check_begins, log_source, opened
from roomledger.cli.progress import progress_shown
from roomledger.domain.explanation import CandidateView, Explanation
from roomledger.domain.findings import Finding
from roomledger.runtime.explaining import all_explained, explained
from roomledger.runtime.purposes import settings_of
from roomledger.runtime.token_explaining import (
    CONFERENCE,
    PORTAL,
    Outcome,
    TokenExplanation,
    token_explained,
)
from roomledger_events.envelope import to_json
from roomledger_events.tasks import Preference

explain = typer.Typer(help="Say why a decision fell.", no_args_is_help=True)


@explain.callback()
def group() -> None:
    """Say why a decision fell."""


@explain.command("task")
def task(
    purpose: Annotated[str, typer.Argument(help="The task's purpose, such as portal.")],
    task_id: Annotated[str, typer.Argument(metavar="TASK", help="Its id.")],
    *,
    every: Annotated[
        bool, typer.Option("--all", help="Every decision on it, not only the last one.")
    ] = False,
    at: Annotated[
        int | None, typer.Option(metavar="SEQ", min=1, help="The last decision up to this sequence.")
    ] = None,
    as_json: AsJson = False,
    nats: Nats = None,
    data_dir: DataDir = None,
    log_file: LogFile = None,
) -> None:
    """Say why a task went to its worker, or was refused: every worker with the rule that decided.

    The exit code is 1 where the log says something else than the rules lead to, or what cannot be.
    """
    source = log_source(nats, data_dir, log_file)
    found = asyncio.run(_of_task(source, purpose, task_id, at, every=every))
    if as_json:
        typer.echo(to_json(found if every else found[-1]))
    else:
        for explanation in found:
            _show(explanation)
        _show_wrong(found[-1].findings)
    _end(found, found[-1].findings)


@explain.command("token")
def token(
    token_id: Annotated[str, typer.Argument(metavar="TOKEN", help="Its id.")],
    *,
    as_json: AsJson = False,
    nats: Nats = None,
    data_dir: DataDir = None,
    log_file: LogFile = None,
) -> None:
    """Say where a token led: its portal, its room's worker, and who joined with it or was refused.

    The exit code is 1 where the log says something else than the rules lead to, or what cannot be.
    """
    found = asyncio.run(_of_token(log_source(nats, data_dir, log_file), token_id))
    if as_json:
        typer.echo(to_json(found))
    else:
        _show_token(found)
    _end(found.decisions, found.wrong)


def _end(found: Sequence[Explanation], wrong: Sequence[Finding]) -> None:
    if wrong or any(each.agrees is False for each in found):
        raise typer.Exit(1)


async def _of_task(
    source: LogSource, purpose: str, task_id: str, at: int | None, *, every: bool
) -> Sequence[Explanation]:
    configured = settings_of(source.settings, purpose)
    async with opened(source, name="roomledger explain") as log:
        check_begins(log)
        with progress_shown("explain") as on_progress:
            if every:
                return await all_explained(log, configured, task_id, until=at, on_progress=on_progress)
            return [await explained(log, configured, task_id, until=at, on_progress=on_progress)]


async def _of_token(source: LogSource, token_id: str) -> TokenExplanation:
    configured = source.settings
    portals, conferences = settings_of(configured, PORTAL), settings_of(configured, CONFERENCE)
    async with opened(source, name="roomledger explain") as log:
        check_begins(log)
        with progress_shown("explain") as on_progress:
            return await token_explained(log, portals, conferences, token_id, on_progress=on_progress)


def _show_token(found: TokenExplanation) -> None:
    console = Console()
    issued = found.issued
    console.print(
        f"token [bold]{issued.token}[/] for {issued.user!r} as {issued.role} in the room {issued.room},"
        f" issued in commit {found.sequence}, good until {issued.expires_at:%F %T}Z"
    )
    for explanation in found.decisions:
        _show(explanation)
    for outcome in found.outcomes:
        console.print(_told(outcome))
    if not found.outcomes:
        console.print("nobody has joined with it")
    _show_wrong(found.wrong)


def _show_wrong(findings: Sequence[Finding]) -> None:
    if not findings:
        return
    console = Console()
    console.print("[bold red]THE LOG SAYS WHAT CANNOT BE:[/]")
    for each in findings:
        console.print(Text(f"  {each.sequence}.{each.place} {each.about}: {each.message}", style="red"))


def _told(outcome: Outcome) -> str:
    who = f"{outcome.participant} " if outcome.participant else ""
    why = f": {outcome.reason}" if outcome.reason else ""
    node = f", decided by the node {outcome.node}" if outcome.node else ""
    return f"{who}{outcome.what}{why} at {outcome.time:%F %T}Z, in commit {outcome.sequence}{node}"


def _show(explanation: Explanation) -> None:
    console = Console()
    went = "went to" if explanation.worker else "was refused:"
    outcome = explanation.worker or explanation.reason
    console.print(f"[bold]{explanation.task}[/] of {explanation.purpose} {went} [bold]{outcome}[/]")
    console.print(
        f"at {explanation.time:%F %T}Z, in commit {explanation.sequence}.{explanation.place}, by"
        f" [bold]{explanation.strategy}[/] on what the log held up to {explanation.basis}; decided by"
        f" {explanation.manager or 'an unknown manager'}, wanted by {explanation.actor}"
    )
    wish = _wish(explanation.preference)
    console.print(f"wished for: {wish or 'nothing'}; task_load {explanation.settings.task_load}")
    if explanation.picked_last is not None:
        console.print(f"picked last for such a wish: {explanation.picked_last}")
    if explanation.draw is not None:
        console.print(f"draw: {explanation.draw}")
    shown = Table(
        "rank", "worker", "available", "hard", "soft", "load", "reserved", "effective", "refused by"
    )
    in_turns = any(each.turn is not None for each in explanation.candidates)
    if in_turns:
        shown.add_column("turn")
    for each in sorted(explanation.candidates, key=_by_rank):
        turn = [] if not in_turns else ["" if each.turn is None else f"{each.turn:,}"]
        style = "bold" if each.worker == explanation.worker else None
        shown.add_row(*_cells(each), *turn, style=style)
    console.print(shown)
    _verdict(console, explanation)


def _verdict(console: Console, explanation: Explanation) -> None:
    if explanation.missing_reports:
        console.print(
            f"[yellow]The load reports of {explanation.missing_reports} workers have expired:[/] what"
            " counted is known from the decision's own figures only (in brackets), and the choice cannot be"
            " made again."
        )
    if explanation.agrees is False:
        console.print(
            f"[bold red]THE RECORD IS NOT WHAT THE RULES LEAD TO.[/] They choose"
            f" [bold]{explanation.computed or explanation.computed_reason or 'nobody'}[/], the log says"
            f" [bold]{explanation.worker or explanation.reason}[/]:"
        )
        for difference in explanation.differences:
            console.print(Text(f"  {difference}", style="red"))
    elif explanation.agrees:
        console.print("[green]The same rules on the same state lead to the same.[/]")


def _by_rank(view: CandidateView) -> tuple[bool, int, bool]:
    return view.rank is None, view.rank or 0, not view.matched


def _cells(view: CandidateView) -> list[str]:
    load = "not reported" if view.load is None else f"{view.load:.3f}"
    effective = "" if view.effective_load is None else f"{view.effective_load:.3f}"
    if view.refused_by == "unknown" or (view.load is None and view.recorded_load is not None):
        load = "expired"
        effective = "" if view.recorded_load is None else f"({view.recorded_load:.3f})"
    return [
        "" if view.rank is None else str(view.rank),
        view.worker,
        _yes(view.available),
        _yes(view.hard),
        _yes(view.soft),
        load,
        str(view.reservations),
        f"{effective} of {view.max_load:g}" if effective else "",
        view.refused_by or "",
    ]


def _yes(value: bool | None) -> str:  # noqa: FBT001  - what is to be shown
    return "" if value is None else "yes" if value else "no"


def _wish(preference: Preference) -> str:
    return to_json(preference).strip("{}").replace('"', "")
