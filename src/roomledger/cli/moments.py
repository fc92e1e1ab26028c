"""Moments as they are written on the command line: a sequence of the log, or a time with its zone."""

import re
from datetime import datetime

import typer


def moment_of(text: str, option: str = "--at") -> int | datetime:
    """Read a sequence or a time.

    Args:
        text: What was written.
        option: Where; it is named if that was wrong.

    Raises:
        typer.BadParameter: It is neither, or a time without zone.
    """
    if re.fullmatch(r"[0-9]{1,19}", text):
        return int(text)
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        message = f"{text[:40]!r} is neither a sequence nor a time such as 2026-01-31T12:00:00Z"
        raise typer.BadParameter(message, param_hint=option) from None
    if found.tzinfo is None:
        message = f"{text!r} has no time zone: add Z for UTC, or an offset such as +02:00"
        raise typer.BadParameter(message, param_hint=option)
    return found


def order_of(first: int | datetime | None, second: int | datetime | None, options: str) -> None:
    """Make sure that two moments are given in their order, as far as that can be told without the log.

    Raises:
        typer.BadParameter: The second is before the first.
    """
    numbers = isinstance(first, int) and isinstance(second, int) and second < first
    times = isinstance(first, datetime) and isinstance(second, datetime) and second < first
    if numbers or times:
        raise typer.BadParameter("the second moment is before the first", param_hint=options)
