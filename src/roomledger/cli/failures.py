"""What ends a command with one sentence: nothing is wrong with the program."""

from typing import Final

import pydantic

from roomledger.domain.errors import Refusal, UnknownStrategy
from roomledger.event_store.errors import EventStoreError
from roomledger.runtime.errors import RuntimeFailure
from roomledger.settings import UnknownSetting, UnreadableSettings
from roomledger_projections.errors import ProjectionError

FAILURES: Final = (
    EventStoreError,
    RuntimeFailure,
    ProjectionError,
    Refusal,
    UnknownStrategy,
    OSError,
    UnknownSetting,
    UnreadableSettings,
)


def told(error: Exception) -> tuple[list[str], int | None]:
    """Return what to say of a failure, and the exit code; None where something is wrong with the program."""
    if isinstance(error, pydantic.ValidationError):
        problems = [(".".join(map(str, problem["loc"])), problem["msg"]) for problem in error.errors()]
        return [f"setting {place}: {message}" for place, message in problems], 2
    if isinstance(error, OSError) and error.strerror:
        reason = error.strerror[0].lower() + error.strerror[1:]
        return [reason if error.filename is None else f"{error.filename}: {reason}"], 1
    return ([str(error)], 1) if isinstance(error, FAILURES) else ([], None)
