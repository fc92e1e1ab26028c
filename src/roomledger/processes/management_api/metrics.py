"""Figures of this process for Prometheus; what each means stands in docs/metrics.md."""

from collections.abc import Callable
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

disable_created_metrics()  # type: ignore[no-untyped-call]  # a series for each other series, which nobody asks for

MEDIA_TYPE: Final = CONTENT_TYPE_LATEST
BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of the histogram of durations, in seconds."""
NO_PATH: Final = "(none)"
"""What stands for the path of a request that no path of the API is for."""


class Metrics:
    """The figures of one management API.

    Args:
        position: The sequence of the log up to which the projections know it.
    """

    def __init__(self, position: Callable[[], int]) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "roomledger_api_requests",
            "Requests that were answered.",
            ("method", "path", "status"),
            registry=self.registry,
        )
        self._seconds = Histogram(
            "roomledger_api_request_seconds",
            "How long requests took to be answered.",
            ("method", "path"),
            buckets=BUCKETS,
            registry=self.registry,
        )
        self._under_way = Gauge(
            "roomledger_api_requests_under_way",
            "Requests that wait for their answer.",
            registry=self.registry,
        )
        known = Gauge(
            "roomledger_api_known_sequence",
            "The sequence of the log up to which this process knows it.",
            registry=self.registry,
        )
        known.set_function(lambda: max(0, position()))
        ProcessCollector(registry=self.registry)
        # Finding a child by its labels costs more than counting with it.
        self._counts: dict[tuple[str, str, int], Counter] = {}
        self._durations: dict[tuple[str, str], Histogram] = {}

    def begin(self) -> None:
        """Count a request that has come in."""
        self._under_way.inc()

    def end(self, method: str, path: str, status: int, seconds: float) -> None:
        """Count a request that was answered, or that ended without."""
        self._under_way.dec()
        count = self._counts.get((method, path, status))
        if count is None:
            count = self._counts[method, path, status] = self._requests.labels(method, path, str(status))
        count.inc()
        duration = self._durations.get((method, path))
        if duration is None:
            duration = self._durations[method, path] = self._seconds.labels(method, path)
        duration.observe(seconds)

    def text(self) -> bytes:
        """Return all figures as Prometheus reads them."""
        return generate_latest(self.registry)
