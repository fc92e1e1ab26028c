"""A digest of what is known of a purpose: equal for equal states, to compare those of two processes."""

import hashlib
from typing import Any

import msgspec

from roomledger.domain.scheduler_snapshot import SchedulerSnapshot, freeze
from roomledger.domain.scheduler_state import SchedulerState

_BY_REPORTS = ("load", "effective", "recent")


class StateDigest(msgspec.Struct, frozen=True):
    """The state of a purpose, in short.

    Attributes:
        whole: SHA-256 of all of it.
        lasting: SHA-256 of what does not depend on load reports, which expire.
        reported: How many workers have reported their load.
    """

    whole: str
    lasting: str
    reported: int


def digest(snapshot: SchedulerSnapshot) -> StateDigest:
    """Return the digest of a state in plain values; the order of what has none does not count."""
    workers = {row.id: msgspec.structs.asdict(row) for row in snapshot.workers}
    lasting: dict[str, Any] = {
        "settings": snapshot.settings,
        "epoch": snapshot.epoch,
        "manager": snapshot.manager,
        "joins": snapshot.joins,
        "workers": {
            worker: {name: value for name, value in row.items() if name not in _BY_REPORTS}
            for worker, row in workers.items()
        },
        "tasks": {row.id: row for row in snapshot.tasks},
        "lost": snapshot.lost,
        "refusals": snapshot.refusals,
        "picked": snapshot.picked,
    }
    by_reports = {
        "loads": {worker: [row[name] for name in _BY_REPORTS] for worker, row in workers.items()},
        "classes": [(row.about, row.turn, sorted(row.later, key=repr)) for row in snapshot.classes],
        "pools": sorted([(repr(row.key), row.turn, sorted(row.turns)) for row in snapshot.pools]),
    }
    reported = sum(row.load is not None for row in snapshot.workers)
    return StateDigest(_hash([lasting, by_reports]), _hash(lasting), reported)


def digest_of(state: SchedulerState) -> StateDigest:
    """Return the digest of a state."""
    return digest(freeze(state))


def _hash(value: object) -> str:
    return hashlib.sha256(msgspec.json.encode(value, order="deterministic")).hexdigest()
