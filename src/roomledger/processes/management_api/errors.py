"""What can go wrong at the management API.

ManagementApiFailure (RuntimeFailure)
├── ApiPortInUse        somebody listens there already
└── ApiNotListening     the address cannot be bound for another reason
Problem                 a request gets this answer instead of what it asked for (RFC 9457)

What other packages raise becomes a `Problem` in `problems`.
"""

from http import HTTPStatus
from typing import Final

from roomledger.runtime.errors import RuntimeFailure

RETRY_S: Final = 1
"""What a client is told to wait where nothing better is known, in seconds."""


class ManagementApiFailure(RuntimeFailure):
    """What all errors have in common that keep the management API from running.

    Attributes:
        host: Where it was to listen.
        port: On which port.
    """

    def __init__(self, host: str, port: int, reason: str = "") -> None:
        self.host = host
        self.port = port
        self.reason = reason
        super().__init__(host, port, reason)


class ApiPortInUse(ManagementApiFailure):
    """Somebody listens already where the management API should."""

    def __str__(self) -> str:
        return (
            f"port {self.port} of {self.host} is in use, and the management API needs it: stop what listens"
            " there, or choose another with ROOMLEDGER_API_PORT (0 takes any free one)"
        )


class ApiNotListening(ManagementApiFailure):
    """The address cannot be bound."""

    def __str__(self) -> str:
        return f"the management API cannot listen on {self.host} port {self.port}: {self.reason}"


class Problem(Exception):
    """A request's answer that is not what it asked for.

    Attributes:
        status: The HTTP status.
        code: Which case it is; callers tell the cases apart by it.
        detail: What is wrong, for people.
        headers: What goes with it.
    """

    def __init__(
        self, status: HTTPStatus, code: str, detail: str, *, headers: dict[str, str] | None = None
    ) -> None:
        self.status = status
        self.code = code
        self.detail = detail
        self.headers = headers or {}
        super().__init__(status, code, detail)

    def __str__(self) -> str:
        return self.detail

    @classmethod
    def retryable(cls, code: str, detail: str, *, after_ms: int | None = None) -> "Problem":
        """Return one that goes away by itself (503), with how long to wait."""
        seconds = RETRY_S if after_ms is None else max(1, -(-after_ms // 1000))
        return cls(HTTPStatus.SERVICE_UNAVAILABLE, code, detail, headers={"Retry-After": str(seconds)})
