"""How loaded a worker is: ready-made measures for those who have no better one of their own.

A load is a share, 0 to 1. Both measures are of the whole machine, or of what its kernel shows of it: in a
container with limits of its own a function that knows these says more.
"""

import os
import time
from collections.abc import Callable
from typing import Final

import psutil

MEASURED_S: Final = 0.1
"""A span that is shorter than this says nothing about the processors."""


def cpu() -> Callable[[], float]:
    """Return a measure of how busy the processors were since it was asked last."""
    psutil.cpu_percent(interval=None)  # where the first span begins
    begun = time.monotonic()
    busy = min(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))

    def measure() -> float:
        nonlocal begun, busy
        now = time.monotonic()
        if now - begun >= MEASURED_S:
            begun, busy = now, psutil.cpu_percent(interval=None) / 100
        return busy

    return measure


def memory() -> Callable[[], float]:
    """Return a measure of how much of the memory is in use."""
    return lambda: psutil.virtual_memory().percent / 100
