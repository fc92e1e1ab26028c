"""How much a client may ask of its portal: so many messages a second, and some more at once."""

BURST_S = 2.0
"""As many messages may come at once as are allowed in so many seconds."""


class Allowance:
    """What one client has left.

    Args:
        rate: Messages a second.
        now: Seconds on a monotonic clock.
    """

    __slots__ = ("_left", "_rate", "_seen")

    def __init__(self, rate: float, now: float) -> None:
        self._rate = rate
        self._left = rate * BURST_S
        self._seen = now

    def take(self, now: float) -> int | None:
        """Take one message; return None if it is allowed, or else in how many milliseconds one will be."""
        self._left = min(self._rate * BURST_S, self._left + (now - self._seen) * self._rate)
        self._seen = now
        if self._left < 1:
            return 1 + int((1 - self._left) / self._rate * 1000)
        self._left -= 1
        return None
