"""Reading what an older version wrote.

When the data of an event changes its shape, its class gets the next ``dataversion`` and an upcaster is
registered for the version before: a function from the old data to the next version's, as plain JSON values.
Upcasters are chained, so each knows one step only.  What is in the log is never rewritten.
"""

from collections.abc import Callable
from typing import Any, Final

Upcaster = Callable[[dict[str, Any]], dict[str, Any]]


def _drain_deadline_reached_1(data: dict[str, Any]) -> dict[str, Any]:
    return {"worker": data["worker"], "tasks_left": data["tasks"]}


UPCASTERS: Final[dict[tuple[str, int], Upcaster]] = {
    ("WorkerDrainDeadlineReached", 1): _drain_deadline_reached_1,
}
"""(type, version) → the step from that version to the next one. Each has a recorded log that needs it."""


def upcast(event_type: str, version: int, current: int, data: dict[str, Any]) -> dict[str, Any]:
    """Return the data as the current version has it.

    Raises:
        LookupError: There is no step from one of the versions in between.
    """
    for step in range(version, current):
        upcaster = UPCASTERS.get((event_type, step))
        if upcaster is None:
            raise LookupError(f"{event_type} version {step} has no upcaster")
        data = upcaster(data)
    return data
