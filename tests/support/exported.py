"""Exported logs, for tests of what reads them."""

from collections.abc import Iterable
from pathlib import Path
from typing import IO

from roomledger.event_store.export_format import FORMAT, ExportWriter, Header
from roomledger_events.envelope import Commit, encode
from tests.support.commits import CREATED


def header_of(last: int, *, rooms: tuple[str, ...] = (), first: int = 1, version: int = FORMAT) -> Header:
    """Return the header of an export of a log that ends there."""
    return Header(
        roomledger_export=version,
        program="tests",
        log="ROOMLEDGER",
        created=CREATED,
        head=last,
        first=first,
        last=last,
        rooms=rooms,
    )


def exported(path: Path, commits: Iterable[Commit], header: Header | None = None) -> Path:
    """Write commits as an exported log to a file and return its path."""
    with path.open("wb") as file:
        exported_into(file, commits, header)
    return path


def exported_into(file: IO[bytes], commits: Iterable[Commit], header: Header | None = None) -> None:
    """Write commits as an exported log."""
    told = list(commits)
    writer = ExportWriter(file, header or header_of(told[-1].sequence if told else 0))
    for commit in told:
        writer.add(commit, encode(commit.events))
    writer.end()
