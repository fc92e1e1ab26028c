"""Pseudonyms for what is personal in events: the same for the same value within one export, never in two."""

import hashlib
import hmac
import secrets
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from roomledger_events.envelope import Commit, Event, Unreadable

PERSONAL: Final[Mapping[str, str]] = {
    "user": "user",
    "message": "text",
    "ip": "ip",
    "hostname": "host",
    "via_host": "host",
    "name": "name",
    "label": "label",
    "properties": "property",
}
"""Field of an event's data, however deep → the word that its pseudonyms begin with."""

_DIGITS: Final = 12
_encode: Final = msgspec.json.Encoder().encode


class Pseudonyms:
    """Replaces personal values by words such as ``user-3f9a2c1b04de``.

    Ids of rooms, tokens, participants, workers and services stay: they are what relates events to each other,
    and they are made up.

    Args:
        key: A secret that makes the pseudonyms; without one nobody can make the same again.

    Attributes:
        left_out: How many events had nothing but their place left, because they could not be read.
    """

    def __init__(self, key: bytes | None = None) -> None:
        self.left_out = 0
        self._key = key or secrets.token_bytes(32)

    def body(self, commit: Commit) -> bytes:
        """Return the body that stands for a commit."""
        return b"[" + b",".join(map(self._event, commit.events)) + b"]"

    def of(self, word: str, value: str) -> str:
        """Return the pseudonym of a value."""
        digest = hmac.new(self._key, f"{word}:{value}".encode(), hashlib.sha256).hexdigest()
        return f"{word}-{digest[:_DIGITS]}"

    def _event(self, event: Event) -> bytes:
        if isinstance(event.data, Unreadable):
            # Whatever it holds, it may be a name: what is left cannot be read either, and counts as before.
            self.left_out += 1
            return b"null"
        whole = msgspec.to_builtins(event)
        whole["dataversion"] = event.data.dataversion  # what was read is of the newest version
        whole["actor"] = self._actor(event.actor)
        whole["data"] = self._inside(whole["data"])
        return _encode(whole)

    def _actor(self, actor: str) -> str:
        kind, _, name = actor.partition(":")
        return f"{kind}:{self.of('operator', name)}" if kind == "operator" else actor

    def _inside(self, value: Any) -> Any:  # noqa: ANN401  - JSON values
        match value:
            case dict():
                return {name: self._field(name, inner) for name, inner in value.items()}
            case list():
                return [self._inside(each) for each in value]
            case _:
                return value

    def _field(self, name: str, value: Any) -> Any:  # noqa: ANN401  - JSON values
        word = PERSONAL.get(name)
        return self._inside(value) if word is None else self._replaced(word, value)

    def _replaced(self, word: str, value: Any) -> Any:  # noqa: ANN401  - JSON values
        match value:
            case str():
                return self.of(word, value) if value else value
            case dict():
                return {name: self._replaced(word, inner) for name, inner in value.items()}
            case list():
                return [self._replaced(word, each) for each in value]
            case _:
                return value
