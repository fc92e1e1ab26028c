"""What can go wrong at a portal.

RuntimeFailure
└── CannotListen    the address that clients are to connect to cannot be had
Fault               a message is no request that the portal knows, as JSON-RPC defines it
"""

from typing import Final

import msgspec

from roomledger.runtime.errors import RuntimeFailure

PARSE_ERROR: Final = -32700
INVALID_REQUEST: Final = -32600
METHOD_NOT_FOUND: Final = -32601
INVALID_PARAMS: Final = -32602
APPLICATION: Final = -32000
"""The code of errors that JSON-RPC does not define; ``data.code`` tells them apart."""

NULL: Final = msgspec.Raw(b"null")


class CannotListen(RuntimeFailure):
    """The address that clients are to connect to cannot be had.

    Attributes:
        host: Where.
        port: On which port.
        reason: What the system said.
        listener: Which of the portal's listeners it is, as its setting has it.
    """

    def __init__(self, host: str, port: int, reason: str, listener: str = "PORTAL") -> None:
        self.host = host
        self.port = port
        self.reason = reason
        self.listener = listener
        super().__init__(host, port, reason, listener)

    def __str__(self) -> str:
        return (
            f"the portal cannot listen on {self.host} port {self.port} ({self.reason}): stop what listens"
            f" there, or choose another with ROOMLEDGER_{self.listener}_PORT (0 takes any free one)"
        )


class Fault(Exception):
    """A message is no request that the portal knows.

    Attributes:
        code: The error's number (JSON-RPC 2.0, section 5.1).
        message: What is wrong, for people.
        id: The request's id as it was written, ``null`` where it could not be read; None for a
            notification, which gets no answer.
        method: The method that was called, where it is known.
    """

    def __init__(
        self,
        code: int,
        message: str,
        id: msgspec.Raw | None = NULL,  # noqa: A002  - JSON-RPC's word
        method: str | None = None,
    ) -> None:
        self.code = code
        self.message = message
        self.id = id
        self.method = method
        super().__init__(code, message)

    def __str__(self) -> str:
        return self.message
