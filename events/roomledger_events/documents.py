"""The contract of the log for those who do not read Python: JSON schemas and an AsyncAPI document.

Both are derived from the event classes and are committed; ``python -m roomledger_events`` writes them anew.
JSON Schema is of draft 2020-12 (https://json-schema.org/draft/2020-12), AsyncAPI of version 3.0
(https://www.asyncapi.com/docs/reference/specification/v3.0.0).
"""

import inspect
import re
from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final

import msgspec

from roomledger_events.catalogue import CATALOGUE
from roomledger_events.envelope import MAX_EVENTS, SPECVERSION, Event, Payload
from roomledger_events.subjects import EXPIRING, GUARDED, Kind, Subjects

Document = dict[str, Any]

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
ENVELOPE: Final = "Event"
"""The name of the schema of the envelope, among those of the types."""

_REFERENCE: Final = "#/$defs/{name}"
_CONTENT: Final = "application/cloudevents-batch+json"

# Kind → the parameter of its subject, and what the parameter and the boundary are.
_KINDS: Final = {
    Kind.SCHEDULER: ("purpose", "A purpose of workers.", "The workers and tasks of one purpose"),
    Kind.LOAD: ("purpose", "A purpose of workers.", "The load reports of one purpose's workers; they expire"),
    Kind.ROOM: ("room", "The id of a room.", "One room and its participants"),
    Kind.TEXT: ("room", "The id of a room.", "The text messages in one room; they expire"),
    Kind.TOKEN: ("room", "The id of a room.", "The tokens issued for one room"),
    Kind.NODES: ("worker", "The id of a conference worker.", "The nodes of one conference worker"),
}


def types_of(kind: Kind) -> list[type[Payload]]:
    """Return the types of event that are appended to boundaries of a kind, by name."""
    return [cls for _, cls in sorted(CATALOGUE.items()) if cls.kind is kind]


def summary(cls: type) -> str:
    """Return what a class says of itself, without its list of attributes."""
    return _texts(cls)[0]


# -- JSON Schema


def schemas() -> dict[str, Document]:
    """Return the JSON schema of every type's data and, as ``Event``, of the envelope; by name."""
    found = {name: _schema(cls) for name, cls in sorted(CATALOGUE.items())}
    return found | {ENVELOPE: _envelope()}


def _schema(cls: type[msgspec.Struct]) -> Document:
    """Return a class as a schema that stands alone."""
    _, components = msgspec.json.schema_components([cls], ref_template=_REFERENCE)
    structs = {each.__name__: each for each in _structs_in(cls)}
    for name, component in components.items():
        what, attributes = _texts(structs[name])
        component["description"] = what
        for field in msgspec.structs.fields(structs[name]):
            described = component["properties"][field.encode_name]
            if datetime in _parts(field.type):
                _mark_as_time(described)
            if field.name in attributes:
                described["description"] = attributes[field.name]
    schema: Document = {"$schema": DIALECT, **components.pop(cls.__name__)}
    return {**schema, "$defs": components} if components else schema


def _mark_as_time(described: Document) -> None:
    for each in (described, *described.get("anyOf", ())):
        if each.get("type") == "string":
            each["format"] = "date-time"


def _envelope() -> Document:
    """Return the schema of an event, in which the type decides what the data look like."""
    schema = _schema(Event)
    del schema["$defs"]
    schema["properties"]["specversion"] = {"const": SPECVERSION}
    schema["properties"]["data"] = {"type": "object"}
    what = _flat(inspect.getdoc(Event.type) or "")
    type_ = {"type": "string", "description": what, "enum": sorted(CATALOGUE)}
    schema["properties"] = {"type": type_, **schema["properties"]}
    schema["required"] = ["type", *schema["required"]]
    schema["allOf"] = [
        {
            "if": {"properties": {"type": {"const": name}}},
            "then": {
                "properties": {
                    "dataversion": {"const": cls.dataversion},
                    "data": {"$ref": f"{name}.json"},
                }
            },
        }
        for name, cls in sorted(CATALOGUE.items())
    ]
    return schema


def _structs_in(cls: type[msgspec.Struct]) -> Iterable[type[msgspec.Struct]]:
    """Yield a class and those that its fields are made of."""
    yield cls
    for field in msgspec.structs.fields(cls):
        for part in _parts(field.type):
            if isinstance(part, type) and issubclass(part, msgspec.Struct):
                yield from _structs_in(part)


def _parts(annotation: Any) -> Iterable[Any]:  # noqa: ANN401  - an annotation can be anything
    yield annotation
    for argument in getattr(annotation, "__args__", ()):
        yield from _parts(argument)


