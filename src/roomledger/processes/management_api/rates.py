"""How many requests a service may make: counted here, in windows of the time that the setting names."""

import time
from http import HTTPStatus

from limits import parse
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import FixedWindowRateLimiter

from roomledger.processes.management_api.errors import Problem


class Rates:
    """Counts the requests of services.

    Args:
        rate: How many in what time, such as ``100/second``.
    """

    def __init__(self, rate: str) -> None:
        self._rate = parse(rate)
        self._limiter = FixedWindowRateLimiter(MemoryStorage())

    async def count(self, service: str) -> None:
        """Count a request.

        Raises:
            Problem: It is one too many (429).
        """
        if await self._limiter.hit(self._rate, service):
            return
        window = await self._limiter.get_window_stats(self._rate, service)
        seconds = max(1, round(window.reset_time - time.time() + 0.5))
        raise Problem(
            HTTPStatus.TOO_MANY_REQUESTS,
            "rate_limited",
            f"at most {self._rate} for a service",
            headers={"Retry-After": str(seconds)},
        )
