"""What can go wrong for those who use the cluster from outside.

ManagementFailure (RuntimeFailure)
├── NoServiceKey        there is no key to call the management API with
├── ApiUnreachable      nothing answers there as the management API does
└── ApiRefused          the management API answered with a problem
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
