"""What is different between two states of the cluster: added, removed, changed."""

from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

State = Mapping[str, Any]
"""As `Rebuilt.as_json` returns it."""
Row = dict[str, Any]

KEYS: Final = {
    "workers": ("id",),
    "tasks": ("purpose", "id"),
    "rooms": ("id",),
    "participants": ("room", "id"),
    "tokens": ("id",),
}
"""What is compared, and by which columns one is told from another."""


class Changed(NamedTuple):
    """Something that is there in both states, and not the same.

    Attributes:
        key: Which one: the key's columns with their values.
        changes: Column → its value before and after.
    """

    key: Row
    changes: dict[str, tuple[Any, Any]]

    def as_json(self) -> Row:
        """Return it as plain values."""
        return self.key | {
            "changes": {name: {"from": old, "to": new} for name, (old, new) in self.changes.items()}
        }


class Difference(NamedTuple):
    """What is different of one kind of things, each in the order of the state that it is from."""

    added: list[Row]
    removed: list[Row]
    changed: list[Changed]

    def as_json(self) -> Row:
        """Return it as plain values."""
        return {
            "added": self.added,
            "removed": self.removed,
            "changed": [each.as_json() for each in self.changed],
        }

    def __bool__(self) -> bool:
        return any(self)


def differences(before: State, after: State) -> dict[str, Difference]:
    """Return what is different, by kind; a room's participants are a kind of their own."""
    old, new = _kinds(before), _kinds(after)
    return {kind: _difference(old[kind], new[kind], key) for kind, key in KEYS.items()}


def _kinds(state: State) -> dict[str, Iterable[Row]]:
    rooms = [{**room} for room in state["rooms"]]
    for room in rooms:
        del room["participants"]
    present = [each for room in state["rooms"] for each in room["participants"]]
    return {
        "workers": state["workers"],
        "tasks": state["tasks"],
        "rooms": rooms,
        "participants": present,
        "tokens": state["tokens"],
    }


def _difference(before: Iterable[Row], after: Iterable[Row], key: tuple[str, ...]) -> Difference:
    old = {tuple(row[name] for name in key): row for row in before}
    new = {tuple(row[name] for name in key): row for row in after}
    changed = []
    for which, row in new.items():
        known = old.get(which)
        if known is not None and known != row:
            changes = {name: (known.get(name), row[name]) for name in row if known.get(name) != row[name]}
            changed.append(Changed(dict(zip(key, which, strict=True)), changes))
    return Difference(
        [row for which, row in new.items() if which not in old],
        [row for which, row in old.items() if which not in new],
        changed,
    )
