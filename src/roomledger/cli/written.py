"""Files that a command writes for people: none is written over without being told to."""

from pathlib import Path
from typing import Annotated

import typer

Force = Annotated[bool, typer.Option("--force", help="Write over a file that is there.")]


def check_writable(path: Path, option: str, *, force: bool) -> None:
    """Make sure, before long work begins, that its outcome can be written.

    Args:
        path: Where to.
        option: What named the file, such as ``--html``.
        force: Whether a file that is there may be replaced.

    Raises:
        typer.BadParameter: There is such a file, or no directory for it.
    """
    if path.is_dir():
        raise typer.BadParameter(f"{path} is a directory", param_hint=option)
    if path.exists() and not force:
        raise typer.BadParameter(f"{path} is there already: --force writes over it", param_hint=option)
    if not path.parent.is_dir():
        raise typer.BadParameter(f"there is no directory {path.parent}", param_hint=option)


def write(path: Path, text: str, *, force: bool) -> None:
    """Write a file.

    Raises:
        OSError: It cannot be written, or came to be there meanwhile.
    """
    with path.open("w" if force else "x", encoding="utf-8") as file:
        file.write(text)
