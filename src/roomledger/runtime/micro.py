"""What a micro service tells of itself to ``nats micro ls``, ``info`` and ``stats`` (ADR-32).

https://github.com/nats-io/nats-architecture-and-design/blob/main/adr/ADR-32.md
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple

import msgspec

QUEUE: Final = "q"
"""The queue group of all micro services: one of its instances gets a request."""

_TYPE: Final = "io.nats.micro.v1."
_encode: Final = msgspec.json.Encoder().encode


@dataclass(slots=True)
class Endpoint:
    """One method, and what came of it so far.

    Attributes:
        name: Its name.
        subject: Where it is called.
        requests: How many there were.
        errors: How many of these were refused.
        last_error: Code and headline of the last refusal.
        nanoseconds: How long the answers took in all.
    """

    name: str
    subject: str
    requests: int = 0
    errors: int = 0
    last_error: str = ""
    nanoseconds: int = 0


class Identity(NamedTuple):
    """Which service it is.

    Attributes:
        name: What it is called; all of its instances have the same name.
        id: Which instance.
        version: A semantic version.
        started: When it began to serve, UTC.
    """

    name: str
    id: str
    version: str
    started: datetime


def subjects(identity: Identity) -> Iterator[tuple[str, str]]:
    """Yield the subjects on which a service is asked about itself, and the verb of each."""
    for verb in ("PING", "INFO", "STATS"):
        for whose in ("", f".{identity.name}", f".{identity.name}.{identity.id}"):
            yield f"$SRV.{verb}{whose}", verb


def tell(verb: str, identity: Identity, endpoints: Iterable[Endpoint]) -> bytes:
    """Return the answer to one of the three questions."""
    told: dict[str, Any] = {
        "type": f"{_TYPE}{verb.lower()}_response",
        "name": identity.name,
        "id": identity.id,
        "version": identity.version,
        "metadata": {},
    }
    if verb == "INFO":
        told |= {"description": "", "endpoints": [_described(each) for each in endpoints]}
    elif verb == "STATS":
        told |= {"started": identity.started, "endpoints": [_counted(each) for each in endpoints]}
    return _encode(told)


def _described(endpoint: Endpoint) -> dict[str, object]:
    return {"name": endpoint.name, "subject": endpoint.subject, "queue_group": QUEUE, "metadata": {}}


def _counted(endpoint: Endpoint) -> dict[str, object]:
    return {
        "name": endpoint.name,
        "subject": endpoint.subject,
        "queue_group": QUEUE,
        "num_requests": endpoint.requests,
        "num_errors": endpoint.errors,
        "last_error": endpoint.last_error,
        "processing_time": endpoint.nanoseconds,
        "average_processing_time": endpoint.nanoseconds // max(1, endpoint.requests),
    }