def _texts(cls: type) -> tuple[str, dict[str, str]]:
    """Return a class's description and, by name, those of its attributes."""
    what, _, rest = (inspect.getdoc(cls) or "").partition("\nAttributes:\n")
    pieces = re.split(r"^ {4}(\w+): ", rest, flags=re.MULTILINE)[1:]
    attributes = {name: _flat(text) for name, text in zip(pieces[::2], pieces[1::2], strict=True)}
    return _flat(what), attributes


def _flat(text: str) -> str:
    return " ".join(text.replace("``", "`").split())


# -- AsyncAPI


def asyncapi(subjects: Subjects | None = None) -> Document:
    """Return the AsyncAPI document of the log."""
    prefixes = Subjects() if subjects is None else subjects
    channels: Document = {}
    operations: Document = {}
    for kind in Kind:
        feed = f"{kind}Feed"
        channels[str(kind)] = _channel(kind, prefixes.ledger, "Commits, in the log.")
        channels[feed] = _channel(kind, prefixes.feed, "The same commits, republished when they are stored.")
        verb = kind.capitalize()
        operations[f"append{verb}"] = _operation("send", str(kind), kind, "Append a commit to the log.")
        operations[f"read{verb}"] = _operation("receive", str(kind), kind, "Read the log, from any sequence.")
        operations[f"follow{verb}"] = _operation("receive", feed, kind, "See what is stored from now on.")
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "roomledger: the log",
            "version": str(max(cls.dataversion for cls in CATALOGUE.values())),
            "description": (
                "Every change of tokens, workers, tasks, rooms, participants and nodes is an event in one "
                "JetStream stream. A message is a commit: a JSON array of events of one consistency boundary "
                f"(CloudEvents {SPECVERSION}, JSON batch format) that were appended together."
            ),
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
        },
        "defaultContentType": _CONTENT,
        "servers": {
            "embedded": {
                "host": "127.0.0.1:4222",
                "protocol": "nats",
                "description": "The nats-server that `roomledger serve` starts.",
                "bindings": {"nats": {"bindingVersion": "0.1.0"}},
            }
        },
        "channels": channels,
        "operations": operations,
        "components": {"messages": {name: _message(cls) for name, cls in sorted(CATALOGUE.items())}},
    }


def _channel(kind: Kind, prefix: str, what: str) -> Document:
    parameter, meaning, boundary = _KINDS[kind]
    return {
        "address": f"{prefix}.{kind}.{{{parameter}}}",
        "title": boundary.partition(";")[0],
        "description": f"{boundary}. {what}",
        "parameters": {
            parameter: {"description": f"{meaning} 1 to 64 letters, digits, hyphens, underscores."}
        },
        "messages": {
            cls.__name__: {"$ref": f"#/components/messages/{cls.__name__}"} for cls in types_of(kind)
        },
        "bindings": {"nats": {"bindingVersion": "0.1.0"}},
    }


def _operation(action: str, channel: str, kind: Kind, what: str) -> Document:
    return {
        "action": action,
        "channel": {"$ref": f"#/channels/{channel}"},
        "summary": what,
        "messages": [{"$ref": f"#/channels/{channel}/messages/{cls.__name__}"} for cls in types_of(kind)],
        "bindings": {"nats": {"bindingVersion": "0.1.0"}},
    }


def _message(cls: type[Payload]) -> Document:
    """Return a commit that holds at least one event of a type."""
    name = cls.__name__
    message: Document = {
        "name": name,
        "title": f"A commit with {name}",
        "summary": summary(cls),
        "contentType": _CONTENT,
        "payload": {
            "type": "array",
            "minItems": 1,
            "maxItems": MAX_EVENTS,
            "items": {"$ref": f"./schema/{ENVELOPE}.json"},
            "contains": {
                "properties": {"type": {"const": name}, "data": {"$ref": f"./schema/{name}.json"}},
                "required": ["type", "data"],
            },
        },
        "bindings": {"nats": {"bindingVersion": "0.1.0"}},
    }
    headers = _headers(cls.kind)
    if headers:
        message["headers"] = {"type": "object", "properties": headers}
    return message


def _headers(kind: Kind) -> Document:
    headers: Document = {}
    if kind in GUARDED:
        headers["Nats-Expected-Last-Subject-Sequence"] = {
            "type": "string",
            "pattern": "^[0-9]+$",
            "description": "The last sequence of this subject that the decision took in; 0 for none.",
        }
    if kind in EXPIRING:
        headers["Nats-TTL"] = {
            "type": "string",
            "description": "How long the commit is kept, such as `24h` or `600s`.",
        }
    return headers
