"""How the log is kept: the stream's configuration, and in what it must not differ.

Several of these settings are what makes the log a log: nothing is deleted, replaced or dropped to make room,
nothing expires but what carries a time to live, and what was acknowledged was stored.  Others, such as the
compression or a larger limit, are the operator's to change.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from roomledger.event_store.errors import ServerTooOld
from roomledger_events.envelope import MAX_BYTES
from roomledger_events.subjects import Kind, Subjects

NEEDED_VERSION: Final = (2, 12)
"""The oldest nats-server that will do, as (major, minor)."""

NEEDED_LEVEL: Final = 2
"""The JetStream API level of that version (ADR-44)."""

GIB: Final = 1024**3
NANOSECONDS: Final = 1_000_000_000


class Layout(NamedTuple):
    """What can be set of a log.

    Attributes:
        name: Of the log.
        subjects: The prefixes of what is appended and of what is republished once it is stored.
        max_bytes: How large it may grow; then appends are refused, and nothing is dropped. It has to stay
            below what the disk has room for: a full disk stops the log until nats-server is started again.
        replicas: How many servers keep it: 1 or 3.
        duplicate_window_s: How long the server recognizes events that are appended again without expectation;
            each commit costs it about 200 bytes for so long.
        load_ttl_s: How long load reports stay, in seconds.
        text_ttl_s: How long text messages stay, in seconds.
    """

    name: str = "ROOMLEDGER"
    subjects: Subjects = Subjects()
    max_bytes: int = 10 * GIB
    replicas: int = 1
    duplicate_window_s: int = 120
    load_ttl_s: int = 24 * 60 * 60
    text_ttl_s: int = 10 * 60

    @property
    def ttls(self) -> dict[Kind, int]:
        """How long what expires stays, in seconds, by kind."""
        return {Kind.LOAD: self.load_ttl_s, Kind.TEXT: self.text_ttl_s}

    def configuration(self) -> dict[str, Any]:
        """Return the stream's configuration, as JSON values of the JetStream API."""
        return {
            "name": self.name,
            "subjects": [self.subjects.all()],
            "republish": {"src": self.subjects.all(), "dest": self.subjects.all(live=True)},
            "storage": "file",
            "compression": "s2",
            "retention": "limits",
            "discard": "new",
            "max_bytes": self.max_bytes,
            "max_msgs": -1,
            "max_msgs_per_subject": -1,
            "max_msg_size": -1,
            "max_age": 0,
            "max_consumers": -1,
            "num_replicas": self.replicas,
            "duplicate_window": self.duplicate_window_s * NANOSECONDS,
            "deny_delete": True,
            "deny_purge": True,
            "allow_rollup_hdrs": False,
            "allow_direct": True,
            "allow_msg_ttl": True,
        }

    def differences(self, found: Mapping[str, Any]) -> list[str]:
        """Return in what a stream's configuration differs so that it cannot be this log, a sentence each."""
        wanted = self.configuration()
        return [
            f"{field} is {_show(found.get(field))} and has to be {_show(wanted[field])}"
            for field in _EXACT
            if (found.get(field) or None) != (wanted[field] or None)
        ] + [
            f"{field} is {_show(found.get(field))} and has to be {said.format(**wanted)}"
            for field, (said, holds) in _AT_LEAST.items()
            if not holds(found.get(field), wanted)
        ]


_EXACT: Final = (
    "subjects",
    "republish",
    "storage",
    "retention",
    "discard",
    "deny_delete",
    "deny_purge",
    "allow_rollup_hdrs",
    "allow_msg_ttl",
    "max_age",
)


def _absent(found: Any, _wanted: Mapping[str, Any]) -> bool:  # noqa: ANN401  - JSON values
    return not found


def _unlimited(found: Any, _wanted: Mapping[str, Any]) -> bool:  # noqa: ANN401  - JSON values
    return not found or found < 0


_Holds = Callable[[Any, Mapping[str, Any]], bool]

_AT_LEAST: Final[Mapping[str, tuple[str, _Holds]]] = {
    "max_bytes": ("a limit", lambda found, _: (found or 0) > 0),
    "max_msgs": ("unlimited", _unlimited),
    "max_msgs_per_subject": ("unlimited", _unlimited),
    "max_msg_size": (
        f"unlimited or at least {2 * MAX_BYTES}",
        lambda found, _: not found or found < 0 or found >= 2 * MAX_BYTES,
    ),
    "num_replicas": (
        "at least {num_replicas}",
        lambda found, wanted: (found or 1) >= wanted["num_replicas"],
    ),
    "duplicate_window": (
        "at least {duplicate_window}",
        lambda found, wanted: (found or 0) >= wanted["duplicate_window"],
    ),
    "no_ack": ("off", _absent),
    "sealed": ("off", _absent),
    "mirror": ("absent", _absent),
    "sources": ("absent", _absent),
    "subject_transform": ("absent", _absent),
    "subject_delete_marker_ttl": ("absent", _absent),
    "allow_msg_counter": ("off", _absent),
    "allow_msg_schedules": ("off", _absent),
    "persist_mode": ("absent", lambda found, _: found in (None, "", "default")),
}


def _show(value: Any) -> str:  # noqa: ANN401  - JSON values
    match value:
        case None | "":
            return "absent"
        case True | False:
            return "on" if value else "off"
        case list():
            return ", ".join(map(str, value))
        case dict():
            return " ".join(f"{key} {part}" for key, part in value.items())
        case _:
            return str(value)


def check_version(version: str, level: int) -> None:
    """Make sure that the server can keep such a log.

    Args:
        version: The server's, such as ``2.12.1`` or ``2.12.0-RC.2``.
        level: Its JetStream API level; 0 where it does not tell.

    Raises:
        ServerTooOld: It is older than `NEEDED_VERSION`.
    """
    parts = version.split("-", maxsplit=1)[0].split(".")
    known = len(parts) >= 2 and parts[0].isdigit() and parts[1].isdigit()  # noqa: PLR2004  - major and minor
    if not known or (int(parts[0]), int(parts[1])) < NEEDED_VERSION or level < NEEDED_LEVEL:
        raise ServerTooOld(version, ".".join(map(str, NEEDED_VERSION)))
