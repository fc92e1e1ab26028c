"""What existing clients ask by Socket.IO, as requests, whatever shape their arguments come in.

Nothing but `Unfit` comes of any argument; its text is what the client is told.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import Any, Final, NamedTuple

LOGIN: Final = "login"
RELOGIN: Final = "relogin"
REFRESH: Final = "refreshReconnectionTicket"
LOGOUT: Final = "logout"
TEXT: Final = "text"
CUSTOM_MESSAGE: Final = "customMessage"
LOGINS: Final = frozenset({LOGIN, RELOGIN})
"""Requests that are answered before the connection is closed, if they fail."""

MAY_RECONNECT: Final = frozenset({"JavaScript", "Android", "C++", "Objective-C"})
"""The types of SDK whose clients can come back with a ticket."""
DEPRECATED: Final = "3.5"
"""The version of SDK that is refused where it names a protocol."""


class Version(StrEnum):
    """The versions of the clients' protocol; `LEGACY` clients name none."""

    V1_0 = "1.0"
    V1_1 = "1.1"
    V1_2 = "1.2"
    LEGACY = "legacy"

    @property
    def done(self) -> str:
        """The status of an acknowledgement that says that a request was done."""
        return "success" if self is Version.LEGACY else "ok"


_NAMED: Final = {version.value: version for version in Version if version is not Version.LEGACY}


class Unfit(Exception):
    """A request is none that the portal takes.

    Attributes:
        text: What its sender is told.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        super().__init__(text)

    def __str__(self) -> str:
        return self.text


class LoginWish(NamedTuple):
    """A login.

    Attributes:
        token: The token's text.
        version: What the client speaks.
        reconnect: Whether the client can come back after a lost connection.
    """

    token: str
    version: Version
    reconnect: bool


class TextWish(NamedTuple):
    """A text message to one participant, or to ``all``."""

    to: str
    message: str


def login(arguments: Sequence[Any]) -> LoginWish:
    """Return the login that a client asks for.

    Raises:
        Unfit: It is none; the first of the checks that fails has the word.
    """
    wish = _members(arguments)
    version = _version(wish.get("protocol"))
    sdk = _inner(_inner(wish, "userAgent"), "sdk")
    kind, release = sdk.get("type"), sdk.get("version")
    if version is not Version.LEGACY and release == DEPRECATED:
        raise Unfit("Deprecated client version")
    if not (_is_text(kind) and (_is_text(release) or type(release) in {int, float})):
        raise Unfit("User agent info is incorrect")
    token = wish.get("token")
    if not isinstance(token, str):
        raise Unfit("the token is no text")
    return LoginWish(token, version, kind in MAY_RECONNECT)


def ticket(arguments: Sequence[Any]) -> str:
    """Return the ticket that a client shows.

    A client that speaks 1.2 takes the whole answer to its relogin for the ticket, and shows that the next
    time; so an object with a ticket is taken for it.

    Raises:
        Unfit: There is none.
    """
    shown = _first(arguments)
    if isinstance(shown, dict):
        shown = shown.get("ticket")
    if not isinstance(shown, str):
        raise Unfit("the ticket is no text")
    return shown


def text(arguments: Sequence[Any]) -> TextWish:
    """Return the text that a client sends.

    Raises:
        Unfit: It is none.
    """
    members = _members(arguments)
    return _text(members.get("to"), members.get("message"))


def custom_message(arguments: Sequence[Any]) -> TextWish:
    """Return the text that a legacy client sends.

    Raises:
        Unfit: It is none.
    """
    members = _members(arguments)
    if members.get("type") != "data":
        raise Unfit("Invalid message type")
    return _text(members.get("receiver"), members.get("data"))


def _text(to: object, message: object) -> TextWish:
    if not isinstance(to, str) or not to or not _can_be_written(to):
        raise Unfit("Invalid receiver")
    if not isinstance(message, str) or not _can_be_written(message):
        raise Unfit("Invalid message")
    return TextWish(to, message)


def _version(named: object) -> Version:
    if named is None:
        return Version.LEGACY
    version = _NAMED.get(named) if isinstance(named, str) else None
    if version is None:
        raise Unfit("Unknown client protocol")
    return version


def _first(arguments: Sequence[Any]) -> Any:  # noqa: ANN401  - whatever a client sent
    return arguments[0] if arguments else None


def _members(arguments: Sequence[Any]) -> dict[str, Any]:
    first = _first(arguments)
    return first if isinstance(first, dict) else {}


def _inner(members: dict[str, Any], name: str) -> dict[str, Any]:
    inner = members.get(name)
    return inner if isinstance(inner, dict) else {}


def _can_be_written(text: str) -> bool:
    """Whether it is text that there is: JSON has escapes for halves of characters (RFC 8259, section 8.2)."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value)
