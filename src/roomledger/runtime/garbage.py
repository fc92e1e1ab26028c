"""How often Python looks for objects that only refer to each other: rarely, in a process that serves.

Nearly all that a request leaves behind goes by itself, by counted references, and what stays is the state,
which grows large and lives as long as the process.  With Python's own thresholds a tenth of a busy manager's
time goes into looking at it again and again.
"""

import gc
from typing import Final

YOUNG: Final = 50_000
"""So many new objects are looked at together: some milliseconds."""

_MIDDLE: Final = 20
_OLD: Final = 100


def collect_nothing_yet() -> None:
    """Collect nothing while a process starts: what it builds then stays.

    A snapshot of 100,000 reservations costs a third of the start otherwise.
    """
    gc.disable()


def collect_rarely() -> None:
    """Leave what is there now out of all collections, and collect what comes less often."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, _MIDDLE, _OLD)
    gc.enable()
