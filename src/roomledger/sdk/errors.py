"""What can go wrong for those who use the cluster from outside.

ManagementFailure (RuntimeFailure)
├── NoServiceKey        there is no key to call the management API with
├── ApiUnreachable      nothing answers there as the management API does
└── ApiRefused          the management API answered with a problem
PortalFailure (RuntimeFailure)
├── PortalUnreachable   nothing answers there as a portal does
├── RequestRefused      the portal refused a login or another request
├── NoAnswer            the portal did not answer in time
├── ConnectionEnded     the connection to the portal is over, and it was not the client who ended it
├── ReturnRefused       the connection was lost, and no portal gives the session back
└── ReturnFailed        the connection was lost, and no portal could be reached in time
"""

from pathlib import Path

from roomledger.runtime.errors import RuntimeFailure


class ManagementFailure(RuntimeFailure):
    """What all errors of a management API's caller have in common."""


class NoServiceKey(ManagementFailure):
    """There is no key to call the management API with.

    Attributes:
        looked: The file in which it was looked for.
    """

    def __init__(self, looked: Path) -> None:
        self.looked = looked
        super().__init__(looked)

    def __str__(self) -> str:
        return (
            f"no service key is known: there is none in {self.looked}, which `roomledger serve` writes;"
            " name one by ROOMLEDGER_SERVICE_KEY or --key"
        )


class ApiUnreachable(ManagementFailure):
    """Nothing answers there as the management API does.

    Attributes:
        url: Where.
        reason: What went wrong.
    """

    def __init__(self, url: str, reason: str) -> None:
        self.url = url
        self.reason = reason
        super().__init__(url, reason)

    def __str__(self) -> str:
        return f"no management API answers at {self.url} ({self.reason}); is `roomledger serve` running?"


class ApiRefused(ManagementFailure):
    """The management API answered with a problem.

    Attributes:
        status: The HTTP status.
        code: Which case it is.
        detail: What is wrong, for people.
    """

    def __init__(self, status: int, code: str, detail: str) -> None:
        self.status = status
        self.code = code
        self.detail = detail
        super().__init__(status, code, detail)

    def __str__(self) -> str:
        return f"the management API refused it: {self.detail} ({self.status} {self.code})"


class PortalFailure(RuntimeFailure):
    """What all errors of a portal's client have in common."""


class PortalUnreachable(PortalFailure):
    """Nothing answers there as a portal does.

    Attributes:
        url: Where.
        reason: What went wrong.
    """

    def __init__(self, url: str, reason: str) -> None:
        self.url = url
        self.reason = reason
        super().__init__(url, reason)

    def __str__(self) -> str:
        return f"no portal answers at {self.url} ({self.reason})"


class RequestRefused(PortalFailure):
    """The portal refused a request.

    Attributes:
        method: What was asked for.
        code: Which case it is: a word of the wire protocol, or a number of JSON-RPC's.
        reason: What is wrong, for people.
        retry_after_ms: When to ask again, where waiting may help.
    """

    def __init__(self, method: str, code: str, reason: str, retry_after_ms: int | None = None) -> None:
        self.method = method
        self.code = code
        self.reason = reason
        self.retry_after_ms = retry_after_ms
        super().__init__(method, code, reason, retry_after_ms)

    def __str__(self) -> str:
        later = "" if self.retry_after_ms is None else "; try again in a moment"
        return f"the portal refused the {self.method}: {self.reason} ({self.code}){later}"


class NoAnswer(PortalFailure):
    """The portal did not answer in time.

    Attributes:
        method: What was asked for.
        seconds: How long was waited.
    """

    def __init__(self, method: str, seconds: float) -> None:
        self.method = method
        self.seconds = seconds
        super().__init__(method, seconds)

    def __str__(self) -> str:
        return f"the portal did not answer the {self.method} within {self.seconds:g} s"


class ConnectionEnded(PortalFailure):
    """The connection to the portal is over, and it was not the client who ended it.

    Attributes:
        code: The close code (RFC 6455, section 7.4); 1006 where the connection was lost without one.
        reason: What the portal said.
    """

    def __init__(self, code: int, reason: str) -> None:
        self.code = code
        self.reason = reason
        super().__init__(code, reason)

    def __str__(self) -> str:
        return f"the portal ended the connection: {self.reason or 'no reason was given'} ({self.code})"


class ReturnRefused(PortalFailure):
    """The connection was lost, and no portal gives the session back.

    Attributes:
        code: Which case it is: a word of the wire protocol, such as ``session_ended``.
        reason: What is wrong, for people.
    """

    def __init__(self, code: str, reason: str) -> None:
        self.code = code
        self.reason = reason
        super().__init__(code, reason)

    def __str__(self) -> str:
        return f"the connection was lost, and there is no way back: {self.reason} ({self.code})"


class ReturnFailed(PortalFailure):
    """The connection was lost, and no portal could be reached in time.

    Attributes:
        seconds: How long it was tried.
        reason: What went wrong the last time.
    """

    def __init__(self, seconds: float, reason: str) -> None:
        self.seconds = seconds
        self.reason = reason
        super().__init__(seconds, reason)

    def __str__(self) -> str:
        return (
            f"the connection was lost, and no portal took it back within {self.seconds:.0f} s: {self.reason}"
        )
