"""Events of the nodes of a conference worker."""

from typing import ClassVar

from roomledger_events.envelope import Payload
from roomledger_events.subjects import Kind


class NodeStarted(Payload, frozen=True, kw_only=True):
    """A node was started and is not ready yet."""

    kind: ClassVar[Kind] = Kind.NODES
    node: str


class NodeReady(Payload, frozen=True, kw_only=True):
    """A node answers and can be given rooms."""

    kind: ClassVar[Kind] = Kind.NODES
    node: str


class NodeAssigned(Payload, frozen=True, kw_only=True):
    """A node was given a room to run."""

    kind: ClassVar[Kind] = Kind.NODES
    node: str
    room: str


class NodeReleased(Payload, frozen=True, kw_only=True):
    """A node runs a room no longer."""

    kind: ClassVar[Kind] = Kind.NODES
    node: str
    room: str


class NodeStopped(Payload, frozen=True, kw_only=True):
    """A node was ended on purpose: ``recycled``, ``quit``."""

    kind: ClassVar[Kind] = Kind.NODES
    node: str
    reason: str


class NodeDied(Payload, frozen=True, kw_only=True):
    """A node ended or hung without being told to."""

    kind: ClassVar[Kind] = Kind.NODES
    node: str
    reason: str
